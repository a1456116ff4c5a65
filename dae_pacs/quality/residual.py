"""Is what was removed noise? Its strength, its spectrum, and the mean value it takes with it.

A perfect denoiser at full strength removes noise of variance 1 (in sigma) everywhere. The best that can be
learned, the conditional mean, removes less: its residual has the variance 1 − MSE (Tweedie's formula; Efron,
J. Am. Stat. Assoc. 2011), so that a little less than 1 is right and more than 1 is not.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from dae_pacs.noise.model import NoiseModel
from dae_pacs.noise.spectrum import Spectrum, amplitude, cosine_transform
from dae_pacs.quality.evidence import SQUARE_PX, Evidence, without_plane
from dae_pacs.quality.verdict import Check, Row, Verdict, judge, number, worst

LEAST_SQUARES = 64
"""Fewer, and the statistics are a matter of luck."""
LEAST_FLAT = 12
"""Of a level."""
LEVELS = 8
"""Bins of equal count over the signal."""
FLAT_SHARE = 0.2
"""Of the squares at a level, the flattest by the denoiser's own estimate."""

EXCESS_LOOK, EXCESS_BAD = 1.15, 1.35
LITTLE = 0.5
BAND_EDGES = (0.06, 0.12, 0.2, 0.3, 0.4, 0.5, 0.71)
"""Cycles per pixel; 0.71 is the corner of the plane."""
BAND_LOOK, BAND_BAD, BAND_LITTLE = 1.3, 1.8, 0.4
FAINT = 0.1
"""Of the mean power: a band's noise counts as this much at least, or a ratio would tell of rounding."""
BIAS_BINS = 16
BIAS_LOOK, BIAS_BAD = 0.1, 0.25
CERTAIN_ERRORS = 3.0
"""Standard errors beyond which a difference is no accident."""

_ROW, _COLUMN = np.indices((SQUARE_PX, SQUARE_PX))
_FREQUENCY = np.hypot(_ROW, _COLUMN) / (2 * SQUARE_PX)
_MEASURED = (_ROW + _COLUMN) > 1
"""A plane takes the other coefficients with it."""


@dataclass(frozen=True)
class Curves:
    """Power over spatial frequency, in sigma² as the noise model counts it; white noise would be 1."""

    frequency: NDArray[np.float64]
    """(points,) cycles per pixel."""
    model: NDArray[np.float64]
    removed_flat: NDArray[np.float64]
    removed_all: NDArray[np.float64]
    before: NDArray[np.float64]
    """Input, in flat squares."""
    after: NDArray[np.float64]
    """Output, in flat squares."""


def check_variance(evidence: Evidence) -> Check:
    """Compare the variance of what was removed with that of the noise, by level and over all."""
    energy = _energy(evidence)
    rows: list[Row] = []
    for members in _by_level(evidence):
        flat = members[is_flat(evidence)[members]]
        rows.append(
            {
                "signal": float(evidence.levels[members].mean()),
                "removed over noise, all": float(energy[members].mean()),
                "removed over noise, flat": float(energy[flat].mean()),
                "squares": len(members),
            }
        )
    everywhere, flat_ratio = float(energy.mean()), float(energy[is_flat(evidence)].mean())
    verdict = judge(max(everywhere, flat_ratio), look_from=EXCESS_LOOK, bad_from=EXCESS_BAD)
    if max(everywhere, flat_ratio) < LITTLE:
        verdict = worst([verdict, Verdict.LOOK])
    return Check(
        key="variance",
        question="Was as much removed as there is noise?",
        verdict=verdict,
        finding=f"Variance removed over variance of the noise: {everywhere:.2f} over all, {flat_ratio:.2f} "
        "in flat areas (at full strength; 1 is all the noise and no more).",
        rule=f"Look from {EXCESS_LOOK}, bad from {EXCESS_BAD}: what exceeds the noise was image; the noise "
        "itself is known to about 10 %, its variance being set 3 % low on purpose. Below "
        f"{LITTLE}: look, most of the noise is still there; that does no harm and little good. The best "
        "possible denoiser stays somewhat below 1.",
        limits="It rests on the estimated noise: if that is wrong, so is the ratio. Image taken away and "
        "noise left in its stead cancel.",
        numbers={"ratio_all": everywhere, "ratio_flat": flat_ratio},
        rows=rows,
    )


