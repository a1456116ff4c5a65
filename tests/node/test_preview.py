import os
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from dae_pacs.config.model import LogSettings
from dae_pacs.demo.phantoms import Study, radiograph
from dae_pacs.denoise.engine import TorchDenoiser, open_denoiser
from dae_pacs.errors import ServiceError
from dae_pacs.image import files as image_files
from dae_pacs.image import packet
from dae_pacs.image.pixels import decode_run, open_image
from dae_pacs.node.preview import Preview, Previewer
from dae_pacs.node.preview_process import NICENESS, PreviewTask, write_preview
from dae_pacs.node.worker import WorkerSettings
from dae_pacs.noise import vst
from dae_pacs.noise.model import NoiseModel
from dae_pacs.resources import find_bundle
from dae_pacs.spool.files import SpoolFiles
from dae_pacs.spool.ledger import Ledger
from dae_pacs.spool.records import NewInstance, Plan

MODEL = "xray_radiograph_denoising"
PATIENCE_S = 120.0


def _until(true, timeout_s: float = PATIENCE_S):
    deadline = time.monotonic() + timeout_s
    while not (found := true()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)
    return found


class Room:
    """A spool with one radiograph that a job is to denoise."""

    def __init__(self, folder: Path, *, idle_s: float = 300.0, digests: dict[str, str] | None = None) -> None:
        self.files = SpoolFiles(folder)
        self.ledger = Ledger(self.files.ledger_path)
        self.path = self.files.objects / "00" / "one.dcm"
        ds = radiograph(Study(), "CR", rows=96, columns=80)
        ds.save_as(self.path, enforce_file_format=True)
        self.ledger.keep(_new(self.path, ds), Plan("denoise", model=MODEL, strength=0.5, destinations=("a",)))
        settings = WorkerSettings("cpu", MODEL, None, folder, LogSettings(), digests or {})
        self.previewer = Previewer(self.ledger, settings, folder=self.files.incoming, idle_s=idle_s)
        (self.job,) = self.ledger.jobs()
        found = self.ledger.views.pairs(self.ledger.views.study_id_of(ds.StudyInstanceUID))
        (self.image,) = found.originals

    def ask(self, **changed: int) -> Path | None:
        asked = {"instance_id": self.image.id, "frame": 0, "job_id": self.job.id, **changed}
        return self.previewer.answer(Preview(**asked)).path

    def get(self) -> Path:
        found: Path = _until(self.ask)
        return found

    def close(self) -> None:
        self.previewer.close()
        self.ledger.close()


def _new(path: Path, ds) -> NewInstance:
    return NewInstance(
        SOPClassUID=ds.SOPClassUID,
        SOPInstanceUID=ds.SOPInstanceUID,
        StudyInstanceUID=ds.StudyInstanceUID,
        SeriesInstanceUID=ds.SeriesInstanceUID,
        PatientID=ds.PatientID,
        AccessionNumber="",
        StudyDate="",
        Modality="CR",
        SeriesDescription="",
        SeriesNumber=1,
        transfer_syntax_uid=ds.file_meta.TransferSyntaxUID,
        digest="0" * 64,
        path=path,
        size_bytes=path.stat().st_size,
        calling_ae="A",
        called_ae="B",
        address="127.0.0.1",
        association="1",
        expected_count=None,
        received_at=time.time(),
    )


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Room]:
    room = Room(tmp_path_factory.mktemp("spool"))
    yield room
    room.close()


@pytest.fixture(scope="module")
def denoiser() -> TorchDenoiser:
    return open_denoiser(find_bundle(MODEL), device="cpu", threads=2)


@pytest.fixture(scope="module")
def body(room: Room) -> bytes:
    return room.get().read_bytes()


@pytest.mark.parametrize("strength", [0.1, 0.5, 0.9, 1.0])
def test_a_preview_blends_to_what_the_engine_makes(
    room: Room, denoiser: TorchDenoiser, body: bytes, strength: float
) -> None:
    meaning, steps = packet.unpack(body)
    decoded = decode_run(open_image(image_files.open_object(room.path)), 0, 1)
    fields = meaning["noise"]
    noise = denoiser.calibrate(list(decoded.values), list(decoded.keep))
    assert list(noise.levels) == fields["levels"]
    assert fields["is_of_this_frame"]
    z = noise.stabilise(decoded.values)
    step = steps.astype(np.float32).reshape(z.shape) * np.float32(meaning["step_sigma"])
    blended = noise.carry_over(decoded.values, z, z + np.float32(strength) * step, strength=strength)
    made = denoiser.denoise(decoded.values, decoded.keep, noise=noise, strength=strength)
    error_sigma = np.abs(blended - made) / noise.sigma_at(made)
    assert error_sigma.max() < 0.01
    assert np.abs(made - decoded.values).max() > 1


def test_the_transform_that_is_sent_is_that_of_the_noise(body: bytes) -> None:
    meaning, _ = packet.unpack(body)
    fields, sent = meaning["noise"], meaning["transform"]
    of = vst.pieces(tuple(fields["levels"]), tuple(fields["variances"]))
    for name in ("x", "z", "root", "slope"):
        assert np.array_equal(sent[name], getattr(of, name))


def test_the_process_is_behind_everything_else_and_made_once(room: Room, body: bytes) -> None:
    pid = room.previewer.pid
    assert pid is not None
    assert os.getpriority(os.PRIO_PROCESS, pid) - os.getpriority(os.PRIO_PROCESS, 0) == NICENESS
    assert room.get().read_bytes() == body
    assert room.previewer.pid == pid


def test_what_fails_is_told_once_in_words_and_may_be_asked_again(room: Room, body: bytes) -> None:
    for _ in range(2):
        with pytest.raises(ServiceError, match="frame") as caught:
            _until(lambda: room.ask(frame=7))
        assert str(room.path) not in str(caught.value)


def test_a_process_that_died_is_followed_by_another(room: Room, body: bytes) -> None:
    first = room.previewer.pid
    assert first is not None
    os.kill(first, 9)
    with pytest.raises(ServiceError, match="process ended"):
        _until(lambda: room.ask(frame=3))
    with pytest.raises(ServiceError, match="no frame 4"):
        _until(lambda: room.ask(frame=3))
    assert room.previewer.pid not in {None, first}


def test_an_original_that_was_deleted_is_said_to_be(room: Room, body: bytes) -> None:
    moved = room.path.rename(room.path.with_suffix(".gone"))
    try:
        with pytest.raises(ServiceError, match="deleted"):
            room.ask(frame=1)
    finally:
        moved.rename(room.path)


def test_noise_that_the_job_measured_is_not_measured_again(
    room: Room, denoiser: TorchDenoiser, tmp_path: Path
) -> None:
    given = NoiseModel(levels=(0.0, 4000.0), variances=(100.0, 8000.0), unit="grey")
    target = tmp_path / "preview"
    write_preview(PreviewTask(room.path, 0, MODEL, given.to_json(), target), lambda _name: denoiser)
    fields = packet.unpack(target.read_bytes())[0]["noise"]
    assert (fields["levels"], fields["is_of_this_frame"]) == ([0.0, 4000.0], False)


def test_nothing_is_started_until_asked_and_nothing_is_left(tmp_path: Path) -> None:
    room = Room(tmp_path, idle_s=0.2, digests={MODEL: "of another one"})
    try:
        assert room.previewer.pid is None
        with pytest.raises(ServiceError, match="changed since the node started"):
            room.get()
        _until(lambda: room.previewer.pid is None)
    finally:
        room.close()
    assert not list(room.files.incoming.glob("*.tmp"))
