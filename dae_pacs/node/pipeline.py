"""The one-page story: a series of noisy images becomes a derived series.

Everything else in the house serves these few steps. They know no network, no ledger and no model: files come
in, a `Denoiser` is given, and what happened is reported.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from itertools import accumulate, chain, pairwise
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
from dae_pacs.node.overlap import Behind, ahead, one_at_a_time, side_by_side
from dae_pacs.node.runs import ObjectRuns, Run, batches, pixels_of
from dae_pacs.node.stopwatch import Stopwatch
from dae_pacs.noise.model import NoiseModel

CALIBRATION_FRAMES = 8
"""Frames sampled across a series to measure its noise: enough flat area, little time."""

NOT_DENOISED = "none of its pixels were denoised"

NameFile = Callable[[Source, Dataset], Path]
"""Chooses where a derived object is written, from its source and its own header."""

T = TypeVar("T")
PixelType = TypeVar("PixelType", bound=np.generic)


def denoise_series(
    task: SeriesTask,
    denoiser: Denoiser,
    report: Callable[[Event], None],
    *,
    name_file: NameFile,
    may_go_on: Callable[[], bool] = lambda: True,
) -> None:
    """Denoise one series under one noise model, a batch of frames at a time.

    The next batch is decoded and the last one written while one is denoised, or as many as the denoiser takes
    side by side.

    Args:
        task: the files and the rule's settings.
        denoiser: the model, already on its device.
        report: told at once of every image that is done or rejected, and at the end of the seconds spent.
        name_file: where each derived object goes.
        may_go_on: asked before each image is read; once it says no, those in work are finished and the rest
            is left.

    Raises:
        OSError: a result can't be written.
        ServiceError: the device can't go on.
    """
    way = _Way(task.sources, may_go_on)
    work, report = _Work(task, denoiser, name_file, _Reader(), Stopwatch()), one_at_a_time(report)
    noise = _noise_of(work)
    if noise is not None:
        report(Calibrated(noise.to_json()))
    with Behind[list[Run]](lambda done: _write_all(work, done, report)) as writer:
        measured = _with_noise(work, _runs(work, way), noise, report)
        for done in side_by_side(
            measured,
            lambda item: _denoise(work, *item),
            width=lambda item: denoiser.side_by_side(pixels_of(item[0])),
            waiting=lambda: report(Underway()),
        ):
            writer.give(done)
            if not done[-1].is_last:
                report(Underway())
    report(Paused() if way.is_left else Finished(dict(work.clock.seconds)))


class _Way:
    """The sources of a task in their order, until somebody says stop."""

    def __init__(self, sources: Sequence[Source], may_go_on: Callable[[], bool]) -> None:
        self._sources = sources
        self._may_go_on = may_go_on
        self.is_left = False
        """Whether it ended before the last source."""

    def __iter__(self) -> Iterator[Source]:
        for source in self._sources:
            if not self._may_go_on():
                self.is_left = True
                return
            yield source


def _with_noise(
    work: "_Work", runs: Iterator[Run], noise: NoiseModel | None, report: Callable[[Event], None]
) -> Iterator[tuple[list[Run], NoiseModel | None]]:
    """Decode batch by batch; measure the noise on the first that decodes, if it is not known yet."""
    for batch in ahead(batches(runs, work.denoiser.batch_pixels)):
        if noise is None:
            noise = _noise_of_first(work, batch, report)
        yield batch, noise


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
    clock: Stopwatch

    @property
    def strength(self) -> float:
        """The rule's, or the bundle's own."""
        asked = self.task.strength
        return self.denoiser.identity.default_strength if asked is None else asked

    def beside(self, batch: list[Run]) -> int:
        """How many batches like this one are at work at a time: one, where it is the only one."""
        is_only_one = len(batch) == len(self.task.sources) and batch[0].is_last
        return 1 if is_only_one else self.denoiser.side_by_side(pixels_of(batch))


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


def _noise_of_first(work: _Work, batch: list[Run], report: Callable[[Event], None]) -> NoiseModel | None:
    """Measure the noise on the first run of a batch that decoded; None where there is none."""
    decoded = next((run.decoded for run in batch if run.decoded is not None), None)
    if decoded is None:
        return None
    with work.clock.stage("calibrate"):
        noise = work.denoiser.calibrate(list(decoded.values), list(decoded.keep))
    report(Calibrated(noise.to_json()))
    return noise


def _sample(work: _Work, source: Source) -> tuple[list[NDArray[np.float32]], list[NDArray[np.bool_]]]:
    """Decode one image's share of the frames to measure on."""
    count = max(1, CALIBRATION_FRAMES // len(work.task.sources))
    with work.clock.stage("decode"):
        image = work.reader.open(source.path)
        indices = spread(range(image.layout.frames), count)
        runs = [work.reader.decode(image, index, index + 1) for index in indices]
    return [run.values[0] for run in runs], [run.keep[0] for run in runs]


def _runs(work: _Work, way: Iterable[Source]) -> Iterator[Run]:
    for source in way:
        try:
            reach("decode.opening")
            with work.clock.stage("decode"):
                image = work.reader.open(source.path)
            for first, stop in image.layout.runs():
                with work.clock.stage("decode"):
                    decoded = work.reader.decode(image, first, stop)
                yield Run(source, stop == image.layout.frames, image, decoded)
        except InputError as error:
            yield Run(source, is_last=True, error=error)


def _denoise(work: _Work, batch: list[Run], noise: NoiseModel | None) -> list[Run]:
    """Denoise a batch; where its pixels are refused, one run at a time, to find those that are to blame."""
    decoded = [run.decoded for run in batch if run.decoded is not None]
    if not decoded or noise is None:
        return batch
    values = _joined([one.values for one in decoded])
    keep = _joined([one.keep for one in decoded])
    reach("infer.starting")
    try:
        with work.clock.stage("denoise"):
            clean = work.denoiser.denoise(
                values, keep, noise=noise, strength=work.strength, beside=work.beside(batch)
            )
    except InputError as error:
        if len(batch) == 1:
            return [replace(batch[0], noise=noise, error=error)]
        return [done for run in batch for done in _denoise(work, [run], noise)]
    reach("infer.done")
    stops = list(accumulate(len(one.values) for one in decoded))
    parts = iter([clean[first:stop] for first, stop in pairwise([0, *stops])])
    return [run if run.decoded is None else replace(run, noise=noise, clean=next(parts)) for run in batch]


def _joined(parts: list[NDArray[PixelType]]) -> NDArray[PixelType]:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _write_all(work: _Work, done: Iterator[list[Run]], report: Callable[[Event], None]) -> None:
    """Write the derived objects and report them, while the next batch is denoised."""
    stream = chain.from_iterable(done)
    for first in stream:
        runs = ObjectRuns(first, stream)
        try:
            derived, path = _write_object(work, first, runs)
        except InputError as error:
            runs.skip()
            report(Rejected(first.source.instance_id, str(error)))
        else:
            report(_as_event(first.source, derived, path))


def _write_object(work: _Work, first: Run, runs: Iterable[Run]) -> tuple[Dataset, Path]:
    """Write one derived object from its runs; return its header and its place."""
    if first.image is None or first.noise is None:
        raise first.error or InputError(NOT_DENOISED)
    with work.clock.stage("encode"):
        derived = _derive_header(work, first.source, first.image, first.noise)
        path = work.name_file(first.source, derived)
        reach("derive.writing")
        with pixel_file(path, derived, with_extremes=True) as add:
            for run in runs:
                if run.clean is None or run.decoded is None:
                    raise run.error or InputError(NOT_DENOISED)
                stored = encode(run.clean, run.decoded)
                if work.task.kind == "removed":
                    stored = difference(run.decoded.stored, stored, run.decoded.layout)
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
