"""Tell noise from structure: cosine coefficients of the flattest patches.

The coefficients of stationary noise are nearly independent of each other, whether or not its pixels are;
those of structure rise and fall together. So one half of the coefficients (like the black squares of a
chessboard) chooses the flattest patches and the other half is measured there, and the other way round: noise
that happens to be low in one half says nothing of the other, and the choice does not bias the measurement.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from dae_pacs.noise.line import lower_line
from dae_pacs.noise.middle import medians
from dae_pacs.noise.patches import Patches
from dae_pacs.noise.spectrum import SIDE_PX, cosine_basis, cosine_transform
from dae_pacs.noise.structure import DETRENDED, Split, split

FLATTEST_SHARE = 0.06
"""Of the patches at a level, for the one number of `typical_sigma`."""
LEAST_FLAT = 12
"""Flattest patches at a level; a variance from 12 × 126 values is good to 4 %."""
LEAST_APART = 5
"""Of those, how many at least hold values of their own where patches overlap."""
MOST_FLAT_SHARE = 0.5
"""Of the patches at a level that may count as flat."""
GROWTH = 1.4
"""From one number of flattest patches that is tried to the next."""
PATCHES_PER_LEVEL = 50
MOST_LEVELS = 12
WIDER = 3
"""How many times as many patches a level has for `typical_sigma`, which knows nothing of bad levels."""
ROUNDS = 5
FLAT_ENOUGH = 0.15
"""Share of flat patches from which a level is relied on in full."""
LEAST_RELIED_ON = 0.15
"""Weight of a level that has hardly a flat patch."""
MOST_ABOVE = 1.5
"""Variance over that of the lower levels' line, from which a level does not speak for the spectrum."""
MEDIAN_OF_CHI2 = 0.45494
"""Median of the chi-squared distribution with one degree of freedom: median square to variance."""
FAINT = 0.3
"""Of the mean power: below this a coefficient counts by its square, so that quantisation, or what noise an
image had before its last filter, does not outvote the noise."""
BLOCK_PATCHES = 512
"""Patches that are transformed at a time: their coefficients then stay in the processor's cache."""
DETREND_GAIN = 1.3
"""The most by which a coefficient that a plane took with it is put above its measured neighbours."""

_ROW, _COLUMN = np.indices((SIDE_PX, SIDE_PX))
HALVES = (((_ROW + _COLUMN) % 2 == 0) & ~DETRENDED, ((_ROW + _COLUMN) % 2 == 1) & ~DETRENDED)

Members = Sequence[NDArray[np.intp]]
"""Patch numbers, level by level."""
Halves = Sequence[NDArray[np.float32]]
"""The squared coefficients of each half, (patches, coefficients) each, one coefficient after the other."""


@dataclass(frozen=True)
class Measured:
    """Noise at several levels, and the one spectrum."""

    levels: NDArray[np.float64]
    """(levels,) increasing, in units of the image."""
    variances: NDArray[np.float64]
    """(levels,) of the noise, all frequencies included."""
    weights: NDArray[np.float64]
    """(levels,) up to 1: where few of a level's patches are flat, its variance may be structure's."""
    power: NDArray[np.float64]
    """(SIDE_PX, SIDE_PX), of the spectrum; mean 1."""
    patches: int
    """How many patches it rests on."""


@dataclass(frozen=True)
class Areas:
    """The areas of a group where its noise is looked for; what is asked of them is worked out once."""

    patches: Patches

    @cached_property
    def typical_sigma(self) -> float:
        """What `typical_sigma` says of them; there must be one at least."""
        return _typical_sigma(self._halves, self.patches)

    @cached_property
    def measured(self) -> Measured:
        """What `measure` says of them; there must be `LEAST_FLAT` at least."""
        return _measure(self._halves, self.patches)

    @cached_property
    def _halves(self) -> Halves:
        return _halves(self.patches.values)


@dataclass(frozen=True)
class _Shape:
    """What is known so far of the noise; the first two (SIDE_PX, SIDE_PX)."""

    power: NDArray[np.float64]
    """Of the cosine coefficients, mean 1."""
    share: NDArray[np.float64]
    """Of noise in what flat patches show."""
    variance: NDArray[np.float64]
    """(patches,) expected at each one's level."""


@dataclass(frozen=True)
class _Flat:
    """The flattest patches of each level, and the variance there."""

    chosen: tuple[Members, Members]
    """For each half of the coefficients, the patches that it is measured on, as the other half chose them."""
    variances: NDArray[np.float64]
    """(levels,)."""


