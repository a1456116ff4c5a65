"""Measure the noise of one acquisition group from its own images (DESIGN.md, "the method", 1)."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dae_pacs.errors import NoiseError
from dae_pacs.noise import flat
from dae_pacs.noise.flat import Areas, Measured
from dae_pacs.noise.line import TOLERANCE, Line, lower_line
from dae_pacs.noise.middle import medians
from dae_pacs.noise.model import NoiseModel
from dae_pacs.noise.patches import Patches, block_edge_ratio, collect, grey_step
from dae_pacs.noise.spectrum import WHITE, as_spectrum

Frames = Sequence[NDArray[np.float32]]
Keep = Sequence[NDArray[np.bool_]] | None

LEAST_PATCHES = 48
"""Usable squares of a group: fewer, and the flattest of them are a matter of luck."""
BLOCK_EDGE_RATIO = 1.25
"""Steps across JPEG's block edges over those between, from which blocks are taken for visible. Measured on
noise without compression: 1.00 to 1.06."""
QUANTISED_STEPS = 0.4
"""Standard deviation, in grey steps, that rounding accounts for: 1/√12 = 0.29, up to 0.38 measured where a
smooth image is rounded, whose errors have a pattern."""
LEAST_OF_VALUE = 1e-6
"""Floor of a sigma over the largest value: float32 resolves 1e-7."""
LEAST_SIGMA = 1e-9
"""Floor of a sigma for an image of zeros."""
LEAST_OF_RANGE = 1e-5
"""Standard deviation over the range of values, below which there is nothing to remove."""
SLIGHTLY_LOW = 0.93
"""Factor on the variance: a sigma 5 % low costs 0.03 dB, 5 % high 0.2 dB (DESIGN.md)."""
AGREES_FROM = 0.8
"""A measured variance below this share of the line speaks against it."""
MOST_AGAINST = 0.1
"""Share of what was measured that may speak against a line; more, and the variance goes its own way."""
STEEP = 10.0
"""Ratio of two variances from which their levels are strangers, as of an 8-bit beside a 16-bit image."""
WORST_MISFIT = 0.85
"""From which the levels do not tell of one noise; 1 is the most, where nearly all are double the fit."""
MOST_UNSEEN = 1.3
"""Variance over what cosine coefficients show: of noise blurred by 1.5 px a plane takes that much along."""
LOWER_PART = 0.1
"""Quantile of the levels' variances that the fallback takes for all: rather too little than too much."""
MAD_TO_SIGMA = 1.4826
"""Median absolute deviation of a normal distribution to its standard deviation (Rousseeuw & Croux 1993)."""
MOST_FRAMES_FOR_BLOCKS = 4


def areas_of(frames: Frames, keep: Keep = None) -> Areas:
    """Look for the flat areas of a group, for an `estimate` and a `fallback` that share them.

    Args:
        frames: each (rows, columns) float32, in one unit.
        keep: for each frame (rows, columns) bool, True where a pixel does not count; None if all count.
    """
    return Areas(collect(frames, keep))


def estimate(frames: Frames, keep: Keep = None, *, unit: str = "", areas: Areas | None = None) -> NoiseModel:
    """Measure variance against signal and the spectrum, pooled over a group.

    Args:
        frames: each (rows, columns) float32, in one unit; a sample of the group is enough.
        keep: for each frame (rows, columns) bool, True where a pixel does not count; None if all count.
        unit: of the values.
        areas: what `areas_of` gives for the frames, where it is there already.

    Raises:
        NoiseError: too few usable squares, only one value, visible JPEG blocks, practically no noise, or
            levels that do not agree.
    """
    ratio = block_edge_ratio(frames[:MOST_FRAMES_FOR_BLOCKS]) if frames else 1.0
    if ratio > BLOCK_EDGE_RATIO:
        raise NoiseError(
            f"Noise not measured: 8×8 blocks of lossy compression show (edges {ratio:.2f} times the steps "
            f"between them; expected at most {BLOCK_EDGE_RATIO}). Send images without lossy compression."
        )
    areas = areas or areas_of(frames, keep)
    patches = areas.patches
    _check_patches(patches)
    span = float(np.ptp(patches.values))
    sigma = areas.typical_sigma
    if sigma <= max(QUANTISED_STEPS * patches.step, LEAST_OF_RANGE * span):
        raise NoiseError(
            f"Noise not measured: practically none (standard deviation {sigma:.3g}, grey step "
            f"{patches.step:.3g}, range {span:.3g}). There is nothing to remove."
        )
    measured = areas.measured
    levels, variances, misfit = _fit(measured, patches)
    if misfit > WORST_MISFIT:
        raise NoiseError(
            f"Noise not measured: flat areas of different brightness do not agree (misfit {misfit:.2f}; "
            f"expected at most {WORST_MISFIT}), so what varies there is structure. Send more such images."
        )
    return NoiseModel(
        levels=tuple(map(float, levels)),
        variances=tuple(float(value) * SLIGHTLY_LOW for value in variances),
        spectrum=as_spectrum(measured.power),
        unit=unit,
        origin="estimate",
        misfit=round(misfit, 4),
        patches=measured.patches,
    )


