"""Fit variance = gain · level + offset to nodes, any of which may be too high for want of a flat patch."""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

LEAST_SPAN_SIGMA = 3.0
"""Of the levels, in sigma, from which a slope of the variance is looked for."""
TOLERANCE = 0.15
"""Relative distance from a line within which a measured variance speaks for it."""
SPREAD_ABOVE = 0.07
"""Standard deviation by which a node without structure is above the line."""
SPREAD_BELOW = 0.2
"""The same below it; hardly a node is, so that one that is counts nearly in full."""
LOWER_PART = 0.35
"""Quantile of the nodes that stands for all where there is no slope to be seen."""
LEAST_OF_LOWEST = 0.2
"""No line goes below this share of the lowest node."""
ROUNDS = 6

Nodes = NDArray[np.float64]
Level = TypeVar("Level", float, Nodes)


@dataclass(frozen=True)
class Line:
    """variance = gain · level + offset."""

    gain: float
    offset: float

    def at(self, level: Level) -> Level:
        """Read it at a level or an array of them."""
        return self.gain * level + self.offset


def lower_line(levels: Nodes, variances: Nodes, weights: Nodes) -> Line:
    """Find the line that most nodes are near and few are below, then fit it to the nodes near it.

    It is level where the nodes' levels differ by less than a few sigma: that tells nothing of a slope.

    Args:
        levels: (nodes,) increasing.
        variances: (nodes,) above 0.
        weights: (nodes,) how far each can be relied on, above 0.
    """
    if np.ptp(levels) < LEAST_SPAN_SIGMA * np.sqrt(np.median(variances)):
        order = np.argsort(variances)
        share = np.cumsum(weights[order]) / weights.sum()
        return Line(0.0, float(variances[order][np.searchsorted(share, LOWER_PART)]))
    # In units of the span, so that the equations stay solvable for any unit.
    shift, scale = float(levels[0]), float(np.ptp(levels))
    x = (levels - shift) / scale
    first, second = np.triu_indices(len(x), 1)
    steep = (variances[second] - variances[first]) / (x[second] - x[first])
    gains = np.concatenate([np.zeros(len(x)), steep])
    offsets = np.concatenate([variances, variances[first] - steep * x[first]])
    best = np.argmin(_prices((gains[:, None] * x + offsets[:, None]) / variances, weights))
    fitted = _refined(Line(float(gains[best]), float(offsets[best])), x, variances, weights)
    return Line(fitted.gain / scale, fitted.offset - fitted.gain * shift / scale)


def _prices(ratios: Nodes, weights: Nodes) -> Nodes:
    """Price lines: each node by its relative distance, up to a limit that is double for nodes below it.

    Args:
        ratios: (lines, nodes) of the line over the variance.
        weights: (nodes,).

    Returns:
        (lines,); infinite where a line is not above 0 everywhere.
    """
    is_possible = np.all(ratios > 0, axis=1)
    distance = (1 / np.where(is_possible[:, None], ratios, 1) - 1) / TOLERANCE
    price = np.where(distance < 0, np.minimum(-2 * distance, 2), np.minimum(distance, 1))
    return np.where(is_possible, (weights * price).sum(axis=1), np.inf)


def _refined(line: Line, x: Nodes, variances: Nodes, weights: Nodes) -> Line:
    """Fit to all nodes, those above the line counting the less the higher they are."""
    for _ in range(ROUNDS):
        expected = line.at(x)
        distance = variances / expected - 1
        spread = np.where(distance > 0, SPREAD_ABOVE, SPREAD_BELOW)
        weight = weights * np.exp(-np.square(distance / spread) / 2)
        rows = np.stack([x, np.ones_like(x)], axis=1) * (np.sqrt(weight) / expected)[:, None]
        if np.linalg.cond(rows) > 1e6:
            break
        gain, offset = np.linalg.lstsq(rows, variances * np.sqrt(weight) / expected, rcond=None)[0]
        new = Line(float(gain), float(offset))
        if (new.at(x) < LEAST_OF_LOWEST * variances.min()).any():
            break
        line = new
    return line
