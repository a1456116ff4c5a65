"""Variance stabilisation for any v(x): z = ∫ dx / √v(x), and its way back.

With v linear between nodes each piece has a closed form, z = z_i + 2(x − x_i) / (√v(x) + √v_i), stable for
constant variance too; for one piece v = a·x + b with the second-order term 3/8·a² this is the generalised
Anscombe transform, z = 2/a · √(a·x + 3/8·a² + b) (Starck, Murtagh & Bijaoui 1998, eq. 6.6), up to an offset.
The way back is unbiased in the sense of Mäkitalo & Foi, IEEE TIP 2013: it maps E[z | x] to x, where the
expectation is taken by Gauss-Hermite quadrature.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

BLOCK_PIXELS = 1 << 15
"""Pixels worked on at a time: the float64 steps then stay in the processor's cache."""

FEW_NODES = 4
"""Up to so many nodes, adding up pieces is quicker than looking up which one a value lies in."""
TABLE_STEPS = 2048
QUADRATURE_POINTS = 24


@dataclass(frozen=True)
class Pieces:
    """Nodes of the transform, one piece before the first, between each two, and after the last."""

    x: NDArray[np.float64]
    """(nodes,) increasing."""
    z: NDArray[np.float64]
    """(nodes,) increasing."""
    root: NDArray[np.float64]
    """(nodes + 1,) √v at the node that a piece starts from."""
    slope: NDArray[np.float64]
    """(nodes + 1,) dv/dx of the piece; 0 outside the nodes, where the variance stays what it was."""


@lru_cache(maxsize=64)
def pieces(levels: tuple[float, ...], variances: tuple[float, ...]) -> Pieces:
    """Prepare the transform of a tabulated variance.

    Args:
        levels: increasing, in units of x; at least one.
        variances: positive, one per level, in units of x squared.
    """
    x = np.asarray(levels, dtype=np.float64)
    v = np.asarray(variances, dtype=np.float64)
    if len(x) > 1:
        slopes = np.diff(v) / np.diff(x)
        at_nodes = np.concatenate([slopes[:1], (slopes[:-1] + slopes[1:]) / 2, slopes[-1:]])
        v = v + 3 / 8 * at_nodes**2
    root = np.sqrt(v)
    z = np.concatenate([[0.0], np.cumsum(2 * np.diff(x) / (root[1:] + root[:-1]))])
    slope = np.concatenate([[0.0], np.diff(v) / np.diff(x), [0.0]])
    return Pieces(x=x, z=z - z[-1] / 2, root=np.concatenate([root[:1], root]), slope=slope)


def forward(x: NDArray[np.float32], of: Pieces) -> NDArray[np.float32]:
    """Stabilise: strictly increasing and finite for every finite x.

    Args:
        x: any shape, float32.
        of: the transform.
    """
    return _by_blocks(x, lambda block: _forward(block, of))


def backward(z: NDArray[np.float32], of: Pieces) -> NDArray[np.float32]:
    """Undo `forward` point by point (the algebraic inverse)."""
    return _by_blocks(z, lambda block: _backward(block, of))


def backward_unbiased(z: NDArray[np.float32], of: Pieces, table: NDArray[np.float64]) -> NDArray[np.float32]:
    """Map an estimate of E[z | x] to x; `table` is what `bias_table` gives."""
    return _by_blocks(z, lambda block: _backward(block, of) + _bias(block, table))


def change(
    frames: NDArray[np.float32],
    z: NDArray[np.float32],
    z_new: NDArray[np.float32],
    *,
    of: Pieces,
    table: NDArray[np.float64],
    strength: float,
) -> NDArray[np.float32]:
    """Carry a change of z over to x, so that no change of z is no change of x, bit for bit.

    Elsewhere it is the inverse of z_new plus what that is biased by, which grows with the share of the noise
    that was removed, 1 − (1 − s)², and is faded in over the first tenth of a sigma, so that a pixel that the
    network hardly moved hardly moves.

    Args:
        frames: x, any shape, float32.
        z: forward(x).
        z_new: z after denoising, the same shape.
        of: the transform.
        table: its bias table.
        strength: above 0, at most 1.
    """
    share, is_biased = 1 - (1 - strength) ** 2, bool(table[1].any())
    out = np.empty(frames.shape, dtype=np.float32)
    flat = (frames.reshape(-1), z.reshape(-1), z_new.reshape(-1), out.reshape(-1))
    for start in range(0, frames.size, BLOCK_PIXELS):
        x, old, new, target = (part[start : start + BLOCK_PIXELS] for part in flat)
        restored = _backward(new, of)
        if is_biased:
            moved = np.minimum(np.abs(new - old) / (0.1 * strength), 1)
            restored += share * moved * _bias(new, table)
        target[:] = np.where(new == old, x, restored)
    return out


