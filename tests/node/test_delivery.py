"""What the courier sends: results as they lie in the spool, or uncompressed where an archive wants that."""

import shutil
import socket
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest
from pydicom.data import get_testdata_file

from dae_pacs.dimse.scu import PeerAddress, echo
from dae_pacs.errors import PeerError
from dae_pacs.image import files
from dae_pacs.image.header import read_header, summarise
from dae_pacs.image.pixels import decode
from dae_pacs.node.bell import Bell
from dae_pacs.node.delivery import Courier, Destination, Spool
from dae_pacs.node.events import Derived
from dae_pacs.node.pipeline import denoise_series
from dae_pacs.spool.files import SpoolFiles
from dae_pacs.spool.ledger import Ledger
from dae_pacs.spool.records import NewDerived, NewInstance, Plan

JPEG_LS = "1.2.840.10008.1.2.4.80"
JPEG_2000 = "1.2.840.10008.1.2.4.90"
RLE = "1.2.840.10008.1.2.5"
EXPLICIT = "1.2.840.10008.1.2.1"
IMPLICIT = "1.2.840.10008.1.2"


@pytest.mark.pacs
@pytest.mark.parametrize(
    ("compression", "option", "syntax"),
    [
        ("jpegls", "+xt", JPEG_LS),
        ("jpeg2000", "+xv", JPEG_2000),
        ("rle", "+xr", RLE),
        ("jpegls", "+x=", EXPLICIT),
        ("jpeg2000", "+xe", EXPLICIT),
        ("rle", "+xv", EXPLICIT),
    ],
)
def test_a_result_arrives_in_the_form_that_the_archive_takes(hospital, compression, option, syntax):
    derived = hospital.make(compression)
    folder, delivery = hospital.deliver(option)
    assert delivery.status == "delivered", delivery.error
    (arrived,) = folder.iterdir()
    got, made = files.read(arrived), files.read(derived)
    assert got.file_meta.TransferSyntaxUID == syntax
    assert made.file_meta.TransferSyntaxUID != EXPLICIT
    assert (decode(got).stored == decode(made).stored).all()
    assert got.SOPInstanceUID == made.SOPInstanceUID
    assert not list(hospital.spool.files.incoming.iterdir()), "the copy is gone"


@pytest.mark.pacs
def test_a_foreign_original_without_loss_goes_out_uncompressed_where_it_must(hospital):
    original = hospital.make("jpegls", is_foreign=True)
    folder, delivery = hospital.deliver("+x=")
    assert delivery.status == "delivered", delivery.error
    (arrived,) = folder.iterdir()
    assert (decode(files.read(arrived)).stored == decode(files.read(original)).stored).all()


@pytest.mark.pacs
def test_a_foreign_original_with_loss_is_never_decompressed(hospital):
    path = Path(str(get_testdata_file("JPEG-lossy.dcm")))
    hospital.owe(path)
    folder, delivery = hospital.deliver("+x=")
    assert delivery.status == "dead"
    assert "does not take" in delivery.error
    assert "JPEG Extended" in delivery.error
    assert not list(folder.iterdir())


@pytest.mark.pacs
@pytest.mark.parametrize("compression", ["uncompressed", "rle"])
def test_an_archive_that_takes_implicit_vr_alone_gets_the_same_object(hospital, compression):
    derived = hospital.make(compression)
    folder, delivery = hospital.deliver("+xi")
    assert delivery.status == "delivered", delivery.error
    (arrived,) = folder.iterdir()
    got, made = files.read(arrived), files.read(derived)
    assert got.file_meta.TransferSyntaxUID == IMPLICIT
    assert (decode(got).stored == decode(made).stored).all()
    assert [element.tag for element in got] == [element.tag for element in made]


@pytest.mark.pacs
def test_a_copy_that_can_not_be_made_is_told_in_words(hospital):
    derived = hospital.make("jpegls")
    content = derived.read_bytes()
    derived.write_bytes(content[:-400] + bytes(400))
    _, delivery = hospital.deliver("+x=")
    assert delivery.status == "dead"
    assert "no copy can be made" in delivery.error


class Hospital:
    """A spool with one object that is owed to a storescp."""

    def __init__(self, root: Path, make_task, denoiser) -> None:
        folders = SpoolFiles(root / "spool")
        self.spool = Spool(folders, Ledger(folders.ledger_path))
        self.root = root
        self._task, self._denoiser = make_task(slices=1), denoiser

    def make(self, compression: str, *, is_foreign: bool = False) -> Path:
        """Denoise the task's image; owe the result, or owe it as if another had made it."""
        task = replace(self._task, compression=compression)
        target = self.spool.files.derived_path("result")
        events: list[object] = []
        denoise_series(task, self._denoiser, events.append, name_file=lambda *_: target)
        (event,) = [event for event in events if isinstance(event, Derived)]
        if is_foreign:
            self.spool.ledger.keep(_received(target), Plan("forward", destinations=("pacs",)))
            return target
        plan = Plan("denoise", rule="all", destinations=("pacs",))
        self.spool.ledger.keep(_received(self._settled(task.sources[0].path)), plan)
        self.spool.ledger.promote_ready(1e9, quiet_s=0, idle_s=0)
        job = self.spool.ledger.claim_job("test", lease_s=60, now=1.0)
        (image,) = self.spool.ledger.pending_instances(job.id)
        values = {
            name: getattr(event, name) for name in NewDerived.__dataclass_fields__ if hasattr(event, name)
        }
        self.spool.ledger.record_derived(job.id, image.id, new=NewDerived(**values, created_at=1.0))
        return target

    def owe(self, path: Path) -> None:
        """Owe an original as it is."""
        plan = Plan("forward", destinations=("pacs",))
        self.spool.ledger.keep(_received(self._settled(path)), plan)

    def _settled(self, path: Path) -> Path:
        target = self.spool.files.objects / "00" / "original.dcm"
        target.write_bytes(path.read_bytes())
        return target

    def deliver(self, option: str):
        """Run a courier against a storescp with one option, until its delivery ends."""
        folder = self.root / "archive"
        folder.mkdir()
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
        program = shutil.which("storescp")
        process = subprocess.Popen([program, "-B", "-od", str(folder), option, str(port)])
        peer = PeerAddress("STORESCP", "127.0.0.1", port, 5.0, 5.0)
        destination = Destination("pacs", peer)
        courier = Courier(self.spool, destination, calling_ae="DAE_PACS", results=Bell())
        try:
            _await(lambda: _answers(peer))
            courier.keep_running()
            _await(lambda: self.spool.ledger.deliveries()[0].status in {"delivered", "dead"})
        finally:
            courier.stop()
            process.terminate()
            process.wait(10)
        return folder, self.spool.ledger.deliveries()[0]


@pytest.fixture
def hospital(tmp_path, make_task, denoiser):
    if shutil.which("storescp") is None:
        pytest.skip("Debian's dcmtk is not installed")
    made = Hospital(tmp_path, make_task, denoiser)
    yield made
    made.spool.ledger.close()


def _answers(peer: PeerAddress) -> bool:
    try:
        echo(peer, calling_ae="TEST")
    except PeerError:
        return False
    return True


def _await(true) -> None:
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def _received(path: Path) -> NewInstance:
    with path.open("rb") as file:
        summary = summarise(read_header(file))
    fields = NewInstance.__dataclass_fields__
    values = {name: getattr(summary, name) for name in fields if hasattr(summary, name)}
    values |= dict.fromkeys(("calling_ae", "called_ae", "address", "association", "digest"), "x")
    return NewInstance(**values, path=path, size_bytes=path.stat().st_size, received_at=1.0)
