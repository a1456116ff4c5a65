"""The one-page story: a series of noisy images becomes a derived series.

Everything else in the house serves these few steps. They know no network, no ledger and no model: files come
in, a `Denoiser` is given, and what happened is reported.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

import numpy as np
from pydicom import Dataset

from dae_pacs.denoise.protocol import Denoiser
from dae_pacs.errors import InputError
from dae_pacs.image import files
from dae_pacs.image.derive import Derivation, derive
from dae_pacs.image.pixels import Decoded, decode, encode
from dae_pacs.node.events import Calibrated, Derived, Event, Finished, Rejected, SeriesTask, Source
from dae_pacs.noise.model import NoiseModel

CALIBRATION_FRAMES = 8
"""Frames sampled across a series to measure its noise: enough flat area, little time."""

NameFile = Callable[[Source, Dataset], Path]
"""Chooses where a derived object is written, from its source and its own header."""

Load = Callable[[Path], tuple[Dataset, Decoded]]
T = TypeVar("T")


def denoise_series(
    task: SeriesTask, denoiser: Denoiser, report: Callable[[Event], None], *, name_file: NameFile
) -> None:
    """Denoise one series, image by image, under one noise model.

    Args:
        task: the files and the rule's settings.
        denoiser: the model, already on its device.
        report: told at once of every image that is done or rejected, and at the end of the seconds spent.
        name_file: where each derived object goes.

    Raises:
        OSError: a result can't be written.
        PixelError: the model's output is not finite.
    """
    clock = Stopwatch()
    load = lru_cache(maxsize=1)(_load)  # a single radiograph is measured and denoised: decode it once
    noise = _noise_of(task, denoiser, load, clock)
    if noise is not None:
        report(Calibrated(noise.to_json()))
    for source in task.sources:
        try:
            with clock.stage("decode"):
                ds, decoded = load(source.path)
        except InputError as error:
            report(Rejected(source.instance_id, str(error)))
            continue
        if noise is None:  # not one of the sampled images decoded
            noise = denoiser.calibrate(list(decoded.values), list(decoded.keep))
            report(Calibrated(noise.to_json()))
        with clock.stage("denoise"):
            clean = denoiser.denoise(
                decoded.values, decoded.keep, noise=noise, strength=_strength(task, denoiser)
            )
        with clock.stage("encode"):
            derived = _derive(task, denoiser, source, ds, encode(clean, decoded))
            path = name_file(source, derived)
            files.write(derived, path)
        report(_as_event(source, derived, path))
    report(Finished(dict(clock.seconds)))


def _load(path: Path) -> tuple[Dataset, Decoded]:
    ds = files.read(path)
    return ds, decode(ds)


def _noise_of(task: SeriesTask, denoiser: Denoiser, load: Load, clock: "Stopwatch") -> NoiseModel | None:
    """Measure the series' noise on a few frames spread over it, or take what was measured before.

    None where not one of the sampled images decodes.
    """
    if task.noise is not None:
        return NoiseModel.from_json(task.noise)
    frames, keep = [], []
    with clock.stage("calibrate"):
        for source in spread(task.sources, CALIBRATION_FRAMES):
            try:
                _, decoded = load(source.path)
            except InputError:
                continue  # the main loop meets it again and reports the reason
            for k in spread(range(len(decoded.values)), max(1, CALIBRATION_FRAMES // len(task.sources))):
                frames.append(decoded.values[k])
                keep.append(decoded.keep[k])
        return denoiser.calibrate(frames, keep) if frames else None


def _derive(task: SeriesTask, denoiser: Denoiser, source: Source, ds: Dataset, stored: np.ndarray) -> Dataset:
    identity = denoiser.identity
    derivation = Derivation(
        model_name=identity.name,
        model_version=identity.version,
        model_digest=identity.digest,
        strength=_strength(task, denoiser),
        description=task.description,
        ae_title=task.ae_title,
    )
    return derive(
        ds,
        stored,
        derivation=derivation,
        content_digest=source.digest,
        series_number=task.series_number,
        now=datetime.now().astimezone(),
    )


def _strength(task: SeriesTask, denoiser: Denoiser) -> float:
    return denoiser.identity.default_strength if task.strength is None else task.strength


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
    """Adds up the wall seconds spent in each named stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count the block's wall time under `name`, whether or not it fails."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start
