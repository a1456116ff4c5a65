"""Compare the pixels of a derived object with its source's, a run of frames at a time."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from dae_pacs.image import peek
from dae_pacs.image.finding import Finding
from dae_pacs.image.pixels import Decoded, Image, decode_run, open_image
from dae_pacs.image.removed import zero_of

Sigma = Callable[[NDArray[np.float32]], NDArray[np.float64]]
"""The noise's standard deviation at values of any shape, in the modality's unit."""

LIMIT_SIGMAS = 6.0
"""A denoiser takes three standard deviations at most; one image tells them within a factor of two."""


@dataclass
class _Tally:
    """What was seen so far, over the frames."""

    changed: int = 0
    pixels: int = 0
    kept_changed: int = 0
    too_far: int = 0
    largest: float = 0.0
    squares: float = 0.0
    lowest: float = np.inf
    highest: float = -np.inf


def compare_pixels(source: Dataset, derived: Dataset, *, kind: str, sigma_of: Sigma | None) -> list[Finding]:
    """Say how the pixels differ, and whether they may.

    Raises:
        InputError: one of the two does not decode.
    """
    before, after = open_image(source), open_image(derived)
    if before.layout.shape != after.layout.shape or before.layout.dtype != after.layout.dtype:
        words = (
            f"are {after.layout.shape} {after.layout.dtype}, the source's {before.layout.shape} "
            f"{before.layout.dtype}; shape and type may not change"
        )
        return [Finding("pixels", words, may_differ=False)]
    tally = _Tally()
    for one, other in _runs(before, after):
        _count(tally, one, other, kind=kind, sigma_of=sigma_of)
    return [*_pixel_findings(tally, before.unit, is_judged=sigma_of is not None), *_extremes(derived, tally)]


def _runs(before: Image, after: Image) -> Iterator[tuple[Decoded, Decoded]]:
    for first, stop in before.layout.runs():
        yield decode_run(before, first, stop), decode_run(after, first, stop)


def _count(tally: _Tally, one: Decoded, other: Decoded, *, kind: str, sigma_of: Sigma | None) -> None:
    change = _change(one, other, kind=kind)
    moved = change != 0
    tally.pixels += moved.size
    tally.changed += int(np.count_nonzero(moved))
    tally.kept_changed += int(np.count_nonzero(moved & one.keep))
    tally.largest = max(tally.largest, float(np.abs(change).max()))
    tally.squares += float(np.square(change).sum())
    tally.lowest = min(tally.lowest, float(other.stored.min()))
    tally.highest = max(tally.highest, float(other.stored.max()))
    if sigma_of is not None:
        # Rounding to a stored value adds at most half of one, on either side.
        steps = np.abs(np.asarray(one.rescale.slope)).reshape(-1, 1, 1)
        limit = LIMIT_SIGMAS * sigma_of(one.values) + steps
        tally.too_far += int(np.count_nonzero(np.abs(change) > limit))


def _change(one: Decoded, other: Decoded, *, kind: str) -> NDArray[np.float64]:
    """Give what was removed at each pixel, in the modality's unit; unchanged infinities count as zero."""
    if kind == "removed":
        slopes = np.asarray(one.rescale.slope).reshape(-1, 1, 1)
        return np.asarray((other.stored.astype(np.float64) - zero_of(one.layout)) * slopes)
    same = np.asarray(one.stored == other.stored) | ~np.isfinite(one.values)
    with np.errstate(invalid="ignore"):
        change = one.values.astype(np.float64) - other.values
    return np.where(same, 0.0, change)


def _pixel_findings(tally: _Tally, unit: str, *, is_judged: bool) -> list[Finding]:
    findings = []
    if tally.changed:
        share, rms = tally.changed / tally.pixels, float(np.sqrt(tally.squares / tally.pixels))
        words = f"{share:.1%} changed, by {tally.largest:.4g} {unit} at most, {rms:.4g} {unit} rms"
        if is_judged:
            words += f"; up to {LIMIT_SIGMAS:g} sigma of the source's noise are allowed"
        findings.append(Finding("pixels", words, may_differ=True))
    if tally.too_far:
        words = f"{tally.too_far} changed by more than {LIMIT_SIGMAS:g} sigma of the source's noise"
        findings.append(Finding("pixels", words, may_differ=False))
    if tally.kept_changed:
        words = f"{tally.kept_changed} changed that are padding, clipped or collimated: they may not"
        findings.append(Finding("pixels", words, may_differ=False))
    return findings


def _extremes(derived: Dataset, tally: _Tally) -> list[Finding]:
    findings = []
    for keyword, value in (
        ("SmallestImagePixelValue", tally.lowest),
        ("LargestImagePixelValue", tally.highest),
    ):
        said = peek.element(derived, keyword)
        number = peek.number(derived, keyword)
        if said is None or number is None:
            continue
        wraps = number - value == 1 << 16  # peek reads an undecided VR as unsigned
        if number != value and not wraps:
            words = f"is {number:.0f}, the pixels' is {value:.0f}"
            findings.append(Finding(keyword, words, may_differ=False))
        else:
            findings.append(Finding(keyword, "recomputed, as its rule wants", may_differ=True))
    return findings
