from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless, JPEGLSLossless, RLELossless

from dae_pacs.image import layout
from dae_pacs.image.files import file_digest, read
from dae_pacs.image.pixels import decode, decode_run
from dae_pacs.node import pipeline
from dae_pacs.node.events import Calibrated, Derived, Event, Finished, Rejected, SeriesTask, Source
from dae_pacs.node.pipeline import denoise_series, spread


def run(task: SeriesTask, denoiser) -> list[Event]:
    output = task.sources[0].path.parent
    events: list[Event] = []
    denoise_series(
        task,
        denoiser,
        events.append,
        name_file=lambda source, _: output / f"derived-{source.instance_id}.dcm",
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
