"""Made-up strong edges: what bone and metal are in units of the noise, and what few references hold."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

SOFTNESS_PX = (0.2, 1.5)
"""Half-width of an edge: from sharp to what a detector's blur leaves."""


def strong_edges(
    shape: tuple[int, int], rng: np.random.Generator, *, heights: Sequence[float]
) -> NDArray[np.float32]:
    """Draw one to three half-planes, discs or rods, each of one height.

    Args:
        shape: rows and columns.
        rng: numpy generator.
        heights: range of a step's height, in the image's units; drawn evenly in log, up or down.

    Returns:
        (rows, columns) float32, 0 outside the shapes.
    """
    drawn = np.zeros(shape)
    for _ in range(int(rng.integers(1, 4))):
        height = math.exp(rng.uniform(math.log(heights[0]), math.log(heights[1]))) * rng.choice((-1, 1))
        softness = math.exp(rng.uniform(*np.log(SOFTNESS_PX)))
        depth = _distance_inside(shape, rng) / softness
        drawn += height / (1 + np.exp(-np.clip(depth, -60, 60)))
    return drawn.astype(np.float32)


def _distance_inside(shape: tuple[int, int], rng: np.random.Generator) -> NDArray[np.float64]:
    """Give each pixel its distance to the border of a random shape, positive inside."""
    rows, columns = shape
    y, x = (
        np.mgrid[:rows, :columns] - np.array([rng.uniform(0, rows), rng.uniform(0, columns)])[:, None, None]
    )
    angle = rng.uniform(0, 2 * math.pi)
    along = x * math.cos(angle) + y * math.sin(angle)
    kind = rng.integers(3)
    if kind == 0:
        return np.asarray(along)
    if kind == 1:
        return np.asarray(rng.uniform(3, max(rows, columns) / 2) - np.hypot(x, y))
    return np.asarray(rng.uniform(0.5, 8) - np.abs(along))
