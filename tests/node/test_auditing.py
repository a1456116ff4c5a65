"""What a node does is in its audit trail: one message for each study on an association."""

import socket
import stat
import sys
import time
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from xml.etree import ElementTree as Xml

import pytest
from pydicom import dcmread

from dae_pacs.audit.events import this_process
from dae_pacs.audit.trail import open_trail
from dae_pacs.config.audit import AuditSettings
from dae_pacs.config.model import ModelSettings, NodeSettings, Peer, Rule, Settings
from dae_pacs.config.security import TlsSettings
from dae_pacs.demo.phantoms import Study, ct_series, write_all
from dae_pacs.dimse.scp import Answer, ScpSettings, StorageSCP
from dae_pacs.dimse.scu import PeerAddress, echo, outgoing, send
from dae_pacs.errors import PeerError
from dae_pacs.node.auditing import Auditor
from dae_pacs.node.bell import Bell
from dae_pacs.node.delivery import Courier, Destination, Spool
from dae_pacs.node.doors import Doors
from dae_pacs.node.peers import address_of
from dae_pacs.node.receive import Receiver
from dae_pacs.node.retention import Keeping, Sweeper
from dae_pacs.spool.files import SpoolFiles
from dae_pacs.spool.ledger import Ledger

sys.path.insert(0, str(Path(__file__).parents[1] / "audit"))  # for that folder's own module

from standard import check_event

BEGIN, ACCESSED, TRANSFERRED, DELETED = "110102", "110103", "110104", "110105"
CT = "1.2.840.10008.5.1.4.1.1.2"


class ArrivedFile(BytesIO):
    """Keeps what arrives in memory."""

    def discard(self) -> None:
        self.close()