@lru_cache(maxsize=64)
def bias_table(levels: tuple[float, ...], variances: tuple[float, ...]) -> NDArray[np.float64]:
    """Tabulate by how much the algebraic inverse of E[z | x] misses x.

    Returns:
        (2, steps) float64: E[z | x] at even steps, and x − inverse(E[z | x]); beyond its ends it stays.
    """
    of = pieces(levels, variances)
    if len(of.x) == 1:
        return np.array([[0.0, 1.0], [0.0, 0.0]])
    z = np.linspace(of.z[0] - 3, of.z[-1] + 3, TABLE_STEPS)
    x = _backward(z, of)
    points, weights = np.polynomial.hermite_e.hermegauss(QUADRATURE_POINTS)
    sigma = np.sqrt(np.interp(x, levels, variances))
    expected = _forward(x[:, None] + sigma[:, None] * points, of) @ (weights / weights.sum())
    expected = np.maximum.accumulate(expected)
    even = np.linspace(expected[0], expected[-1], TABLE_STEPS)
    return np.stack([even, np.interp(even, expected, x - _backward(expected, of))])


def _bias(z: NDArray[np.floating], table: NDArray[np.float64]) -> NDArray[np.float64]:
    """Interpolate in a bias table, whose steps are even: a division finds the place that others search."""
    known, missed = table
    place: NDArray[np.float64] = np.clip(
        (z - known[0]) * ((len(known) - 1) / (known[-1] - known[0])), 0, len(known) - 1
    )
    left = place.astype(np.intp)
    place -= left
    place *= np.diff(missed, append=missed[-1]).take(left)
    place += missed.take(left)
    return place


def _forward(x: NDArray[np.floating], of: Pieces) -> NDArray[np.float64]:
    if len(of.x) <= FEW_NODES:
        return _forward_by_sums(x, of)
    piece = np.searchsorted(of.x, x)
    start = np.maximum(piece - 1, 0)
    step = x - of.x.take(start)
    root = of.root.take(piece)
    reached = of.slope.take(piece)
    reached *= step
    reached += np.square(root)
    np.sqrt(np.maximum(reached, 0, out=reached), out=reached)
    reached += root
    step *= 2
    step /= reached
    step += of.z.take(start)
    return step


def _forward_by_sums(x: NDArray[np.floating], of: Pieces) -> NDArray[np.float64]:
    """Add up what each piece gives to the value that is within it, or at its nearer end."""
    z: NDArray[np.float64] = np.minimum(x - of.x[0], 0)
    z /= of.root[0]
    z += of.z[0]
    for low, high, root, slope in zip(of.x[:-1], of.x[1:], of.root[1:-1], of.slope[1:-1], strict=True):
        step = np.clip(x, low, high) - low
        reached = slope * step
        reached += root**2
        np.sqrt(reached, out=reached)
        reached += root
        step *= 2
        step /= reached
        z += step
    above = np.maximum(x - of.x[-1], 0)
    above /= of.root[-1]
    z += above
    return z


def _backward(z: NDArray[np.floating], of: Pieces) -> NDArray[np.float64]:
    if len(of.x) <= FEW_NODES:
        return _backward_by_sums(z, of)
    piece = np.searchsorted(of.z, z)
    start = np.maximum(piece - 1, 0)
    step = z - of.z.take(start)
    factor = of.slope.take(piece)
    factor *= step
    factor /= 4
    factor += of.root.take(piece)
    step *= factor
    step += of.x.take(start)
    return step


def _backward_by_sums(z: NDArray[np.floating], of: Pieces) -> NDArray[np.float64]:
    x: NDArray[np.float64] = np.minimum(z - of.z[0], 0)
    x *= of.root[0]
    x += of.x[0]
    for low, high, root, slope in zip(of.z[:-1], of.z[1:], of.root[1:-1], of.slope[1:-1], strict=True):
        step = np.clip(z, low, high) - low
        factor = slope / 4 * step
        factor += root
        step *= factor
        x += step
    above = np.maximum(z - of.z[-1], 0)
    above *= of.root[-1]
    x += above
    return x


def _by_blocks(
    values: NDArray[np.float32], function: Callable[[NDArray[np.float32]], NDArray[np.float64]]
) -> NDArray[np.float32]:
    out = np.empty(values.shape, dtype=np.float32)
    source, target = values.reshape(-1), out.reshape(-1)
    for start in range(0, values.size, BLOCK_PIXELS):
        target[start : start + BLOCK_PIXELS] = function(source[start : start + BLOCK_PIXELS])
    return out