def measure(patches: Patches) -> Measured:
    """Measure the variance of noise against the level, and its spectrum.

    Args:
        patches: at least `LEAST_FLAT`.
    """
    return Areas(patches).measured


def typical_sigma(patches: Patches) -> float:
    """Give one number for the noise of flat areas: the middle of the levels' standard deviations.

    Every frequency counts alike and no shape is assumed: fit to compare an image with its denoised self.

    Args:
        patches: at least one.
    """
    return Areas(patches).typical_sigma


def _measure(parts: Halves, patches: Patches) -> Measured:
    levels, bins = patches.levels, _bins(patches.levels, patches.overlap)
    ones = np.ones((SIDE_PX, SIDE_PX))
    first = np.quantile(np.concatenate(parts, axis=1).mean(axis=1), FLATTEST_SHARE)
    shape = _Shape(ones, ones, np.full(len(levels), max(float(first), float(np.finfo(np.float32).tiny))))
    found = Split(noise=ones, share=ones, sharpened=ones)
    for _ in range(ROUNDS):
        flat = _find_flat(parts, shape, bins, patches.overlap)
        nodes = _nodes(flat, levels, bins)
        shape = replace(shape, variance=np.interp(levels, nodes[0], nodes[1]))
        raw = _power(parts, shape.variance, _without_structure(flat, levels, nodes), found.noise)
        found = split(raw)
        shape = replace(shape, power=_mended(raw, found), share=found.share)
    spectrum = shape.power * found.sharpened
    return Measured(
        levels=nodes[0],
        variances=nodes[1],
        weights=nodes[2],
        power=spectrum / spectrum.mean(),
        patches=len(np.unique(np.concatenate([*flat.chosen[0], *flat.chosen[1]]))),
    )


def _typical_sigma(parts: Halves, patches: Patches) -> float:
    energies = [part.mean(axis=1, dtype=np.float64) for part in parts]
    middles = []
    for members in _bins(patches.levels, patches.overlap * WIDER):
        count = max(_least_flat(len(members), patches.overlap), int(len(members) * FLATTEST_SHARE))
        for guide, other in (energies, energies[::-1]):
            middles.append(medians(other[members[np.argsort(guide[members])[:count]]]))
    return float(np.sqrt(np.median(np.reshape(middles, (-1, 2)).mean(axis=1))))


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
    return np.square(coefficients, out=coefficients)


