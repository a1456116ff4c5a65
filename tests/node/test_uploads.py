"""What came over HTTP is kept as what came over DIMSE is, and what was left behind goes."""

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydicom import Dataset

from dae_pacs import part10
from dae_pacs.config.model import ModelSettings, Rule
from dae_pacs.demo.phantoms import Study, ct_series
from dae_pacs.dimse import statuses
from dae_pacs.dimse.scp import Answer, Incoming
from dae_pacs.node.bell import Bell
from dae_pacs.node.receive import Receiver
from dae_pacs.node.uploads import TRANSFER_SYNTAX_NOT_SUPPORTED, EndUpload, KeepObject, Kept, Uploads
from dae_pacs.spool import receipt
from dae_pacs.spool.files import SpoolFiles
from dae_pacs.spool.ledger import Ledger
from dae_pacs.spool.states import JobStatus
from dae_pacs.spool.uploads import open_upload

RULE = Rule(name="by account", when={"CallingAETitle": "clinic"}, destinations=("pacs",))


class Door:
    """A node's side of STOW-RS, with its spool."""

    def __init__(self, spool: Path) -> None:
        self.files = SpoolFiles(spool)
        self.ledger = Ledger(self.files.ledger_path)
        self.before_keeping: Callable[[], object] = lambda: None
        receiver = Receiver(self.files, self.ledger, (RULE,), ModelSettings(), Bell())
        self.uploads = Uploads(
            self.files, called_ae="DAE_PACS", keep=self._keep, ended=self.ledger.association_ended
        )
        self._receiver = receiver

    def _keep(self, incoming: Incoming) -> Answer:
        self.before_keeping()
        return self._receiver.keep(incoming)

    def push(self, ds: Dataset, body: bytes, **claims: str) -> Kept:
        said = {
            "SOPClassUID": str(ds.SOPClassUID),
            "SOPInstanceUID": str(ds.SOPInstanceUID),
            "transfer_syntax_uid": str(ds.file_meta.TransferSyntaxUID),
        } | claims
        file = open_upload(self.files)
        meta = part10.FileMeta(**said)
        file.write(part10.encode(meta, calling_ae="clinic", called_ae="DAE_PACS"))
        file.write(body)
        file.flush()
        file.close()
        return self.uploads.keep(
            KeepObject(name=file.path.name, account="clinic", address="10.0.0.7", request="r1", **said)
        )

    def left(self) -> list[str]:
        return [path.name for path in self.files.incoming.iterdir()]


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    door = Door(tmp_path / "spool")
    yield door
    door.ledger.close()


@pytest.fixture
def ds() -> Dataset:
    return ct_series(Study(), slices=1, size=32)[0]


@pytest.fixture
def body(tmp_path: Path, ds: Dataset) -> bytes:
    path = tmp_path / "whole.dcm"
    ds.save_as(path, enforce_file_format=True)
    with path.open("rb") as file:
        part10.read(file)
        return file.read()


def test_upload_is_kept_with_its_account_as_the_caller(door: Door, ds: Dataset, body: bytes) -> None:
    assert door.push(ds, body) == Kept(statuses.SUCCESS)
    assert door.left() == [] or door.ledger.index.drain(5)
    instance = door.ledger.received(ds.SOPInstanceUID)
    assert instance is not None
    assert (instance.rule, instance.action) == ("by account", "denoise")
    sealed = receipt.read(instance.path)
    assert sealed is not None
    assert (sealed.receipt.calling_ae, sealed.receipt.address) == ("clinic", "10.0.0.7")
    assert instance.path.read_bytes().endswith(body)


def test_series_is_complete_when_its_request_is_over(door: Door, ds: Dataset, body: bytes) -> None:
    door.push(ds, body)
    door.ledger.index.drain(5)
    assert door.ledger.promote_ready(1e12, quiet_s=0, idle_s=1e13) == 0
    door.uploads.end(EndUpload("r1"))
    assert door.ledger.promote_ready(1e12, quiet_s=0, idle_s=1e13) == 1
    assert [job.status for job in door.ledger.jobs()] == [JobStatus.READY]


