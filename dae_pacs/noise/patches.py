"""Small squares of an acquisition group: where its noise is looked for."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from dae_pacs.noise.middle import medians_of_eight
from dae_pacs.noise.spectrum import SIDE_PX

MOST_PATCHES = 16384
"""Enough for a variance to 0.5 %, few enough for a tenth of a second."""
CLIPPED_SHARE = 0.02
"""Of a patch's pixels at the lowest or highest value of its frame: more, and the noise is cut off there."""
SEED = 20170
MOST_PIXELS = 1 << 24
"""Of a group that are looked at: from larger ones, frames are taken at even distances."""

Count = TypeVar("Count", np.uint8, np.uint16)

_QUARTERS = 4
_QUARTER, _HALF = SIDE_PX // _QUARTERS, SIDE_PX // 2
GRIDS = (
    tuple((row, column) for row in range(0, SIDE_PX, _QUARTER) for column in range(0, SIDE_PX, _QUARTER)),
    ((0, 0), (0, _HALF), (_HALF, 0), (_HALF, _HALF)),
    ((0, 0), (_HALF, _HALF)),
    ((0, 0),),
)
"""Corners of the grids that images are cut along: the smaller a group, the more, to find its flat spots."""


@dataclass(frozen=True)
class Patches:
    """Patches of a group, every one usable."""

    values: NDArray[np.float32]
    """(patches, SIDE_PX, SIDE_PX)."""
    levels: NDArray[np.float64]
    """(patches,) their means."""
    candidates: int
    """How many squares were looked at, usable or not."""
    step: float
    """Grey step of the values: the smallest distance between two different ones."""
    overlap: float
    """How many of the patches hold about as much as one alone would."""


def collect(frames: Sequence[NDArray[np.float32]], keep: Sequence[NDArray[np.bool_]] | None) -> Patches:
    """Cut a group's frames into squares, leave out what is marked, clipped or not finite, and draw a sample.

    The sample is the same for the same frames: results must not depend on when they are made.

    Args:
        frames: each (rows, columns) float32.
        keep: for each frame, True where a pixel does not count; None if all count.
    """
    found: list[NDArray[np.float32]] = []
    candidates = 0
    whole = sum(frame.size for frame in frames) / SIDE_PX**2
    grids = next((grids for grids in GRIDS if whole * len(grids) <= MOST_PATCHES), GRIDS[-1])
    stride = max(sum(frame.size for frame in frames) // MOST_PIXELS, 1)
    for number, frame in list(enumerate(frames))[::stride]:
        left_out = ~np.isfinite(frame) if keep is None else keep[number] | ~np.isfinite(frame)
        if left_out.all():
            continue
        counted = frame[~left_out] if left_out.any() else frame
        is_usable = _count(left_out) == 0
        is_usable &= _count((frame == counted.min()) | (frame == counted.max())) / SIDE_PX**2 <= CLIPPED_SHARE
        for row, column in grids:
            usable = is_usable[row // _QUARTER :: _QUARTERS, column // _QUARTER :: _QUARTERS]
            candidates += usable.size
            found.append(_squares(frame[row:, column:])[usable])
    values = np.concatenate(found) if found else np.empty((0, SIDE_PX, SIDE_PX), dtype=np.float32)
    if len(values) > MOST_PATCHES:
        values = values[np.random.default_rng(SEED).choice(len(values), MOST_PATCHES, replace=False)]
    return Patches(
        values=values,
        levels=values.mean(axis=(1, 2), dtype=np.float64),
        candidates=candidates,
        step=grey_step(values),
        overlap=max(len(grids) / 2, 1.0),
    )


def grey_step(values: NDArray[np.float32]) -> float:
    """Give the smallest distance between two different values of a sample; 0 if there are no two."""
    distinct = np.unique(values.reshape(-1)[:: max(values.size // 65536, 1)])
    return float(np.diff(distinct).min()) if len(distinct) > 1 else 0.0


def block_edge_ratio(frames: Sequence[NDArray[np.float32]]) -> float:
    """Compare the steps across every eighth line with those between: about 1, more where JPEG blocks show.

    Args:
        frames: each (rows, columns) float32; a few are enough.
    """
    return float(np.median([min(_edge_ratio(frame), _edge_ratio(frame.T)) for frame in frames]))


def _edge_ratio(frame: NDArray[np.float32]) -> float:
    """Steps along rows: the phase of eight with the largest, over the median of the other seven."""
    lines = frame[:: max(frame.shape[0] // 256, 1)]
    width = (lines.shape[1] - 1) // 8 * 8
    if width < 64:
        return 1.0
    steps = np.abs(np.diff(lines, axis=1))[:, :width]
    steps = steps.reshape(len(lines), -1, 8)
    finite = steps[np.isfinite(steps).all(axis=2)]
    typical = medians_of_eight(finite)
    flat, typical = finite[typical > 0], typical[typical > 0]
    if len(flat) < 64:
        return 1.0
    by_phase = np.minimum(flat / typical[:, None].clip(min=1e-30), 4).mean(axis=0)
    return float(by_phase.max() / np.median(by_phase))


def _count(marked: NDArray[np.bool_]) -> NDArray[np.uint16]:
    """Count what is marked in the squares of every grid.

    Returns:
        (squares down, squares across), whose corners are a quarter of a side apart.
    """
    cells = _windows(marked.view(np.uint8), _QUARTER, step=_QUARTER)
    return _windows(cells.astype(np.uint16), _QUARTERS, step=1)


def _windows(counts: NDArray[Count], side: int, *, step: int) -> NDArray[Count]:
    """Add up square windows, their corners some steps apart along rows and columns."""
    for _ in ("rows", "columns"):
        ends = max(len(counts) - side + 1, 0)
        total = counts[:ends:step].copy()
        for offset in range(1, side):
            total += counts[offset : ends + offset : step]
        counts = total.T
    return counts


def _squares(plane: NDArray[np.float32]) -> NDArray[np.float32]:
    """Cut (rows, columns) into (squares down, squares across, SIDE_PX, SIDE_PX); a rest is left out."""
    down, across = plane.shape[0] // SIDE_PX, plane.shape[1] // SIDE_PX
    cut = plane[: down * SIDE_PX, : across * SIDE_PX].reshape(down, SIDE_PX, across, SIDE_PX)
    return cut.swapaxes(1, 2)
