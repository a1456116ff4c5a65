"""What there is to look at in a study: its series, slice by slice, each with what was made of it."""

import json
from collections import defaultdict
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

from dae_pacs.errors import InputError
from dae_pacs.image import peek
from dae_pacs.image.header import read_header
from dae_pacs.image.series import slice_order
from dae_pacs.image.support import reason_not_denoised
from dae_pacs.spool.pairs import Pair, StudyPairs
from dae_pacs.spool.records import Instance, Job

_FACTS_HELD: Final = 10_000


@dataclass(frozen=True)
class Shown:
    """One original that can be shown."""

    id: int
    frames: int
    number: int | None
    """Its Instance Number."""


@dataclass(frozen=True)
class Made:
    """One derived series of a series of originals."""

    job: int
    kind: str
    description: str
    SeriesNumber: int | None
    model: str
    strength: float | None
    """As the rule asks for it; None is the model's own default."""
    images: dict[int, int]
    """Derived object by original, both by their numbers in the ledger."""
    noise: dict[str, object] | None
    """What the group's noise was measured to be: levels, variances, unit, origin."""


@dataclass(frozen=True)
class Series:
    """One series of originals."""

    SeriesNumber: int | None
    description: str
    Modality: str
    images: tuple[Shown, ...]
    made: tuple[Made, ...]
    left_out: int
    """Objects that are no grey images, or can't be read."""


@dataclass(frozen=True)
class _Facts:
    frames: int
    number: int | None
    order: tuple[float, ...]
    is_image: bool


def study_to_look_at(pairs: StudyPairs) -> list[dict[str, object]]:
    """Arrange a study for the browser, as plain values; series that were denoised come first."""
    by_series: dict[str, list[Instance]] = defaultdict(list)
    for original in pairs.originals:
        by_series[original.SeriesInstanceUID].append(original)
    of_original: dict[int, list[Pair]] = defaultdict(list)
    for pair in pairs.pairs:
        of_original[pair.original_id].append(pair)
    found = [_series(originals, of_original, pairs.jobs) for originals in by_series.values()]
    shown = [series for series in found if series.images]
    shown.sort(key=lambda series: (not series.made, series.SeriesNumber is None, series.SeriesNumber or 0))
    return [asdict(series) for series in shown]


def _series(originals: list[Instance], pairs: dict[int, list[Pair]], jobs: dict[int, Job]) -> Series:
    facts = {original.id: _facts_of(original) for original in originals}
    images = [original for original in originals if facts[original.id].is_image]
    images.sort(key=lambda original: (facts[original.id].order, original.id))
    by_job: dict[int, list[Pair]] = defaultdict(list)
    for original in images:
        for pair in pairs.get(original.id, ()):
            by_job[pair.job_id].append(pair)
    first = originals[0]
    return Series(
        SeriesNumber=first.SeriesNumber,
        description=first.SeriesDescription,
        Modality=first.Modality,
        images=tuple(
            Shown(original.id, facts[original.id].frames, facts[original.id].number) for original in images
        ),
        made=tuple(_made(jobs[job_id], made) for job_id, made in sorted(by_job.items())),
        left_out=len(originals) - len(images),
    )


def _made(job: Job, pairs: list[Pair]) -> Made:
    return Made(
        job=job.id,
        kind=job.kind,
        description=pairs[0].derived.SeriesDescription,
        SeriesNumber=pairs[0].derived.SeriesNumber,
        model=job.model,
        strength=job.strength,
        images={pair.original_id: pair.derived.id for pair in pairs},
        noise=_noise(job.noise),
    )


def _noise(text: str | None) -> dict[str, object] | None:
    """Leave out the spectrum, which the page measures for itself."""
    if text is None:
        return None
    fields = json.loads(text)
    return {name: fields[name] for name in ("levels", "variances", "unit", "origin", "misfit")}


def _facts_of(original: Instance) -> _Facts:
    try:
        return _facts(original.path, original.digest)
    except (InputError, OSError):
        return _Facts(1, None, (0.0, 0.0, 0.0), is_image=False)


@lru_cache(maxsize=_FACTS_HELD)
def _facts(path: Path, digest: str) -> _Facts:
    """Read of a header what sorts and counts; an object is the same for ever under its digest.

    Args:
        path: of its file.
        digest: of its content; part of what is remembered.
    """
    del digest
    with path.open("rb") as file:
        ds = read_header(file)
    return _Facts(
        frames=peek.integer(ds, "NumberOfFrames") or 1,
        number=peek.integer(ds, "InstanceNumber"),
        order=slice_order(ds),
        is_image=reason_not_denoised(ds) is None,
    )
