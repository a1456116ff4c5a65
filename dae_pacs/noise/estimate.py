"""Measure the noise of one acquisition group from its own images (DESIGN.md, "the method", 1)."""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from dae_pacs.errors import NoiseError
from dae_pacs.noise import flat
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
SLIGHTLY_LOW = 0.97
"""Factor on the variance: a sigma 5 % low costs 0.03 dB, 5 % high 0.2 dB (DESIGN.md)."""
LEAST_SPAN_SIGMA = 3.0
"""Of the levels, in sigma, from which a slope of the variance is looked for."""
TOLERANCE = 0.15
"""Relative distance from a line within which a measured variance speaks for it."""
AGREES_FROM = 0.8
"""Where no measured variance is below this share of the line, the line stands for them all."""
MAD_TO_SIGMA = 1.4826
"""Median absolute deviation of a normal distribution to its standard deviation (Rousseeuw & Croux 1993)."""
MOST_FRAMES_FOR_BLOCKS = 4


def estimate(frames: Frames, keep: Keep = None, *, unit: str = "") -> NoiseModel:
    """Measure variance against signal and the spectrum, pooled over a group.

    Args:
        frames: each (rows, columns) float32, in one unit; a sample of the group is enough.
        keep: for each frame (rows, columns) bool, True where a pixel does not count; None if all count.
        unit: of the values.

    Raises:
        NoiseError: too few usable squares, only one value, visible JPEG blocks, or practically no noise.
    """
    ratio = block_edge_ratio(frames[:MOST_FRAMES_FOR_BLOCKS]) if frames else 1.0
    if ratio > BLOCK_EDGE_RATIO:
        raise NoiseError(
            f"Noise not measured: 8×8 blocks of lossy compression show (edges {ratio:.2f} times the steps "
            f"between them; expected at most {BLOCK_EDGE_RATIO}). Send images without lossy compression."
        )
    patches = collect(frames, keep)
    _check_patches(patches)
    span = float(np.ptp(patches.values))
    sigma = flat.typical_sigma(patches.values, patches.levels)
    if sigma <= max(QUANTISED_STEPS * patches.step, LEAST_OF_RANGE * span):
        raise NoiseError(
            f"Noise not measured: practically none (standard deviation {sigma:.3g}, grey step "
            f"{patches.step:.3g}, range {span:.3g}). There is nothing to remove."
        )
    measured = flat.measure(patches.values, patches.levels)
    levels, variances, misfit = _fit(measured, patches)
    return NoiseModel(
        levels=tuple(map(float, levels)),
        variances=tuple(float(value) * SLIGHTLY_LOW for value in variances),
        spectrum=as_spectrum(measured.power),
        unit=unit,
        origin="estimate",
        misfit=round(misfit, 4),
        patches=measured.patches,
    )


