"""Tell noise from structure: cosine coefficients of the flattest patches.

The coefficients of stationary noise are nearly independent of each other, whether or not its pixels are;
those of structure rise and fall together. So one half of the coefficients (like the black squares of a
chessboard) chooses the flattest patches and the other half is measured there, and the other way round: noise
that happens to be low in one half says nothing of the other, and the choice does not bias the measurement.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dae_pacs.noise.spectrum import SIDE_PX, cosine_basis, cosine_transform

FLATTEST_SHARE = 0.06
"""Of the patches at a level: few enough to be flat in most images, each holding 126 independent values."""
LEAST_FLAT = 12
"""Flattest patches at a level; a variance from 12 × 126 values is good to 4 %."""
PATCHES_PER_LEVEL = 150
MOST_LEVELS = 12
ROUNDS = 6
MEDIAN_OF_CHI2 = 0.45494
"""Median of the chi-squared distribution with one degree of freedom: median square to variance."""
FAINT = 0.3
"""Of the mean power: below this a coefficient counts by its square, so that quantisation, or what noise an
image had before its last filter, does not outvote the noise."""
DETREND_GAIN = 1.3
"""The most by which a coefficient that a plane took with it is put above its measured neighbours."""

_ROW, _COLUMN = np.indices((SIDE_PX, SIDE_PX))
_SQUARED = (_ROW**2 + _COLUMN**2).astype(np.float64)
DETRENDED = (_ROW + _COLUMN) <= 1
"""Coefficients that a plane takes with it: filled in from their neighbours."""
FINE = _SQUARED >= 9
"""Coefficients from 0.09 cycles per pixel on, where structure has little left; they set the strength."""
GUIDE = FINE & (_SQUARED <= 64)
"""Coefficients that show how the spectrum goes on towards frequency 0."""
HALVES = (((_ROW + _COLUMN) % 2 == 0) & ~DETRENDED, ((_ROW + _COLUMN) % 2 == 1) & ~DETRENDED)

Members = Sequence[NDArray[np.intp]]
"""Patch numbers, level by level."""


@dataclass(frozen=True)
class Measured:
    """Noise at several levels, and the one spectrum."""

    levels: NDArray[np.float64]
    """(levels,) increasing, in units of the image."""
    variances: NDArray[np.float64]
    """(levels,) of the noise, all frequencies included."""
    power: NDArray[np.float64]
    """(SIDE_PX, SIDE_PX), mean 1."""
    patches: int
    """How many patches it rests on."""


def measure(values: NDArray[np.float32], levels: NDArray[np.float64]) -> Measured:
    """Measure the variance of noise against the level, and its spectrum.

    Args:
        values: (patches, SIDE_PX, SIDE_PX) float32; at least `LEAST_FLAT`.
        levels: (patches,) their means.
    """
    parts = _halves(values)
    bins = _bins(levels)
    typical = np.asarray(np.concatenate(parts, axis=1).mean(axis=1), dtype=np.float64)
    lowest = _flattest(typical, bins)
    known = _merged(
        np.array([levels[members].mean() for members in lowest]),
        np.array([np.median(typical[members]) for members in lowest]),
    )
    power = np.ones((SIDE_PX, SIDE_PX))
    for _ in range(ROUNDS):
        expected = np.interp(levels, *known)
        energies = [_energy(part, power, half) / expected for part, half in zip(parts, HALVES, strict=True)]
        chosen = [_flattest(energy, bins) for energy in energies]
        power = _power(parts, expected, chosen)
        crossed = [
            _energy(part, power, half, FINE) / expected for part, half in zip(parts, HALVES, strict=True)
        ]
        both = [np.concatenate(pair) for pair in zip(*chosen, strict=True)]
        centres = np.array([levels[members].mean() for members in both])
        known = _merged(centres, np.interp(centres, *known) * _scales(crossed[::-1], chosen))
    flat = np.unique(np.concatenate(both))
    return Measured(levels=known[0], variances=known[1], power=power, patches=len(flat))


def typical_sigma(values: NDArray[np.float32], levels: NDArray[np.float64]) -> float:
    """Give one number for the noise of flat areas: the middle of the levels' standard deviations.

    Every frequency counts alike and no shape is assumed: fit to compare an image with its denoised self.
    """
    bins = _bins(levels)
    energies = [part.mean(axis=1, dtype=np.float64) for part in _halves(values)]
    chosen = [_flattest(energy, bins) for energy in energies]
    return float(np.sqrt(np.median(_scales(energies[::-1], chosen))))


def squared_coefficients(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Take the plane out of each patch and square its cosine coefficients.

    A plane lies in the first row and column of the coefficients alone, so it is taken out there.

    Args:
        values: (patches, side, side) float32.
    """
    coefficients = cosine_transform(values - values.mean(axis=(1, 2), keepdims=True))
    side = values.shape[-1]
    ramp = cosine_basis(side) @ (np.arange(side, dtype=np.float32) - (side - 1) / 2)
    ramp /= np.linalg.norm(ramp)
    coefficients[:, 0, :] -= (coefficients[:, 0, :] @ ramp)[:, None] * ramp
    coefficients[:, :, 0] -= (coefficients[:, :, 0] @ ramp)[:, None] * ramp
    return np.square(coefficients)