class Running:
    """The parts of a node that receive, send and delete, and a peer that takes what is sent."""

    def __init__(self, folder: Path, *, pacs_port: int | None = None) -> None:
        self.audit = folder / "audit" / "audit.xml"
        self.files = SpoolFiles(folder / "spool")
        self.ledger = Ledger(self.files.ledger_path)
        us = this_process("DAE_PACS")
        self.auditor = Auditor(open_trail(AuditSettings(file=self.audit), us, spool=self.files.root), us)
        rule = Rule(name="all", action="forward", destinations=("pacs",))
        bell = Bell()
        receiver = Receiver(self.files, self.ledger, (rule,), ModelSettings(), bell, self.auditor)
        self.ended = 0
        self.scp = _scp("DAE_PACS", self.files.open_incoming, receiver.keep, self._association_ended)
        self.peer = _scp("ARCHIVE", ArrivedFile, lambda _: Answer(0x0000), lambda _: None)
        pacs = PeerAddress("ARCHIVE", "127.0.0.1", pacs_port or self.peer.port)
        spool = Spool(self.files, self.ledger, self.auditor)
        self.courier = Courier(spool, Destination("pacs", pacs), calling_ae="DAE_PACS", results=bell)
        self.courier.keep_running()
        self.auditor.started()
        self._is_running = True

    def _association_ended(self, association: str) -> None:
        self.ledger.association_ended(association)
        self.auditor.association_ended(association)
        self.ended += 1

    def send(self, paths: list[Path], *, calling_ae: str = "GANTRY") -> list[int | None]:
        address = PeerAddress("DAE_PACS", "127.0.0.1", self.scp.port)
        results, ended = [], self.ended
        send(address, [outgoing(path) for path in paths], calling_ae=calling_ae, on_result=results.append)
        self.until(lambda: self.ended > ended)
        return [result.status for result in results]

    def until(self, true: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 30
        while not true():
            assert time.monotonic() < deadline, "waited in vain"
            time.sleep(0.02)

    def stop(self) -> list[Xml.Element]:
        if self._is_running:
            self._is_running = False
            self.scp.stop()
            self.courier.stop()
            self.peer.stop()
            self.auditor.stopped()
            self.ledger.close()
        lines = self.audit.read_bytes().splitlines() if self.audit.exists() else []
        return [check_event(line) for line in lines]


def _scp(ae_title: str, open_file, keep, association_ended) -> StorageSCP:
    settings = ScpSettings(ae_title=ae_title, port=0)
    scp = StorageSCP(settings, open_file=open_file, keep=keep, association_ended=association_ended)
    scp.start()
    return scp


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    running: list[Running] = []

    def start_one(**changed: object) -> Running:
        running.append(Running(tmp_path, **changed))
        return running[-1]

    yield start_one
    for one in running:
        one.stop()


def kind(message: Xml.Element) -> str:
    return message.find("EventIdentification/EventID").attrib["csd-code"]


def outcome(message: Xml.Element) -> str:
    return message.find("EventIdentification").attrib["EventOutcomeIndicator"]


def action(message: Xml.Element) -> str:
    return message.find("EventIdentification").attrib["EventActionCode"]


def participants(message: Xml.Element) -> list[str]:
    return [found.attrib.get("AlternativeUserID", "") for found in message.findall("ActiveParticipant")]


def objects(message: Xml.Element) -> list[str]:
    found = message.findall("ParticipantObjectIdentification")
    return [thing.attrib["ParticipantObjectID"] for thing in found]


def counts(message: Xml.Element) -> dict[str, int]:
    return {found.attrib["UID"]: int(found.attrib["NumberOfInstances"]) for found in message.iter("SOPClass")}


def delivered(running: Running, count: int) -> Callable[[], bool]:
    return lambda: len(running.ledger.deliveries(status="delivered")) == count


RECEIVED, SENT = ["AETITLES=GANTRY", "AETITLES=DAE_PACS"], ["AETITLES=DAE_PACS", "AETITLES=ARCHIVE"]


def test_a_study_s_way_through_the_node_is_four_messages_whatever_its_size(start, tmp_path) -> None:
    running = start()
    series = ct_series(Study(), slices=12, size=16)
    assert running.send(write_all(series, tmp_path / "files")) == [0] * 12
    running.until(delivered(running, 12))
    messages = running.stop()

    first, *between, last = messages
    assert [kind(first), kind(last)] == ["110100", "110100"]
    assert first.find("EventIdentification/EventTypeCode").attrib["csd-code"] == "110120"
    assert last.find("EventIdentification/EventTypeCode").attrib["csd-code"] == "110121"
    study = [str(series[0].StudyInstanceUID), str(series[0].PatientID)]
    assert all(objects(message) == study for message in between)
    received = [message for message in between if participants(message) == RECEIVED]
    assert [(kind(message), action(message)) for message in received] == [(BEGIN, "E"), (TRANSFERRED, "C")]
    assert counts(received[1]) == {CT: 12}
    sent = [message for message in between if participants(message) == SENT]
    assert {action(message) for message in sent if kind(message) == TRANSFERRED} == {"R"}
    assert sum(counts(message)[CT] for message in sent if kind(message) == TRANSFERRED) == 12
    assert len(received) + len(sent) == len(between)
    assert str(series[0].PatientName) not in running.audit.read_text()
    assert stat.S_IMODE(running.audit.stat().st_mode) == 0o600


def test_what_was_here_before_what_contradicts_it_and_what_is_wrong_are_told_apart(start, tmp_path) -> None:
    running = start()
    paths = write_all(ct_series(Study(), slices=3, size=16), tmp_path / "files")
    running.send(paths)
    running.until(delivered(running, 3))
    running.send(paths[:2])
    other = dcmread(paths[2])
    other.PixelData = bytes(len(other.PixelData))
    changed = tmp_path / "changed.dcm"
    other.save_as(changed)
    statuses = running.send([changed])
    messages = [found for found in running.stop() if participants(found) == RECEIVED]

    told = [
        (action(found), outcome(found), counts(found)) for found in messages if kind(found) == TRANSFERRED
    ]
    assert told[:2] == [("C", "0", {CT: 3}), ("R", "0", {CT: 2})]
    assert statuses == [0x0111]
    assert told[2] == ("C", "4", {CT: 1})
    words = messages[-1].findtext("EventIdentification/EventOutcomeDescription")
    assert words == "in quarantine: another object with this UID is kept"


def test_two_studies_on_one_association_are_two_pairs(start, tmp_path) -> None:
    running = start()
    one, two = ct_series(Study(), slices=2, size=16), ct_series(Study(), slices=1, size=16)
    two[0].StudyInstanceUID, two[0].SeriesInstanceUID = "1.2.3.4.5", "1.2.3.4.6"
    two[0].SOPInstanceUID = two[0].file_meta.MediaStorageSOPInstanceUID = "1.2.3.4.7"
    two[0].PatientID = "SOMEBODY ELSE"
    running.send(write_all([*one, *two], tmp_path / "files"))
    received = [found for found in running.stop() if participants(found) == RECEIVED]
    assert [kind(message) for message in received] == [BEGIN, BEGIN, TRANSFERRED, TRANSFERRED]
    assert {objects(message)[1] for message in received} == {str(one[0].PatientID), "SOMEBODY ELSE"}


def test_a_destination_that_is_down_is_a_transfer_that_failed(start, tmp_path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = int(probe.getsockname()[1])
    running = start(pacs_port=port)
    running.send(write_all(ct_series(Study(), slices=2, size=16), tmp_path / "files"))
    running.until(lambda: any(found.error for found in running.ledger.deliveries()))
    messages = [found for found in running.stop() if participants(found) == SENT]
    assert [(kind(found), outcome(found)) for found in messages[:2]] == [(BEGIN, "0"), (TRANSFERRED, "4")]


def test_retention_tells_what_it_deleted(start, tmp_path) -> None:
    running = start()
    series = ct_series(Study(), slices=4, size=16)
    running.send(write_all(series, tmp_path / "files"))
    running.until(delivered(running, 4))
    time.sleep(0.01)  # older than now
    Sweeper(running.ledger, running.auditor, Keeping(0, 300, 0), free_mb=lambda: 1e9).look()
    messages = [found for found in running.stop() if action(found) == "D"]
    assert [(kind(found), counts(found)) for found in messages] == [(DELETED, {CT: 4})]


def test_a_study_that_is_deleted_in_part_is_not_told_to_be_gone(start, tmp_path) -> None:
    running = start()
    series = ct_series(Study(), slices=2, size=16)
    running.send(write_all(series, tmp_path / "files"))
    running.until(delivered(running, 2))
    (old, _) = running.ledger.removable(time.time() + 1)
    running.ledger.remove(old.id)
    held = [old.StudyInstanceUID] if running.ledger.holds_any(old.StudyInstanceUID) else []
    running.auditor.removed([old], still_held=held)
    (message,) = [found for found in running.stop() if action(found) == "D"]
    assert (kind(message), counts(message)) == (ACCESSED, {CT: 1})


def test_a_dead_audit_disk_stops_nothing_and_is_alarmed(start, tmp_path, caplog) -> None:
    (tmp_path / "audit").write_text("no folder")
    running = start()
    files = write_all(ct_series(Study(), slices=2, size=16), tmp_path / "files")
    assert running.send(files) == [0, 0]
    running.until(delivered(running, 2))
    assert running.stop() == []
    assert "audit trail can't be written" in caplog.text
    queue = running.files.root / "audit" / "file"
    assert len(list(queue.iterdir())) >= 6


def test_who_is_turned_away_at_the_door_is_an_alert(tmp_path, authority, stranger_authority) -> None:
    """A stranger's title, and a certificate that nobody believes, by the doors that the node has."""
    node_s, strangers = authority.issue("node"), stranger_authority.issue("stranger")
    tls = TlsSettings(
        port=0, also_plain=True, certificate=node_s.certificate, key=node_s.key, trust=authority.certificate
    )
    settings = Settings(node=NodeSettings(port=0, accept="peers"), tls=tls)
    us = this_process("DAE_PACS")
    audit = tmp_path / "audit.xml"
    auditor = Auditor(open_trail(AuditSettings(file=audit), us, spool=tmp_path), us)
    doors = Doors(settings, report_path=tmp_path / "doors.json", peers={})
    scp = StorageSCP(
        ScpSettings(ae_title="DAE_PACS", port=0),
        open_file=ArrivedFile,
        keep=lambda _: Answer(0x0000),
        association_ended=lambda _: None,
        entrance=doors.entrance(auditor.refused),
    )
    scp.start()
    try:
        for _ in range(3):
            with pytest.raises(PeerError):
                echo(PeerAddress("DAE_PACS", "127.0.0.1", scp.port), calling_ae="STRANGER")
        told = TlsSettings(certificate=strangers.certificate, key=strangers.key, trust=authority.certificate)
        peer = Peer(ae_title="DAE_PACS", host="127.0.0.1", port=scp.tls_port, tls=True)
        with pytest.raises(PeerError):
            echo(address_of(peer, told), calling_ae="DAE_PACS")
    finally:
        scp.stop()
        auditor.stopped()

    messages = [check_event(line) for line in audit.read_bytes().splitlines()]
    assert {kind(found) for found in messages} == {"110113"}
    types = {found.find("EventIdentification/EventTypeCode").attrib["csd-code"] for found in messages}
    assert types == {"110126"}
    callers = [found.findall("ActiveParticipant")[1].attrib["UserID"] for found in messages]
    assert sorted(callers) == ["127.0.0.1", "STRANGER", "STRANGER"]  # the second says how many more
    words = [found.findtext("EventIdentification/EventOutcomeDescription", "") for found in messages]
    assert any("and 1 more like it" in said for said in words)
    assert any("no TLS" in said for said in words)
