import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless, JPEGLSLossless, RLELossless

from dae_pacs.errors import ModelError, PixelError
from dae_pacs.image import layout
from dae_pacs.image.files import file_digest, read
from dae_pacs.image.pixels import decode, decode_run
from dae_pacs.node import pipeline
from dae_pacs.node.events import (
    Calibrated,
    Derived,
    Event,
    Finished,
    Paused,
    Rejected,
    SeriesTask,
    Source,
    Underway,
)
from dae_pacs.node.pipeline import denoise_series, spread


def run(task: SeriesTask, denoiser, **options) -> list[Event]:
    output = task.sources[0].path.parent
    events: list[Event] = []
    denoise_series(
        task,
        denoiser,
        events.append,
        name_file=lambda source, _: output / f"derived-{source.instance_id}.dcm",
        **options,
    )
    return events


def test_every_image_is_derived_and_the_stages_are_timed(make_task, denoiser):
    events = run(make_task(slices=3), denoiser)
    assert [type(event) for event in events] == [Calibrated, Derived, Derived, Derived, Finished]
    assert set(events[-1].stage_seconds) == {"calibrate", "decode", "denoise", "encode"}


def test_derived_file_holds_the_denoised_pixels(make_task, denoiser):
    task = make_task(slices=1)
    (derived,) = [event for event in run(task, denoiser) if isinstance(event, Derived)]
    before, after = dcmread(task.sources[0].path), dcmread(derived.path)
    assert after.pixel_array.shape == before.pixel_array.shape
    assert np.std(np.diff(after.pixel_array.astype(int))) < np.std(np.diff(before.pixel_array.astype(int)))
    assert derived.SOPInstanceUID == after.SOPInstanceUID != before.SOPInstanceUID
    assert after.SeriesNumber == task.series_number


def test_broken_image_is_rejected_and_the_others_go_on(make_task, denoiser):
    task = make_task(slices=3)
    task.sources[0].path.write_bytes(task.sources[0].path.read_bytes()[:-5000])
    events = run(task, denoiser)
    (rejected,) = [event for event in events if isinstance(event, Rejected)]
    assert rejected.instance_id == 0
    assert rejected.reason
    assert sum(isinstance(event, Derived) for event in events) == 2


def test_series_of_broken_images_alone_still_finishes(make_task, denoiser, tmp_path):
    junk = tmp_path / "junk.dcm"
    junk.write_bytes(b"nothing of ours")
    events = run(replace(make_task(), sources=(Source(7, junk, "0"),)), denoiser)
    assert [type(event) for event in events] == [Rejected, Finished]
    assert denoiser.calibrations == []


def test_late_images_are_treated_with_the_noise_that_was_measured_first(make_task, denoiser):
    task = make_task(slices=2)
    calibrated = run(task, denoiser)[0]
    late = replace(task, noise=calibrated.noise, sources=task.sources[1:])
    assert run(late, denoiser)[0] == calibrated
    assert denoiser.calibrations == [2], "the noise of a series is measured once"


def test_series_that_is_paused_finishes_what_is_in_work_and_the_rest_makes_the_same_objects(
    make_task, denoiser
):
    task = make_task(slices=6)
    whole = {event.SOPInstanceUID for event in run(task, denoiser) if isinstance(event, Derived)}
    answers = iter([True, True, True, False])

    events = run(task, denoiser, may_go_on=lambda: next(answers))

    done = [event for event in events if isinstance(event, Derived)]
    assert [event.instance_id for event in done] == [source.instance_id for source in task.sources[:3]]
    assert isinstance(events[-1], Paused)
    rest = replace(task, sources=task.sources[3:], noise=events[0].noise)
    done += [event for event in run(rest, denoiser) if isinstance(event, Derived)]
    assert {event.SOPInstanceUID for event in done} == whole


def test_repeat_makes_the_same_objects(make_task, denoiser):
    task = make_task(slices=2)
    first = [(e.SOPInstanceUID, e.SeriesInstanceUID) for e in run(task, denoiser) if isinstance(e, Derived)]
    again = [(e.SOPInstanceUID, e.SeriesInstanceUID) for e in run(task, denoiser) if isinstance(e, Derived)]
    assert first == again


def test_result_that_cannot_be_written_raises(make_task, denoiser):
    task = make_task(slices=1)
    with pytest.raises(OSError, match="missing"):
        denoise_series(task, denoiser, lambda _event: None, name_file=lambda *_: Path("/missing/x.dcm"))


@pytest.mark.parametrize(
    ("count", "picked"), [(1, [0]), (2, [0, 9]), (4, [0, 3, 6, 9]), (99, list(range(10)))]
)
def test_spread_takes_first_and_last(count, picked):
    assert spread(range(10), count) == picked


