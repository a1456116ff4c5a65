from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

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