def spectra(evidence: Evidence, spectrum: Spectrum) -> Curves:
    """Measure power over frequency by the cosine transform of squares without their plane."""
    flat = is_flat(evidence)
    expected = _expected_power(spectrum)
    power = {
        "removed_flat": _power(evidence.removed[flat]),
        "removed_all": _power(evidence.removed),
        "before": _power((evidence.smooth + evidence.removed)[flat]),
        "after": _power(evidence.left[flat]),
    }
    bins = np.clip((_FREQUENCY * 2 * SQUARE_PX + 0.5).astype(int), 0, 22)[_MEASURED]
    used = np.flatnonzero(np.bincount(bins))

    def radial(plane: NDArray[np.floating]) -> NDArray[np.float64]:
        total = np.bincount(bins, weights=np.asarray(plane, dtype=np.float64)[_MEASURED])
        return np.asarray(total[used] / np.bincount(bins)[used])

    return Curves(
        frequency=radial(_FREQUENCY),
        model=radial(expected),
        **{name: radial(plane) for name, plane in power.items()},
    )


def check_spectrum(evidence: Evidence, spectrum: Spectrum) -> Check:
    """Compare the power of what was removed in flat squares with the noise model's, band by band."""
    flat = is_flat(evidence)
    expected, removed = _expected_power(spectrum), _power(evidence.removed[flat])
    left = _power(evidence.left[flat])
    rows: list[Row] = []
    for low, high in pairwise(BAND_EDGES):
        band = _MEASURED & (low <= _FREQUENCY) & (high > _FREQUENCY)
        noise = max(float(expected[band].mean()), FAINT)
        rows.append(
            {
                "cycles per pixel": f"{low:g} to {high:g}",
                "removed over noise": float(removed[band].mean()) / noise,
                "output over noise": float(left[band].mean()) / noise,
                "noise": noise,
            }
        )
    ratios = [number(row, "removed over noise") for row in rows]
    # A band with next to none of the noise can't tell what is left of it.
    noisy = [ratio for row, ratio in zip(rows, ratios, strict=True) if number(row, "noise") > FAINT]
    verdict = judge(max(ratios), look_from=BAND_LOOK, bad_from=BAND_BAD)
    if min(noisy) < BAND_LITTLE:
        verdict = worst([verdict, Verdict.LOOK])
    most, least = (rows[ratios.index(value)]["cycles per pixel"] for value in (max(ratios), min(noisy)))
    return Check(
        key="spectrum",
        question="Has what was removed the noise's own texture?",
        verdict=verdict,
        finding=f"Removed over noise, band by band in flat areas: at most {max(ratios):.2f} ({most} cycles "
        f"per pixel), at least {min(noisy):.2f} ({least}).",
        rule=f"Look from {BAND_LOOK}, bad from {BAND_BAD} in any band: there more went than noise, so "
        f"it was texture of the image (a band's noise counts as {FAINT} sigma² at least). Below "
        f"{BAND_LITTLE}: look, this band's noise stays and the image may look blotchy (coarse bands) "
        "or grainy (fine ones).",
        limits="The estimate of the noise's lowest frequencies is the least certain. Fine tissue that looks "
        "like noise in both strength and texture passes for noise here, as it did for the denoiser.",
        numbers={"ratio_most": max(ratios), "ratio_least": min(noisy)},
        rows=rows,
    )