def is_over(door: Door) -> bool:
    """Whether the series is complete, and the request counted as one that ended."""
    assert door.ledger.index.drain(5)
    attended = door.uploads.attendance.attended()
    assert attended.objects == 1
    return door.ledger.promote_ready(1e12, quiet_s=0, idle_s=1e13) == 1 and attended.under_way == 0


def test_end_that_overtakes_an_object_comes_after_it(door: Door, ds: Dataset, body: bytes) -> None:
    keeping, may_go_on = threading.Event(), threading.Event()

    def wait() -> None:
        keeping.set()
        assert may_go_on.wait(30)

    door.before_keeping = wait
    pushing = threading.Thread(target=door.push, args=(ds, body))
    pushing.start()
    assert keeping.wait(30)
    assert door.uploads.end(EndUpload("r1"))
    may_go_on.set()
    pushing.join(30)
    assert is_over(door)


def test_object_that_comes_after_the_end_of_its_request_leaves_nothing_open(
    door: Door, ds: Dataset, body: bytes
) -> None:
    assert not door.uploads.end(EndUpload("r1"))
    assert door.push(ds, body).status == statuses.SUCCESS
    assert is_over(door)


def test_what_is_no_object_of_ours_is_refused_and_nothing_stays(door: Door, ds: Dataset, body: bytes) -> None:
    other = "1.2.3.4"
    assert door.push(ds, body, SOPInstanceUID=other).status == statuses.MISMATCH
    assert door.push(ds, body, SOPInstanceUID="1..2").status == statuses.CANNOT_UNDERSTAND
    assert door.push(ds, body, SOPClassUID=other).status == statuses.CLASS_NOT_SUPPORTED
    assert door.push(ds, body, transfer_syntax_uid=other).status == TRANSFER_SYNTAX_NOT_SUPPORTED
    assert door.push(ds, body[:-20]).status == statuses.CANNOT_UNDERSTAND
    assert door.push(ds, b"").status == statuses.CANNOT_UNDERSTAND
    assert door.left() == []
    assert door.ledger.counts()["instances"] == {}


def test_repeated_object_is_kept_once_and_another_under_its_uid_not_at_all(
    door: Door, ds: Dataset, body: bytes
) -> None:
    assert door.push(ds, body).status == statuses.SUCCESS
    assert door.push(ds, body).status == statuses.SUCCESS
    assert door.push(ds, body[:-2] + b"xx").status == statuses.DUPLICATE_INSTANCE
    assert door.ledger.counts()["instances"] == {"received kept": 1, "received quarantined": 1}


def test_name_that_is_not_of_an_upload_is_not_touched(door: Door, tmp_path: Path) -> None:
    outside = tmp_path / "outside.upload"
    outside.write_bytes(b"mine")
    ask = KeepObject("../../outside.upload", "clinic", "", "r1", "1.2", "1.2", "1.2.840.10008.1.2.1")
    assert door.uploads.keep(ask).status == statuses.OUT_OF_RESOURCES
    assert outside.read_bytes() == b"mine"


def test_what_a_killed_process_left_is_swept(door: Door) -> None:
    torn, fresh = open_upload(door.files), open_upload(door.files)
    torn.write(b"half an object" * 100)
    os.utime(torn.path, (1, 1))
    copy = door.files.incoming / "copy.tmp"
    copy.touch()
    os.utime(copy, (1, 1))
    door.uploads.sweep()
    assert door.left() == [fresh.path.name]
    door.uploads.end_all()
    assert door.left() == []
    torn.close()
    fresh.close()


def test_torn_upload_is_swept_when_a_node_starts(door: Door) -> None:
    torn = open_upload(door.files)
    torn.write(part10.encode(part10.FileMeta("1.2", "1.3", "1.2.840.10008.1.2.1")) + b"half")
    torn.flush()
    torn.close()
    assert door.ledger.reconcile(door.files).swept == 1
    assert door.left() == []
