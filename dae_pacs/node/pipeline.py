"""The one-page story: a series of noisy images becomes a derived series.

Everything else in the house serves these few steps. They know no network, no ledger and no model: files come
in, a `Denoiser` is given, and what happened is reported.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from dae_pacs.denoise.protocol import Denoiser
from dae_pacs.errors import InputError
from dae_pacs.failpoints import reach
from dae_pacs.image import files
from dae_pacs.image.derive import Derivation, derive_header
from dae_pacs.image.pixel_file import pixel_file
from dae_pacs.image.pixels import Image, decode_run, encode, open_image
from dae_pacs.image.removed import difference
from dae_pacs.node.events import Calibrated, Derived, Event, Finished, Rejected, SeriesTask, Source
from dae_pacs.noise.model import NoiseModel

CALIBRATION_FRAMES = 8
"""Frames sampled across a series to measure its noise: enough flat area, little time."""

NameFile = Callable[[Source, Dataset], Path]
"""Chooses where a derived object is written, from its source and its own header."""

T = TypeVar("T")


def denoise_series(
    task: SeriesTask, denoiser: Denoiser, report: Callable[[Event], None], *, name_file: NameFile
) -> None:
    """Denoise one series, image by image and a run of frames at a time, under one noise model.

    Args:
        task: the files and the rule's settings.
        denoiser: the model, already on its device.
        report: told at once of every image that is done or rejected, and at the end of the seconds spent.
        name_file: where each derived object goes.

    Raises:
        OSError: a result can't be written.
        ServiceError: the device can't go on.
    """
    work = _Work(task, denoiser, name_file, _Reader(), Stopwatch())
    noise = _noise_of(work)
    if noise is not None:
        report(Calibrated(noise.to_json()))
    for source in task.sources:
        try:
            if noise is None:  # not one of the sampled images decoded
                noise = denoiser.calibrate(*_sample(work, source))
                report(Calibrated(noise.to_json()))
            derived, path = _denoise_object(work, source, noise)
        except InputError as error:
            report(Rejected(source.instance_id, str(error)))
        else:
            report(_as_event(source, derived, path))
    report(Finished(dict(work.clock.seconds)))


class _Reader:
    """Opens objects and decodes frames; remembers the last: a radiograph is measured and then denoised."""

    def __init__(self) -> None:
        self.open = lru_cache(maxsize=1)(lambda path: open_image(files.open_object(path)))
        self.decode = lru_cache(maxsize=1)(decode_run)


@dataclass(frozen=True)
class _Work:
    """One task at work."""

    task: SeriesTask
    denoiser: Denoiser
    name_file: NameFile
    reader: _Reader
    clock: "Stopwatch"

    @property
    def strength(self) -> float:
        """The rule's, or the bundle's own."""
        asked = self.task.strength
        return self.denoiser.identity.default_strength if asked is None else asked


def _noise_of(work: _Work) -> NoiseModel | None:
    """Measure the series' noise on a few frames spread over it, or take what was measured before.

    None where not one of the sampled images decodes.
    """
    if work.task.noise is not None:
        return NoiseModel.from_json(work.task.noise)
    frames, keep = [], []
    with work.clock.stage("calibrate"):
        for source in spread(work.task.sources, CALIBRATION_FRAMES):
            try:
                some, kept = _sample(work, source)
            except InputError:
                continue  # the main loop meets it again and reports the reason
            frames += some
            keep += kept
        return work.denoiser.calibrate(frames, keep) if frames else None


def _sample(work: _Work, source: Source) -> tuple[list[NDArray[np.float32]], list[NDArray[np.bool_]]]:
    """Decode one image's share of the frames to measure on."""
    count = max(1, CALIBRATION_FRAMES // len(work.task.sources))
    with work.clock.stage("decode"):
        image = work.reader.open(source.path)
        indices = spread(range(image.layout.frames), count)
        runs = [work.reader.decode(image, index, index + 1) for index in indices]
    return [run.values[0] for run in runs], [run.keep[0] for run in runs]


def _denoise_object(work: _Work, source: Source, noise: NoiseModel) -> tuple[Dataset, Path]:
    """Denoise one object into a derived file; return its header and its place."""
    clock = work.clock
    reach("decode.opening")
    with clock.stage("decode"):
        image = work.reader.open(source.path)
    with clock.stage("encode"):
        derived = _derive_header(work, source, image, noise)
        path = work.name_file(source, derived)
        reach("derive.writing")
        with pixel_file(path, derived, with_extremes=True) as add:
            for first, stop in image.layout.runs():
                with clock.stage("decode"):
                    decoded = work.reader.decode(image, first, stop)
                reach("infer.starting")
                with clock.stage("denoise"):
                    clean = work.denoiser.denoise(
                        decoded.values, decoded.keep, noise=noise, strength=work.strength
                    )
                reach("infer.done")
                stored = encode(clean, decoded)
                if work.task.kind == "removed":
                    stored = difference(decoded.stored, stored, decoded.layout)
                add(stored)
    reach("derive.written")
    return derived, path


def _derive_header(work: _Work, source: Source, image: Image, noise: NoiseModel) -> Dataset:
    identity, task = work.denoiser.identity, work.task
    derivation = Derivation(
        model_name=identity.name,
        model_version=identity.version,
        model_digest=identity.digest,
        strength=work.strength,
        description=task.description,
        ae_title=task.ae_title,
        kind=task.kind,
        window_sigma=float(np.sqrt(np.median(noise.variances))),
    )
    return derive_header(
        image.ds,
        derivation=derivation,
        content_digest=source.digest,
        series_number=task.series_number,
        now=datetime.now().astimezone(),
        compression=task.compression,
    )


def _as_event(source: Source, derived: Dataset, path: Path) -> Derived:
    return Derived(
        instance_id=source.instance_id,
        SOPClassUID=str(derived.SOPClassUID),
        SOPInstanceUID=str(derived.SOPInstanceUID),
        SeriesInstanceUID=str(derived.SeriesInstanceUID),
        SeriesDescription=str(derived.get("SeriesDescription", "")),
        SeriesNumber=int(derived.SeriesNumber),
        transfer_syntax_uid=str(derived.file_meta.TransferSyntaxUID),
        digest=files.file_digest(path),
        path=path,
        size_bytes=path.stat().st_size,
    )


def spread(items: Sequence[T], count: int) -> list[T]:
    """Pick at most `count` items at even steps, first and last among them."""
    if len(items) <= count:
        return list(items)
    return [items[round(k * (len(items) - 1) / max(1, count - 1))] for k in range(count)]


class Stopwatch:
    """Adds up the wall seconds spent in each named stage; a stage within a stage counts for itself alone."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._inner_s = 0.0

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count the block's wall time under `name`, whether or not it fails."""
        outer_inner_s, self._inner_s = self._inner_s, 0.0
        start = time.perf_counter()
        try:
            yield
        finally:
            elapsed = time.perf_counter() - start
            self.seconds[name] = self.seconds.get(name, 0.0) + elapsed - self._inner_s
            self._inner_s = outer_inner_s + elapsed