def fallback(frames: Frames, keep: Keep = None, *, unit: str = "", areas: Areas | None = None) -> NoiseModel:
    """Bound the noise where it can't be measured: constant, and from the flattest squares that there are.

    Never fails on finite values. What rounding to the grey step adds is taken away again, so that an image
    without noise gets a sigma too small to change it. Where there are hardly any squares, the noise is taken
    for white, and its finest detail for all of it.

    Args:
        frames: each (rows, columns) float32.
        keep: for each frame (rows, columns) bool, True where a pixel does not count; None if all count.
        unit: of the values.
        areas: what `areas_of` gives for the frames, where it is there already.
    """
    masks = [_counted(frame, None if keep is None else keep[i]) for i, frame in enumerate(frames)]
    counted = [frame[mask] for frame, mask in zip(frames, masks, strict=True)]
    values = np.concatenate(counted) if any(map(len, counted)) else np.zeros(1, dtype=np.float32)
    span = float(values.max()) - float(values.min())
    floor = max(LEAST_OF_RANGE * span, LEAST_OF_VALUE * float(np.abs(values).max()), LEAST_SIGMA)
    rounding = QUANTISED_STEPS * grey_step(values)
    found, power = _roughly(frames, masks, areas or areas_of(frames, keep))
    variance = SLIGHTLY_LOW * (found - rounding**2)
    return NoiseModel(
        levels=(float(medians(values)),),
        variances=(max(variance, floor**2),),
        spectrum=as_spectrum(power) if variance > floor**2 else WHITE,
        unit=unit,
        origin="fallback",
    )


def flat_sigma(frame: NDArray[np.float32], keep: NDArray[np.bool_] | None = None) -> float:
    """Give a single number for the noise in flat areas, for tables that compare before and after.

    Args:
        frame: (rows, columns) float32.
        keep: the same shape, True where a pixel does not count.

    Returns:
        Standard deviation in units of the frame; 0 if nothing in it counts.
    """
    patches = collect([frame], None if keep is None else [keep])
    if len(patches.values) >= flat.LEAST_FLAT * patches.overlap:
        return flat.typical_sigma(patches)
    return _finest(frame, _counted(frame, keep)) or 0.0


def _roughly(
    frames: Frames, masks: Sequence[NDArray[np.bool_]], areas: Areas
) -> tuple[float, NDArray[np.float64]]:
    """Give one variance and a power, from flat squares if there are some, else from the finest detail."""
    patches = areas.patches
    if len(patches.values) >= flat.LEAST_FLAT * patches.overlap and patches.step > 0:
        measured = areas.measured
        order = np.argsort(measured.variances)
        share = np.cumsum(measured.weights[order]) / measured.weights.sum()
        variance = float(measured.variances[order][np.searchsorted(share, LOWER_PART)])
        # Where there is no noise, its spectrum is anything, and with it the part that a plane took along.
        seen = areas.typical_sigma**2
        return min(variance, MOST_UNSEEN * seen), measured.power
    fine = [_finest(frame, mask) for frame, mask in zip(frames, masks, strict=True)]
    sigma = float(np.median([value for value in fine if value is not None] or [0.0]))
    return sigma**2, np.ones((1, 1))


