"""Storage commitment: asked of a real archive and of one that does what it wants, reported in either way."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydicom import Dataset
from pydicom.uid import generate_uid
from pynetdicom import AE, build_role, evt
from pynetdicom.sop_class import StorageCommitmentPushModel, StorageCommitmentPushModelInstance

from dae_pacs.demo.orthanc import NodeAddress, Orthanc, find_orthanc
from dae_pacs.demo.phantoms import Study, ct_series
from dae_pacs.dimse.addresses import PeerAddress
from dae_pacs.dimse.commitment import Report
from dae_pacs.dimse.scp import Answer, ScpSettings, StorageSCP
from dae_pacs.node.bell import Bell
from dae_pacs.node.commitment import MOST_TRIES, Asking, Committer, report_into
from dae_pacs.node.delivery import Courier, Destination, Spool
from dae_pacs.spool import backoff
from dae_pacs.spool.files import SpoolFiles
from dae_pacs.spool.ledger import Ledger
from dae_pacs.spool.outbox import Fate, Told
from dae_pacs.spool.records import NewInstance, Plan

CT = "1.2.840.10008.5.1.4.1.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"


class Node:
    """What of a node sends: spool, courier, committer, and the SCP that takes later reports."""

    def __init__(self, root: Path) -> None:
        files = SpoolFiles(root / "spool")
        self.spool = Spool(files, Ledger(files.ledger_path))
        self.scp = StorageSCP(
            ScpSettings("DAE_PACS", port=0),
            open_file=files.open_incoming,
            keep=lambda _incoming: Answer(0xA700),
            association_ended=lambda _association: None,
            on_report=report_into(self.spool.ledger.commitments),
        )
        self.scp.start()
        self._running: list[Courier | Committer] = []

    def owe(self, count: int) -> list[str]:
        """Owe objects to the PACS; gives their UIDs."""
        uids = []
        for ds in ct_series(Study(), slices=count, size=16):
            ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = generate_uid()
            path = self.spool.files.objects / "00" / f"{ds.SOPInstanceUID}.dcm"
            ds.save_as(path, enforce_file_format=True)
            self.spool.ledger.keep(_received(ds, path), Plan("forward", destinations=("pacs",)))
            uids.append(str(ds.SOPInstanceUID))
        return uids

    def run(self, peer: PeerAddress, *, wait_s: float = 0.2, report_s: float = 3600.0) -> None:
        destination = Destination("pacs", peer, wants_commitment=True)
        self._running = [
            Courier(self.spool, destination, calling_ae="DAE_PACS", results=Bell()),
            Committer(
                self.spool.ledger.commitments,
                Asking("pacs", peer, "DAE_PACS", batch=100, wait_s=wait_s, report_s=report_s, settled_s=0.3),
            ),
        ]
        for one in self._running:
            one.keep_running()

    def statuses(self) -> list[str]:
        return sorted(delivery.status for delivery in self.spool.ledger.deliveries())

    def errors(self) -> set[str | None]:
        return {delivery.error for delivery in self.spool.ledger.deliveries()}

    def stop(self) -> None:
        for one in self._running:
            one.stop()
        self._running = []

    def close(self) -> None:
        self.stop()
        self.scp.stop()
        self.spool.ledger.close()


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Node]:
    monkeypatch.setattr(backoff, "FIRST_BACKOFF_S", 0.05)  # the pauses are not what is tested here
    made = Node(tmp_path)
    yield made
    made.close()


def _received(ds: Dataset, path: Path) -> NewInstance:
    return NewInstance(
        **{
            name: str(ds.get(name, ""))
            for name in ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
        },
        **dict.fromkeys(("PatientID", "AccessionNumber", "StudyDate", "Modality", "SeriesDescription"), "x"),
        **dict.fromkeys(("calling_ae", "called_ae", "address", "association"), "x"),
        SeriesNumber=1,
        transfer_syntax_uid=EXPLICIT,
        digest=str(ds.SOPInstanceUID),
        path=path,
        size_bytes=path.stat().st_size,
        expected_count=None,
        received_at=time.time(),
    )


class Archive:
    """A PACS by stock pynetdicom, which does with a request for commitment what a test wants."""

    def __init__(self, *, offers_commitment: bool = True) -> None:
        self.stored: list[str] = []
        self.requests: list[Dataset] = []
        self.on_action: Callable[[Dataset], int] = lambda _request: 0x0000
        ae = self._ae = AE("ARCHIVE")
        ae.add_supported_context(CT)
        if offers_commitment:
            ae.add_supported_context(StorageCommitmentPushModel, scu_role=True, scp_role=False)
        handlers = [(evt.EVT_C_STORE, self._store), (evt.EVT_N_ACTION, self._action)]
        self._server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
        self.peer = PeerAddress("ARCHIVE", "127.0.0.1", self._server.server_address[1], 5.0, 5.0)

    def _store(self, event: evt.Event) -> int:
        self.stored.append(str(event.request.AffectedSOPInstanceUID))
        return 0

    def _action(self, event: evt.Event) -> tuple[int, None]:
        request = event.action_information
        status = self.on_action(request)
        self.requests.append(request)
        return status, None

    def report(
        self, port: int, uid: str, committed: list[str], failed: dict[str, int], *, role: bool = True
    ) -> int:
        """Report on an association of our own, as the SCP that we are; gives the status of the answer."""
        report = Dataset()
        report.TransactionUID = uid
        report.ReferencedSOPSequence = [_reference(one) for one in committed]
        if failed:
            report.FailedSOPSequence = [_reference(one, reason) for one, reason in failed.items()]
        ae = AE("ARCHIVE")
        ae.add_requested_context(StorageCommitmentPushModel)
        roles = [build_role(StorageCommitmentPushModel, scp_role=True)] if role else []
        assoc = ae.associate("127.0.0.1", port, ae_title="DAE_PACS", ext_neg=roles)
        assert assoc.is_established
        status, _ = assoc.send_n_event_report(
            report, 2 if failed else 1, StorageCommitmentPushModel, StorageCommitmentPushModelInstance
        )
        assoc.release()
        return int(status.Status)

    def close(self) -> None:
        self._server.shutdown()
        self._ae.shutdown()


def _reference(uid: str, reason: int | None = None) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = CT, uid
    if reason is not None:
        item.FailureReason = reason
    return item


@pytest.fixture
def archive() -> Iterator[Archive]:
    made = Archive()
    yield made
    made.close()


def _await(true: Callable[[], object], *, within_s: float = 20.0) -> None:
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def _uids(request: Dataset) -> list[str]:
    return [str(item.ReferencedSOPInstanceUID) for item in request.ReferencedSOPSequence]


@pytest.mark.pacs
def test_orthanc_commits_itself_to_what_it_got(node: Node, tmp_path: Path) -> None:
    if find_orthanc() is None:
        pytest.skip("Debian's orthanc is not installed")
    node.owe(5)
    with Orthanc(tmp_path / "orthanc", node=NodeAddress("DAE_PACS", node.scp.port)) as pacs:
        node.run(PeerAddress(pacs.ae_title, pacs.host, pacs.port, 5.0, 5.0), wait_s=5.0)
        _await(lambda: node.statuses() == ["delivered"] * 5)
    assert node.spool.ledger.removable(time.time() + 1e6), "nothing is owed any more"


@pytest.mark.pacs
def test_what_orthanc_has_lost_is_sent_again_and_then_committed(node: Node, tmp_path: Path) -> None:
    if find_orthanc() is None:
        pytest.skip("Debian's orthanc is not installed")
    uids = node.owe(3)
    with Orthanc(tmp_path / "orthanc", node=NodeAddress("DAE_PACS", node.scp.port)) as pacs:
        peer = PeerAddress(pacs.ae_title, pacs.host, pacs.port, 5.0, 5.0)
        node.run(peer)
        _await(lambda: "uncommitted" in node.statuses())
        _await(lambda: pacs.rest.get("/statistics")["CountInstances"] == 3)
        lost = pacs.rest.get("/instances")[0]
        pacs.rest.delete(f"/instances/{lost}")
        _await(lambda: node.statuses() == ["delivered"] * 3)
        assert pacs.rest.get("/statistics")["CountInstances"] == 3
    assert len(uids) == 3


def test_a_report_on_a_later_association_settles_all(node: Node, archive: Archive) -> None:
    uids = node.owe(3)
    node.run(archive.peer)
    _await(lambda: archive.requests)
    assert node.statuses() == ["uncommitted"] * 3
    (request,) = archive.requests
    assert sorted(_uids(request)) == sorted(uids), "one request for the series"
    assert node.spool.ledger.removable(time.time() + 1e6) == [], "owed until committed"
    assert archive.report(node.scp.port, request.TransactionUID, uids, {}) == 0x0000
    assert node.statuses() == ["delivered"] * 3


def test_a_peer_that_negotiates_no_roles_is_heard_too(node: Node, archive: Archive) -> None:
    uids = node.owe(1)
    node.run(archive.peer)
    _await(lambda: archive.requests)
    uid = archive.requests[0].TransactionUID
    assert archive.report(node.scp.port, uid, uids, {}, role=False) == 0x0000
    assert node.statuses() == ["delivered"]


@pytest.mark.parametrize("reason", [0x0112, 0x0213])
def test_an_object_that_the_peer_does_not_have_is_sent_again(
    node: Node, archive: Archive, reason: int
) -> None:
    good, bad = node.owe(2)
    node.run(archive.peer)
    _await(lambda: archive.requests)
    uid = archive.requests[0].TransactionUID
    assert archive.report(node.scp.port, uid, [good], {bad: reason}) == 0x0000
    _await(lambda: len(archive.requests) == 2)
    assert archive.stored.count(bad) == 2
    assert archive.stored.count(good) == 1, "only what failed goes out again"
    assert _uids(archive.requests[1]) == [bad]
    assert archive.requests[1].TransactionUID != uid


@pytest.mark.parametrize(("reason", "words"), [(0x0122, "SOP class"), (0x0119, "another SOP class")])
def test_an_object_that_can_never_be_committed_waits_for_a_person(
    node: Node, archive: Archive, reason: int, words: str
) -> None:
    uids = node.owe(1)
    node.run(archive.peer)
    _await(lambda: archive.requests)
    archive.report(node.scp.port, archive.requests[0].TransactionUID, [], {uids[0]: reason})
    assert node.statuses() == ["dead"]
    (error,) = node.errors()
    assert words in str(error)
    assert f"{reason:04X}H" in str(error)


@pytest.mark.parametrize("reason", [0x0110, 0x0131])
def test_a_failure_of_the_request_is_asked_again_and_not_sent_again(
    node: Node, archive: Archive, reason: int
) -> None:
    uids = node.owe(1)
    node.run(archive.peer)
    _await(lambda: archive.requests)
    first = archive.requests[0].TransactionUID
    archive.report(node.scp.port, first, [], {uids[0]: reason})
    _await(lambda: len(archive.requests) == 2)
    assert archive.requests[1].TransactionUID != first
    assert archive.stored == uids


def test_an_object_that_fails_for_ever_is_given_up(node: Node, archive: Archive) -> None:
    (uid,) = node.owe(1)
    ledger, now = node.spool.ledger, time.time()
    (delivery,) = ledger.outbox.claim("pacs", now=now, limit=1, breaker_after=5)
    _commit_round = report_into(ledger.commitments)
    for number in range(MOST_TRIES):
        assert ledger.deliveries()[0].status in {"waiting", "sending", "uncommitted"}, number
        now += 1000.0
        _store_again(ledger, delivery.id, now)
        transaction = ledger.commitments.open("pacs", now=now + 500.0, batch=1, settled_s=0.0)
        assert transaction is not None
        _commit_round(_report(transaction.uid, {uid: 0x0112}))
    assert ledger.deliveries()[0].status == "dead"


def test_a_report_that_is_overdue_is_asked_for_again(node: Node, archive: Archive) -> None:
    uids = node.owe(1)
    node.run(archive.peer, report_s=0.5)
    _await(lambda: len(archive.requests) >= 2)
    assert archive.requests[0].TransactionUID != archive.requests[1].TransactionUID
    late = archive.report(node.scp.port, archive.requests[0].TransactionUID, uids, {})
    assert late == 0x0000, "a late report on the first request is good news still"
    assert node.statuses() == ["delivered"]


def test_a_bad_report_on_a_request_that_was_made_anew_changes_nothing(node: Node, archive: Archive) -> None:
    uids = node.owe(1)
    node.run(archive.peer, report_s=0.5)
    _await(lambda: len(archive.requests) >= 2)
    archive.report(node.scp.port, archive.requests[0].TransactionUID, [], {uids[0]: 0x0122})
    assert node.statuses() == ["uncommitted"]


def test_a_report_survives_a_restart_between_request_and_report(node: Node, archive: Archive) -> None:
    uids = node.owe(2)
    node.run(archive.peer)
    _await(lambda: archive.requests)
    node.stop()
    node.spool.ledger.recover(time.time())
    assert archive.report(node.scp.port, archive.requests[0].TransactionUID, uids, {}) == 0x0000
    assert node.statuses() == ["delivered"] * 2
    assert archive.stored == uids


def test_a_transaction_that_nobody_asked_for_is_refused(node: Node, archive: Archive) -> None:
    uids = node.owe(1)
    node.run(archive.peer)
    _await(lambda: archive.requests)
    assert archive.report(node.scp.port, generate_uid(), uids, {}) == 0x0110
    assert node.statuses() == ["uncommitted"]


def test_objects_that_nobody_asked_about_are_said_to_be_unknown(node: Node, archive: Archive) -> None:
    uids = node.owe(1)
    node.run(archive.peer)
    _await(lambda: archive.requests)
    uid = archive.requests[0].TransactionUID
    assert archive.report(node.scp.port, uid, [*uids, "1.2.3.4"], {}) == 0x0112
    assert node.statuses() == ["delivered"], "what was asked about is recorded"


def test_a_peer_that_refuses_the_request_is_asked_later_and_its_words_are_kept(
    node: Node, archive: Archive
) -> None:
    node.owe(1)
    archive.on_action = lambda _request: 0x0213
    node.run(archive.peer)
    _await(lambda: len(archive.requests) >= 2)
    assert node.statuses() == ["uncommitted"]
    assert "0213H" in str(node.errors())


def test_a_peer_without_storage_commitment_keeps_what_it_got_owed(node: Node) -> None:
    plain = Archive(offers_commitment=False)
    try:
        node.owe(1)
        node.run(plain.peer)
        _await(lambda: any(node.errors()))
        assert node.statuses() == ["uncommitted"]
        assert "does not offer Storage Commitment" in str(node.errors())
        assert len(plain.stored) == 1
    finally:
        plain.close()


def test_what_is_no_longer_to_be_committed_is_delivered(node: Node, archive: Archive) -> None:
    node.owe(2)
    node.run(archive.peer)
    _await(lambda: archive.requests)
    node.stop()
    assert node.spool.ledger.commitments.stop_asking("another") == 0
    assert node.spool.ledger.commitments.stop_asking("pacs") == 2
    assert node.statuses() == ["delivered"] * 2


def _store_again(ledger: Ledger, delivery_id: int, now: float) -> None:
    if ledger.deliveries()[0].status == "waiting":
        ledger.outbox.claim("pacs", now=now, limit=1, breaker_after=5)
    if ledger.deliveries()[0].status == "sending":
        ledger.outbox.tell([Told(delivery_id, Fate.TAKEN)], now=now, wants_commitment=True)


def _report(uid: str, failed: dict[str, int]) -> Report:
    return Report(uid, (), failed)