def fallback(frames: Frames, keep: Keep = None, *, unit: str = "") -> NoiseModel:
    """Bound the noise where it can't be measured: constant, white, from the finest detail of flat quarters.

    Never fails on finite values. What rounding to the grey step adds is taken away again, so that an image
    without noise gets a sigma too small to change it.

    Args:
        frames: each (rows, columns) float32.
        keep: for each frame (rows, columns) bool, True where a pixel does not count; None if all count.
        unit: of the values.
    """
    masks = [_counted(frame, None if keep is None else keep[i]) for i, frame in enumerate(frames)]
    counted = [frame[mask] for frame, mask in zip(frames, masks, strict=True)]
    values = np.concatenate(counted) if any(map(len, counted)) else np.zeros(1, dtype=np.float32)
    span = float(values.max()) - float(values.min())
    floor = max(LEAST_OF_RANGE * span, LEAST_OF_VALUE * float(np.abs(values).max()), LEAST_SIGMA)
    fine = [_finest(frame, mask) for frame, mask in zip(frames, masks, strict=True)]
    sigma = float(np.median([value for value in fine if value is not None] or [0.0]))
    rounding = QUANTISED_STEPS * grey_step(values)
    variance = max(sigma**2 - rounding**2, floor**2)
    return NoiseModel(
        levels=(float(np.median(values)),),
        variances=(variance,),
        spectrum=WHITE,
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
    if len(patches.values) >= flat.LEAST_FLAT:
        return flat.typical_sigma(patches.values, patches.levels)
    return _finest(frame, _counted(frame, keep)) or 0.0


def _check_patches(patches: Patches) -> None:
    if len(patches.values) < LEAST_PATCHES:
        raise NoiseError(
            f"Noise not measured: too little flat area ({len(patches.values)} of {patches.candidates} "
            f"squares show all values unclipped; at least {LEAST_PATCHES} are needed)."
        )
    if patches.step == 0:
        raise NoiseError("Noise not measured: every pixel has the same value. There is nothing to remove.")


def _fit(measured: flat.Measured, patches: Patches) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Fit variance = gain · level + offset, as counting and electronic noise have it; else keep the nodes.

    A node may be too high, for want of a flat patch at its level, but hardly too low: the line is drawn along
    the lower edge of the nodes, and where it is not followed, a node counts at most a tolerance above it.

    Beyond the nodes the line goes on by half their span at most.

    Returns:
        Levels, variances, and the nodes' relative distance from them (root mean square).
    """
    x, v = measured.levels, measured.variances
    gain, offset = _lower_line(x, v)
    least = float(v.min()) / 2
    line = np.maximum(gain * x + offset, least)
    if (v >= AGREES_FROM * line).all():
        low, high = np.quantile(patches.values[:, ::4, ::4], [0.001, 0.999])
        beyond = np.ptp(x) / 2 if gain else 0
        ends = np.array([np.clip(low, x[0] - beyond, x[0]), np.clip(high, x[-1], x[-1] + beyond)])
        ends = np.unique(ends) if gain else x[:1]
        fitted = np.maximum(gain * ends + offset, least)
        return ends, fitted, float(np.sqrt(np.mean((v / line - 1) ** 2)))
    bounded = np.minimum(v, (1 + TOLERANCE) * line)
    smooth = np.exp(_thirds(np.log(bounded)))
    return x, smooth, float(np.sqrt(np.mean((v / smooth - 1) ** 2)))


def _lower_line(x: NDArray[np.float64], v: NDArray[np.float64]) -> tuple[float, float]:
    """Find the line that most nodes are near and few are below, then fit it to the nodes near it.

    It is level where the nodes' levels differ by less than a few sigma: that tells nothing of a slope.
    """
    if np.ptp(x) < LEAST_SPAN_SIGMA * np.sqrt(np.median(v)):
        return 0.0, float(np.median(v))
    lines = [(0.0, float(value)) for value in v]
    for i, j in combinations(range(len(x)), 2):
        gain = float((v[j] - v[i]) / (x[j] - x[i]))
        lines.append((gain, float(v[i] - gain * x[i])))
    gain, offset = min(lines, key=lambda line: _cost(x, v, line))
    near = np.abs(v / np.maximum(gain * x + offset, v.min() / 2) - 1) < TOLERANCE
    if gain == 0 or near.sum() < 3:
        return gain, offset
    rows = np.stack([x[near] / v[near], 1 / v[near]], axis=1)
    scale = max(float(np.abs(x).max()), float(np.finfo(np.float32).tiny))
    solution = np.linalg.lstsq(rows * [1 / scale, 1], np.ones(int(near.sum())), rcond=None)[0]
    return float(solution[0]) / scale, float(solution[1])


def _cost(x: NDArray[np.float64], v: NDArray[np.float64], line: tuple[float, float]) -> float:
    """Price a line: each node by its relative distance, up to a limit that is double for nodes below it."""
    gain, offset = line
    level = gain * x + offset
    if (level <= 0).any():
        return float("inf")
    distance = (v / level - 1) / TOLERANCE
    return float(np.where(distance < 0, np.minimum(-2 * distance, 2), np.minimum(distance, 1)).sum())


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