def _check_patches(patches: Patches) -> None:
    least = int(LEAST_PATCHES * patches.overlap)
    if len(patches.values) < least:
        raise NoiseError(
            f"Noise not measured: too little flat area ({len(patches.values)} of {patches.candidates} "
            f"squares show all values unclipped; at least {least} are needed)."
        )
    if patches.step == 0:
        raise NoiseError("Noise not measured: every pixel has the same value. There is nothing to remove.")


def _fit(measured: Measured, patches: Patches) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Fit variance = gain · level + offset, as counting and electronic noise have it; else keep the nodes.

    A node may be too high, for want of a flat patch at its level, but hardly too low: the line is drawn along
    the lower edge of the nodes, and where it is not followed, a node counts at most a tolerance above it.

    Beyond the nodes the line goes on by half their span at most.

    Returns:
        Levels, variances, and the nodes' relative distance from them (root mean square).
    """
    x, v = measured.levels, measured.variances
    weights = measured.weights
    straight = lower_line(x, v, weights)
    least = float(v.min()) / 2
    line = np.maximum(straight.at(x), least)
    if np.average(v < AGREES_FROM * line, weights=weights) <= MOST_AGAINST:
        ends = _ends(x, patches.levels, straight, least)
        return ends, np.maximum(straight.at(ends), least), _misfit(v, line, weights)
    bounded = np.minimum(v, (1 + TOLERANCE) * line)
    # A node is better known than that: a step from one to the next is no error to be smoothed away.
    smooth = np.clip(np.exp(_thirds(np.log(bounded))), bounded / (1 + TOLERANCE), bounded * (1 + TOLERANCE))
    return *_with_steps_halved(x, smooth), _misfit(v, smooth, weights)


def _ends(
    x: NDArray[np.float64], levels: NDArray[np.float64], line: Line, least: float
) -> NDArray[np.float64]:
    """Say where a line ends, and where it bends since no variance is below the least."""
    if line.gain == 0:
        return x[:1]
    beyond = float(np.ptp(x)) / 2
    low = max(float(levels.min()), float(x[0]) - beyond)
    high = min(float(levels.max()), float(x[-1]) + beyond)
    bend = (least - line.offset) / line.gain
    return np.unique([low, bend, high] if low < bend < high else [low, high])


def _misfit(v: NDArray[np.float64], fitted: NDArray[np.float64], weights: NDArray[np.float64]) -> float:
    """Average what the nodes miss, each by at most its double."""
    return float(np.sqrt(np.average(np.square(np.minimum(v / fitted, 2) - 1), weights=weights)))


def _with_steps_halved(
    x: NDArray[np.float64], v: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Put a node halfway up each steep step, so that it does not begin as steep for those near its foot."""
    ratio = v[1:] / v[:-1]
    steep = np.flatnonzero((ratio > STEEP) | (ratio < 1 / STEEP))
    middle, mean = (x[steep] + x[steep + 1]) / 2, np.sqrt(v[steep] * v[steep + 1])
    return np.insert(x, steep + 1, middle), np.insert(v, steep + 1, mean)


def _thirds(values: NDArray[np.float64]) -> NDArray[np.float64]:
    padded = np.pad(values, 1, mode="edge")
    averaged: NDArray[np.float64] = (padded[:-2] + padded[1:-1] + padded[2:]) / 3
    return averaged


def _counted(frame: NDArray[np.float32], keep: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
    finite: NDArray[np.bool_] = np.isfinite(frame)
    return finite if keep is None else finite & ~keep


def _finest(frame: NDArray[np.float32], mask: NDArray[np.bool_]) -> float | None:
    """Measure white noise by the 2×2 diagonal detail (Donoho & Johnstone 1994), in the flatter quarter."""
    rows, columns = frame.shape[0] // 2 * 2, frame.shape[1] // 2 * 2
    quads = [frame[r:rows:2, c:columns:2] for r in (0, 1) for c in (0, 1)]
    counted = np.logical_and.reduce([mask[r:rows:2, c:columns:2] for r in (0, 1) for c in (0, 1)])
    if not counted.any():
        return None
    a, b, c, d = (quad[counted].astype(np.float64) for quad in quads)
    detail, steps = np.abs(a - b - c + d) / 2, np.abs(a + b - c - d) + np.abs(a - b + c - d)
    flatter = detail[steps <= np.quantile(steps, 0.25)]
    return float(MAD_TO_SIGMA * np.median(flatter))
