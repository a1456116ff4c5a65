"""What the node answers to each object, and what is then on disk and in the ledger."""

from collections.abc import Callable
from pathlib import Path

import pytest
from pydicom import Dataset, dcmread

from dae_pacs import part10
from dae_pacs.config.model import ModelSettings, Rule
from dae_pacs.demo.phantoms import Study, ct_series
from dae_pacs.dimse.scp import Answer, Incoming
from dae_pacs.dimse.statuses import DUPLICATE_INSTANCE, MISMATCH, SUCCESS
from dae_pacs.errors import NotDicomError
from dae_pacs.node.bell import Bell
from dae_pacs.node.receive import Receiver
from dae_pacs.spool.files import SpoolFiles
from dae_pacs.spool.ledger import Ledger
from dae_pacs.spool.records import NewDerived

RULE = Rule(name="ct", when={"Modality": "CT"}, destinations=("pacs",))


class Door:
    """A receiver with its spool, and a way to push objects through it."""

    def __init__(self, spool: Path) -> None:
        self.files = SpoolFiles(spool)
        self.ledger = Ledger(self.files.ledger_path)
        self.receiver = Receiver(self.files, self.ledger, (RULE,), ModelSettings(), Bell())

    def push(self, body: bytes, ds: Dataset, **claims: str) -> Answer:
        meta = part10.FileMeta(ds.SOPClassUID, ds.SOPInstanceUID, ds.file_meta.TransferSyntaxUID)
        file = self.files.open_incoming()
        file.write(part10.encode(meta, calling_ae="MODALITY"))
        file.write(body)
        said = {"SOPClassUID": str(ds.SOPClassUID), "SOPInstanceUID": str(ds.SOPInstanceUID)} | claims
        incoming = Incoming(
            calling_ae="MODALITY",
            called_ae="DAE_PACS",
            address="127.0.0.1",
            association="a1",
            transfer_syntax_uid=str(ds.file_meta.TransferSyntaxUID),
            file=file,
            **said,
        )
        try:
            answer = self.receiver.keep(incoming)
            assert self.ledger.index.drain(5)
            return answer
        finally:
            file.discard()  # as the SCP does when an object was not kept; harmless once it is settled

    def stored(self) -> list[Path]:
        return sorted(self.files.objects.rglob("*.dcm"))


@pytest.fixture
def door(tmp_path):
    door = Door(tmp_path / "spool")
    yield door
    door.ledger.close()


@pytest.fixture
def ds() -> Dataset:
    return ct_series(Study(), slices=1, size=32)[0]


Body = Callable[[Dataset], bytes]


@pytest.fixture
def body(tmp_path) -> Body:
    """The bytes of a data set as they cross the wire."""

    def encode(ds: Dataset) -> bytes:
        path = tmp_path / "whole.dcm"
        ds.save_as(path, enforce_file_format=True)
        whole = path.read_bytes()
        return whole[144 + int.from_bytes(whole[140:144], "little") :]

    return encode


def test_object_is_kept_byte_for_byte(door, ds, body):
    assert door.push(body(ds), ds) == Answer(SUCCESS)
    (path,) = door.stored()
    assert path.read_bytes().endswith(body(ds))
    assert dcmread(path).PatientName == ds.PatientName
    assert [job.rule for job in door.ledger.jobs()] == ["ct"]


def test_same_object_again_is_success_and_nothing_new(door, ds, body):
    door.push(body(ds), ds)
    assert door.push(body(ds), ds) == Answer(SUCCESS)
    assert len(door.stored()) == 1
    assert door.ledger.jobs()[0].image_count == 1


def test_other_bytes_under_the_same_uid_go_to_quarantine(door, ds, body):
    door.push(body(ds), ds)
    ds.PatientName = "Somebody^Else"
    assert door.push(body(ds), ds).status == DUPLICATE_INSTANCE
    assert door.ledger.counts()["instances"] == {"received kept": 1, "received quarantined": 1}


@pytest.mark.parametrize("claim", ["SOPClassUID", "SOPInstanceUID"])
def test_command_that_lies_about_the_object_is_refused_and_nothing_kept(door, ds, body, claim):
    answer = door.push(body(ds), ds, **{claim: "1.2.3"})
    assert answer.status == MISMATCH
    assert (
        claim.replace("SOP", "SOP ").replace("Class", "Class ").replace("Instance", "Instance ")
        in answer.comment
    )
    assert door.stored() == []
    assert list(door.files.incoming.iterdir()) == []


def test_truncated_object_is_refused(door, ds, body):
    with pytest.raises(NotDicomError):
        door.push(body(ds)[:-100], ds)
    assert door.stored() == []


def test_our_own_result_sent_back_is_success_without_a_job(door, ds, body, tmp_path):
    door.push(body(ds), ds)
    job = door.ledger.promote_ready(1e12, quiet_s=0, idle_s=0) and door.ledger.claim_job(
        "w", lease_s=60, now=1
    )
    derived_path = door.files.derived_path("1.2.3.4")
    derived_path.write_bytes(b"made")
    new = NewDerived(
        SOPClassUID=str(ds.SOPClassUID),
        SOPInstanceUID="1.2.3.4",
        SeriesInstanceUID="1.2.3",
        SeriesDescription="",
        SeriesNumber=1001,
        transfer_syntax_uid=str(ds.file_meta.TransferSyntaxUID),
        digest="0",
        path=derived_path,
        size_bytes=4,
        created_at=0.0,
    )
    door.ledger.record_derived(job.id, door.ledger.pending_instances(job.id)[0].id, new=new)
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    assert door.push(body(ds), ds) == Answer(SUCCESS)
    assert len(door.stored()) == 1
    assert len(door.ledger.jobs()) == 1


def test_object_that_no_rule_wants_is_kept_and_says_so(door, ds, body):
    ds.Modality = "MR"
    assert door.push(body(ds), ds) == Answer(SUCCESS)
    story = door.ledger.study_story(ds.StudyInstanceUID)
    assert len(door.stored()) == 1
    assert story.jobs == ()
    assert "no rule" in story.instances[0].reason