@pytest.fixture
def make_multiframe(make_task, tmp_path):
    """Make a task of one object with nine frames, compressed as asked."""

    def make(compression: str = "uncompressed") -> SeriesTask:
        task = make_task(slices=1)
        ds = dcmread(task.sources[0].path)
        frames = np.stack([np.roll(ds.pixel_array, 3 * k, axis=0) for k in range(9)])
        ds.SOPClassUID, ds.NumberOfFrames = "1.2.840.10008.5.1.4.1.1.7.3", len(frames)
        ds.PixelData = frames.tobytes()
        path = tmp_path / "many.dcm"
        if compression == "rle":
            ds.compress(RLELossless, encoding_plugin="pydicom")
        ds.save_as(path, enforce_file_format=True)
        return replace(task, sources=(Source(1, path, file_digest(path)),))

    return make


def test_frames_come_out_alike_however_they_are_run(make_multiframe, denoiser, monkeypatch):
    pixels = []
    for run_pixels in (1, 2 * 64 * 64, 1 << 22):
        monkeypatch.setattr(layout, "RUN_PIXELS", run_pixels)
        (derived,) = [event for event in run(make_multiframe(), denoiser) if isinstance(event, Derived)]
        pixels.append(dcmread(derived.path).PixelData)
    assert pixels[0] == pixels[1] == pixels[2]
    assert denoiser.calibrations == [8, 8, 8], "a sample of the frames is measured"


def test_object_with_one_broken_frame_is_rejected_and_leaves_nothing(make_multiframe, denoiser, monkeypatch):
    monkeypatch.setattr(layout, "RUN_PIXELS", 1)
    task = make_multiframe("rle")
    path = task.sources[0].path
    data = bytearray(path.read_bytes())
    seventh = data.rfind(b"\xfe\xff\x00\xe0", 0, int(0.75 * len(data)))
    data[seventh + 8] = 9  # an RLE header that promises nine segments
    path.write_bytes(data)
    before = set(path.parent.iterdir())
    events = run(task, denoiser)
    assert [type(event) for event in events][-2:] == [Rejected, Finished]
    assert "9 segments" in events[-2].reason
    assert set(path.parent.iterdir()) == before


def test_result_is_compressed_as_the_task_says(make_task, denoiser):
    task = make_task(slices=1)
    results = {}
    for compression in ("uncompressed", "jpeg2000", "jpegls", "rle"):
        events = run(replace(task, compression=compression), denoiser)
        (derived,) = [event for event in events if isinstance(event, Derived)]
        results[derived.transfer_syntax_uid] = decode(read(derived.path)).stored
        assert dcmread(derived.path).file_meta.TransferSyntaxUID == derived.transfer_syntax_uid
    assert set(results) == {ExplicitVRLittleEndian, JPEG2000Lossless, JPEGLSLossless, RLELossless}
    first, *others = results.values()
    assert all(np.array_equal(first, other) for other in others)


def test_radiograph_that_is_measured_and_denoised_is_decoded_once(make_task, denoiser, monkeypatch):
    decoded = []

    def counted(*arguments):
        decoded.append(arguments[1:])
        return decode_run(*arguments)

    monkeypatch.setattr(pipeline, "decode_run", counted)
    run(make_task(slices=1), denoiser)
    assert decoded == [(0, 1)]


class Batched:
    """Passes its batches on to another denoiser, and remembers or refuses them."""

    def __init__(self, inner, *, slices: int, fail=None) -> None:
        self.inner, self.identity, self.calibrate = inner, inner.identity, inner.calibrate
        self.batch_pixels = slices * 64 * 64
        self.side_by_side = inner.side_by_side
        self.fail = fail or (lambda _frames, _count: None)
        self.batches: list[int] = []

    def denoise(self, frames, keep, **settings):
        self.batches.append(len(frames))
        self.fail(frames, len(self.batches))
        return self.inner.denoise(frames, keep, **settings)


@pytest.mark.parametrize(("slices", "expected"), [(1, [1] * 5), (2, [2, 2, 1]), (99, [5])])
def test_slices_of_a_series_go_through_the_model_together(make_task, denoiser, slices, expected):
    task = make_task(slices=5)
    alone = [dcmread(e.path).PixelData for e in run(task, denoiser) if isinstance(e, Derived)]
    batched = Batched(denoiser, slices=slices)
    derived = [event for event in run(task, batched) if isinstance(event, Derived)]
    assert batched.batches == expected
    assert [event.instance_id for event in derived] == [0, 1, 2, 3, 4]
    assert [dcmread(event.path).PixelData for event in derived] == alone