def _bins(levels: NDArray[np.float64], overlap: float) -> Members:
    """Split patches by their level, half by equal count and half by equal distance; none has too few.

    By count alone, the air around a body would take all of them.
    """
    count = int(np.clip(len(levels) / overlap // PATCHES_PER_LEVEL, 1, MOST_LEVELS))
    order = np.argsort(levels, kind="stable")
    low, high = np.quantile(levels, [0.01, 0.99])
    place = np.clip((levels[order] - low) / max(float(high - low), float(np.finfo(np.float32).tiny)), 0, 1)
    place += np.arange(len(levels)) / len(levels)
    least = max(len(levels) // (4 * count), int(LEAST_FLAT * overlap))
    starts = [0]
    for cut in np.searchsorted(place, np.arange(1, count) * 2 / count):
        if cut - starts[-1] >= least and len(levels) - cut >= least:
            starts.append(int(cut))
    return np.split(order, starts[1:])


def _halves(values: NDArray[np.float32]) -> Halves:
    """Square the coefficients of patches (patches, side, side), those of each half apart."""
    by_coefficient = [np.empty((np.count_nonzero(half), len(values)), dtype=np.float32) for half in HALVES]
    for start in range(0, len(values), BLOCK_PATCHES):
        block = slice(start, start + BLOCK_PATCHES)
        squares = squared_coefficients(values[block])
        for rows, half in zip(by_coefficient, HALVES, strict=True):
            rows[:, block] = squares[:, half].T
    return [rows.T for rows in by_coefficient]


def _find_flat(parts: Halves, shape: _Shape, bins: Members, overlap: float) -> _Flat:
    """Let each half choose the flattest patches of a level, and measure the other half's variance there."""
    guides = [
        _weighted(part, half, shape, np.ones_like(shape.share))
        for part, half in zip(parts, HALVES, strict=True)
    ]
    energies = [_weighted(part, half, shape, shape.share) for part, half in zip(parts, HALVES, strict=True)]
    chosen: tuple[list[NDArray[np.intp]], ...] = ([], [])
    variances = []
    for members in bins:
        expected = 0.0
        for half in (0, 1):
            guide, (energy, freedom) = guides[1 - half][0], energies[half]
            order = members[np.argsort(guide[members], kind="stable")]
            flat, ratio = _flat_part(energy[order], freedom, overlap)
            chosen[half].append(order[:flat])
            expected += ratio * float(shape.variance[order[:flat]].mean()) / 2
        variances.append(expected)
    return _Flat((chosen[0], chosen[1]), np.array(variances))


def _flat_part(energy: NDArray[np.float64], freedom: float, overlap: float) -> tuple[int, float]:
    """Find how many of the patches, flattest first, are flat, and their typical energy.

    The most whose median is not above what the median of any fewer (or more) may be, one standard error up.
    """
    counts = [_least_flat(len(energy), overlap)]
    while counts[-1] * GROWTH <= MOST_FLAT_SHARE * len(energy):
        counts.append(int(np.ceil(counts[-1] * GROWTH)))
    middles = np.array([medians(energy[:count]) for count in counts])
    errors = np.sqrt(2 * overlap / (freedom * np.array(counts)))
    last = int(np.flatnonzero(middles <= (middles * (1 + errors)).min()).max())
    # The median of a chi-squared distribution is below its mean (Wilson & Hilferty 1931).
    return counts[last], float(middles[last]) / (1 - 2 / (9 * freedom)) ** 3


def _least_flat(available: int, overlap: float) -> int:
    return min(max(LEAST_FLAT, int(LEAST_APART * overlap)), available)


def _weighted(
    part: NDArray[np.float32], half: NDArray[np.bool_], shape: _Shape, share: NDArray[np.float64]
) -> tuple[NDArray[np.float64], float]:
    """Average a half's squares, each over what noise has there; what is mostly structure hardly counts.

    Returns:
        (patches,) the variance over that expected, if the noise is as expected; and its degrees of freedom.
    """
    power = shape.power[half]
    weight = np.square(share[half]) / np.maximum(power, FAINT)
    parts = weight * power
    energy = part @ (weight * share[half] / parts.sum()).astype(np.float32)
    return energy / shape.variance, float(parts.sum() ** 2 / np.square(parts).sum())


def _nodes(
    flat: _Flat, levels: NDArray[np.float64], bins: Members
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Give levels, variances and weights of the bins, sorted; those of one level are averaged."""
    both = [np.concatenate(pair) for pair in zip(*flat.chosen, strict=True)]
    shares = np.array([len(pair) / 2 / len(members) for pair, members in zip(both, bins, strict=True)])
    distinct, where = np.unique([levels[members].mean() for members in both], return_inverse=True)
    count = np.bincount(where)
    variances = np.bincount(where, weights=np.maximum(flat.variances, np.finfo(np.float32).tiny)) / count
    weights = np.clip(np.bincount(where, weights=shares) / count / FLAT_ENOUGH, LEAST_RELIED_ON, 1)
    return distinct, variances, weights


def _without_structure(
    flat: _Flat,
    levels: NDArray[np.float64],
    nodes: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]],
) -> tuple[Members, Members]:
    """Leave out the bins far above the line through the lower ones: what varies there is structure."""
    line = lower_line(*nodes)
    chosen: tuple[list[NDArray[np.intp]], ...] = ([], [])
    for number, variance in enumerate(flat.variances):
        pair = [members[number] for members in flat.chosen]
        level = levels[np.concatenate(pair)].mean()
        if variance <= MOST_ABOVE * max(float(line.at(level)), float(nodes[1].min())):
            for half in (0, 1):
                chosen[half].append(pair[half])
    return chosen[0], chosen[1]


def _power(
    parts: Halves,
    variance: NDArray[np.float64],
    chosen: tuple[Members, Members],
    like: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Pool each half over the flat patches of all levels, and smooth it beside a power that it is like."""
    power = like.copy()
    for part, half, by_bin in zip(parts, HALVES, chosen, strict=True):
        flat = np.concatenate(by_bin)
        expected = variance[flat]
        # One coefficient after the other, which the processor's cache has room for.
        power[half] = [medians(squares[flat] / expected) / MEDIAN_OF_CHI2 for squares in part.T]
    return like * _smoothed(power / like)


def _mended(raw: NDArray[np.float64], found: Split) -> NDArray[np.float64]:
    """Take out structure, and fill in what a plane took with it; where structure rules, the family stands."""
    power = found.share**2 * raw + (1 - found.share) * found.noise
    neighbours = power[(_ROW + _COLUMN) == 2].mean()
    power[DETRENDED] = np.minimum(found.noise[DETRENDED], DETREND_GAIN * neighbours)
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