def _bins(levels: NDArray[np.float64]) -> Members:
    """Split patches by their level into bins of equal count."""
    count = int(np.clip(len(levels) // PATCHES_PER_LEVEL, 1, MOST_LEVELS))
    return np.array_split(np.argsort(levels, kind="stable"), count)


def _flattest(energy: NDArray[np.floating], bins: Members) -> Members:
    """Choose the patches of least energy in each bin."""
    counts = [min(max(LEAST_FLAT, int(len(members) * FLATTEST_SHARE)), len(members)) for members in bins]
    return [members[np.argsort(energy[members])[:count]] for members, count in zip(bins, counts, strict=True)]


def _halves(values: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """Give the squared coefficients of each half, (patches, coefficients)."""
    squares = squared_coefficients(values)
    return [squares[:, half] for half in HALVES]


def _energy(
    part: NDArray[np.float32],
    power: NDArray[np.float64],
    half: NDArray[np.bool_],
    counted: NDArray[np.bool_] | None = None,
) -> NDArray[np.float64]:
    """Average a half's squares, each over what noise has there: the variance, if the noise is as expected."""
    weight = 1 / np.maximum(power[half], FAINT)
    if counted is not None:
        weight = weight * counted[half]
    share = weight / (weight * power[half]).sum()
    return np.asarray(part @ share.astype(np.float32), dtype=np.float64)


def _scales(energies: Sequence[NDArray[np.float64]], chosen: Sequence[Members]) -> NDArray[np.float64]:
    """Average each half's energy, bin by bin, over the patches that the other half chose."""
    medians = [
        [float(np.median(energy[members])) for members in by_bin]
        for energy, by_bin in zip(energies, chosen, strict=True)
    ]
    return np.asarray(np.asarray(medians).mean(axis=0), dtype=np.float64)


def _merged(
    centres: NDArray[np.float64], variances: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sort nodes by their level and average those of the same level; no variance is quite zero."""
    distinct, where = np.unique(centres, return_inverse=True)
    total = np.bincount(where, weights=np.maximum(variances, np.finfo(np.float32).tiny))
    return distinct, total / np.bincount(where)


def _power(
    parts: Sequence[NDArray[np.float32]], expected: NDArray[np.float64], chosen: Sequence[Members]
) -> NDArray[np.float64]:
    """Pool each half over the patches that the other half chose, and mend the lowest frequencies.

    A spectrum of noise goes on smoothly towards frequency 0. What stands above the Gaussian that continues it
    is structure; what the plane took with it is read off that Gaussian.
    """
    power = np.ones((SIDE_PX, SIDE_PX))
    for part, half, by_bin in zip(parts, HALVES, reversed(chosen), strict=True):
        patches = np.concatenate(by_bin)
        power[half] = np.median(part[patches] / expected[patches, None], axis=0) / MEDIAN_OF_CHI2
    power = _smoothed(power)
    slope, height = np.polyfit(_SQUARED[GUIDE], np.log(power[GUIDE]), 1)
    expected = np.exp(height + min(slope, 0) * _SQUARED)
    power = np.where(FINE, power, np.minimum(power, expected))
    neighbours = power[(_ROW + _COLUMN) == 2].mean()
    power[DETRENDED] = np.minimum(expected[DETRENDED], DETREND_GAIN * neighbours)
    mended: NDArray[np.float64] = power / power.mean()
    return mended


def _smoothed(power: NDArray[np.float64]) -> NDArray[np.float64]:
    """Average the logarithm over 3×3 measured coefficients, mirrored at the border."""
    measured = np.pad((~DETRENDED).astype(np.float64), 1, mode="symmetric")
    logarithm = np.pad(np.log(np.maximum(power, 1e-12)), 1, mode="symmetric") * measured
    nine = [
        (slice(row, row + SIDE_PX), slice(column, column + SIDE_PX))
        for row in range(3)
        for column in range(3)
    ]
    total, count = sum(logarithm[at] for at in nine), sum(measured[at] for at in nine)
    smooth: NDArray[np.float64] = np.exp(total / count)
    return smooth