def check_bias(evidence: Evidence, noise: NoiseModel) -> Check:
    """Compare the mean of the image before and after, by the level of the signal."""
    order = np.argsort(evidence.pixel_levels, kind="stable")
    # Independent pixels in a mean of correlated ones: the power at frequency 0 says how many.
    correlated = float(amplitude((2 * SQUARE_PX, 2 * SQUARE_PX), noise.spectrum)[0, 0]) ** 2
    rows: list[Row] = []
    for members in np.array_split(order, min(BIAS_BINS, max(len(order) // 256, 1))):
        sigma = noise.sigma_at(evidence.pixel_levels[members])
        shift = evidence.pixel_shifts[members]
        rows.append(
            {
                "signal": float(evidence.pixel_levels[members].mean()),
                "bias in sigma": -float(np.mean(shift / sigma)),
                "standard error": float(np.std(shift / sigma) * np.sqrt(max(correlated, 1) / len(members))),
                f"bias in {noise.unit or 'image units'}": -float(shift.mean()),
                "pixels": len(members),
            }
        )
    sure = [
        max(abs(number(row, "bias in sigma")) - CERTAIN_ERRORS * number(row, "standard error"), 0)
        for row in rows
    ]
    largest = max(rows, key=lambda row: abs(number(row, "bias in sigma")))
    mean = -float(np.mean(evidence.pixel_shifts))
    return Check(
        key="bias",
        question="Do mean values stay what they were?",
        verdict=judge(max(sure), look_from=BIAS_LOOK, bad_from=BIAS_BAD),
        finding=f"Largest shift of the mean at any level: {largest['bias in sigma']:+.3f} sigma (±"
        f"{largest['standard error']:.3f}), at signal {largest['signal']:.4g}; over all pixels "
        f"{mean:+.3g} {noise.unit or 'image units'}.",
        rule=f"Look from {BIAS_LOOK}, bad from {BIAS_BAD} sigma beyond three standard errors, at the "
        "strength used: a tenth of one pixel's noise is not seen, but counts where means are measured (HU).",
        limits="Pixels are sorted by the denoiser's own estimate of their signal; at the very ends of the "
        "range that selects for its errors.",
        numbers={"largest_sigma": number(largest, "bias in sigma"), "mean_unit": mean},
        rows=rows,
    )


def is_flat(evidence: Evidence) -> NDArray[np.bool_]:
    """Mark the flattest squares of each level, (squares,) bool."""
    detail = np.square(without_plane(evidence.smooth)).mean(axis=(1, 2))
    flat = np.zeros(len(detail), dtype=np.bool_)
    for members in _by_level(evidence):
        count = max(int(len(members) * FLAT_SHARE), min(LEAST_FLAT, len(members)))
        flat[members[np.argsort(detail[members], kind="stable")[:count]]] = True
    return flat


def _by_level(evidence: Evidence) -> list[NDArray[np.intp]]:
    order = np.argsort(evidence.levels, kind="stable")
    return np.array_split(order, int(np.clip(len(order) // LEAST_SQUARES, 1, LEVELS)))


def _energy(evidence: Evidence) -> NDArray[np.float64]:
    return np.asarray(np.square(evidence.removed).mean(axis=(1, 2), dtype=np.float64))


def _power(squares: NDArray[np.float32]) -> NDArray[np.float64]:
    """Average the squared cosine coefficients, (SQUARE_PX, SQUARE_PX)."""
    return np.asarray(np.square(cosine_transform(without_plane(squares))).mean(axis=0, dtype=np.float64))


def _expected_power(spectrum: Spectrum) -> NDArray[np.float64]:
    """Read a spectrum at the frequencies of a square's cosine transform, (SQUARE_PX, SQUARE_PX)."""
    plane = amplitude((2 * SQUARE_PX, 2 * SQUARE_PX), spectrum).astype(np.float64) ** 2
    return plane[:SQUARE_PX, :SQUARE_PX]