@pytest.mark.parametrize(("slices", "expected"), [(6, [2] * 6), (1, [1])])
def test_slices_share_the_device_and_come_in_their_order(make_task, denoiser, slices, expected):
    told = []

    class Shared(Batched):
        def denoise(self, frames, keep, *, beside, **settings):
            told.append(beside)
            time.sleep(0.05 / len(told))  # the later, the sooner it is done
            return super().denoise(frames, keep, **settings)

    shared = Shared(denoiser, slices=1)
    shared.side_by_side = lambda pixels: 8192 // pixels
    derived = [event for event in run(make_task(slices=slices), shared) if isinstance(event, Derived)]
    assert [event.instance_id for event in derived] == list(range(slices))
    assert told == expected, "an image that comes alone has all of it"


def test_images_of_other_shapes_are_not_put_together(make_task, denoiser, tmp_path):
    small, large = make_task(slices=2), make_task(slices=1)
    ds = dcmread(large.sources[0].path)
    ds.Rows, ds.PixelData = 32, ds.PixelData[: 32 * 64 * 2]
    ds.save_as(tmp_path / "half.dcm", enforce_file_format=True)
    odd = Source(9, tmp_path / "half.dcm", "9")
    task = replace(small, sources=(small.sources[0], odd, small.sources[1]))
    batched = Batched(denoiser, slices=9)
    assert sum(isinstance(event, Derived) for event in run(task, batched)) == 3
    assert batched.batches == [1, 1, 1]


def test_image_that_is_to_blame_is_found_in_a_batch(make_task, denoiser):
    task = make_task(slices=4)
    bad = decode(dcmread(task.sources[2].path)).values[0]

    def refuse_bad(frames, _count):
        if any(np.array_equal(frame, bad) for frame in frames):
            raise PixelError("4 pixels are NaN")

    events = run(task, Batched(denoiser, slices=4, fail=refuse_bad))
    assert [event.instance_id for event in events if isinstance(event, Rejected)] == [2]
    assert [event.instance_id for event in events if isinstance(event, Derived)] == [0, 1, 3]
    assert isinstance(events[-1], Finished)


def test_model_that_fails_in_the_middle_leaves_no_half_object_and_rejects_nothing(
    make_multiframe, denoiser, monkeypatch
):
    def fail(_frames, count):
        if count == 3:
            raise ModelError("the network gave NaN")

    monkeypatch.setattr(layout, "RUN_PIXELS", 2 * 64 * 64)
    task, events = make_multiframe(), []
    folder = task.sources[0].path.parent
    before = set(folder.iterdir())
    with pytest.raises(ModelError, match="NaN"):
        denoise_series(
            task,
            Batched(denoiser, slices=1, fail=fail),
            events.append,
            name_file=lambda *_: folder / "derived.dcm",
        )
    assert [type(event) for event in events] == [Calibrated, Underway, Underway]
    assert set(folder.iterdir()) == before


def test_long_object_gives_a_sign_of_life_after_every_run(make_multiframe, denoiser, monkeypatch):
    monkeypatch.setattr(layout, "RUN_PIXELS", 2 * 64 * 64)
    events = run(make_multiframe(), Batched(denoiser, slices=1))
    assert [type(event) for event in events] == [Calibrated, *[Underway] * 4, Derived, Finished]


def test_next_images_are_decoded_while_one_is_denoised(make_task, denoiser, monkeypatch):
    task = make_task(slices=3)
    decoded = threading.Semaphore(0)

    def counted(*arguments):
        try:
            return decode_run(*arguments)
        finally:
            decoded.release()

    def wait_for_the_next(_frames, count):
        if count == 1:  # three to measure the noise, one to be denoised, one ahead of it
            assert all(decoded.acquire(timeout=20) for _ in range(5))

    monkeypatch.setattr(pipeline, "decode_run", counted)
    events = run(task, Batched(denoiser, slices=1, fail=wait_for_the_next))
    assert sum(isinstance(event, Derived) for event in events) == 3


def test_noise_is_measured_on_the_first_image_that_decodes_where_no_sampled_one_did(
    make_task, denoiser, monkeypatch
):
    monkeypatch.setattr(pipeline, "CALIBRATION_FRAMES", 1)
    task = make_task(slices=3)
    task.sources[0].path.write_bytes(b"nothing of ours")
    events = run(task, denoiser)
    assert [type(event) for event in events].count(Calibrated) == 1
    assert [type(event) for event in events].count(Rejected) == 1
    assert [type(event) for event in events].count(Derived) == 2
