"""Find the pixels that must come back untouched: padding, clipped, collimated."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from dae_pacs.image import peek
from dae_pacs.image.layout import Layout

# So many pixels at the very end of a range are no accident of noise.
HANDFUL = 16
# An end of the values found counts as clipped when it holds this many times its neighbour level's pixels.
_SPIKE = 4
# A constant border smaller than this share of a frame is not worth calling a collimator's shadow.
_SMALLEST_BORDER = 0.002
# Such a border covers at least this share of the outermost rows and columns.
_SMALLEST_EDGE = 0.01


@dataclass(frozen=True)
class Padding:
    """Stored values that mean "no image here", both ends included (PS3.3 section C.7.5.1.1.2)."""

    low: float
    high: float

    def covers(self, stored: NDArray[Any]) -> NDArray[np.bool_]:
        """Say of each stored value, of whatever number type, whether it is padding."""
        if self.low == self.high:
            return np.asarray(stored == self.low)
        return np.asarray((stored >= self.low) & (stored <= self.high))


def read_padding(ds: Dataset, layout: Layout) -> Padding | None:
    """Read Pixel Padding Value and its Range Limit, or their float twins."""
    prefix = {
        "PixelData": "Pixel",
        "FloatPixelData": "FloatPixel",
        "DoubleFloatPixelData": "DoubleFloatPixel",
    }
    name = f"{prefix[layout.keyword]}Padding"
    value, limit = peek.number(ds, f"{name}Value"), peek.number(ds, f"{name}RangeLimit")
    if value is None:
        return None
    ends = [_as_stored(end, layout) for end in (value, value if limit is None else limit)]
    return Padding(min(ends), max(ends))


def _as_stored(value: float, layout: Layout) -> float:
    """Give a padding value the pixels' sign: the element's VR is often wrong or lost in implicit VR."""
    if layout.is_float:
        return value
    if layout.is_signed and value >= 1 << 15 and layout.bits_allocated == 16:
        return value - (1 << 16)
    if not layout.is_signed and value < 0:
        return value + (1 << 16)
    return value


def find_keep(frame: NDArray[np.generic], layout: Layout, padding: Padding | None) -> NDArray[np.bool_]:
    """Mark what must stay in one frame.

    Args:
        frame: (rows, columns), as stored.
        layout: of the image.
        padding: of the image, if it has any.

    Returns:
        (rows, columns) bool.
    """
    keep = np.zeros(frame.shape, dtype=np.bool_) if padding is None else padding.covers(frame)
    if layout.is_float:
        return np.asarray(keep | ~np.isfinite(frame))
    low, high = int(frame.min()), int(frame.max())
    for end, inner, is_representable_end in (
        (low, 1, low == layout.lowest),
        (high, -1, high == layout.highest),
    ):
        at_end = frame == end
        count = int(np.count_nonzero(at_end))
        if count >= HANDFUL and (is_representable_end or _is_spike(frame, end, inner, count)):
            keep |= at_end
    _mark_borders(frame, keep)
    return keep


def _is_spike(frame: NDArray[np.generic], end: int, inner: int, count: int) -> bool:
    """Tell clipping from a distribution's own tail: the tail's last level is never fuller than the next."""
    next_level = frame == end + inner
    return count > _SPIKE * max(HANDFUL, int(np.count_nonzero(next_level)))


def _mark_borders(frame: NDArray[np.generic], keep: NDArray[np.bool_]) -> None:
    """Mark constant areas that reach in from a frame's edges: what a collimator or a shutter leaves.

    The rays along rows and columns reach every point outside a convex field, however it is turned.
    """
    corners = {frame[row, column].item() for row in (0, -1) for column in (0, -1)}
    edges = np.concatenate([frame[0], frame[-1], frame[:, 0], frame[:, -1]])
    if np.count_nonzero(_is_any(edges, corners)) / edges.size < _SMALLEST_EDGE:
        return
    same = keep | _is_any(frame, corners)
    fewest = max(HANDFUL, _SMALLEST_BORDER * frame.size)
    # Most frames end here: where the corners are padding or clipped, all that is like them is kept already.
    if np.count_nonzero(same) - np.count_nonzero(keep) < fewest:
        return
    border = _reached_along_rows(same)
    border |= _reached_along_columns(same)
    # What is kept already only lets a ray through: it must not make noise beside it look like a border.
    border &= ~keep
    if np.count_nonzero(border) >= fewest:
        keep |= border


def _is_any(stored: NDArray[np.generic], values: Iterable[object]) -> NDArray[np.bool_]:
    found = np.zeros(stored.shape, dtype=np.bool_)
    for value in values:
        found |= stored == value
    return found


def _reached_along_rows(same: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Mark the unbroken runs that start at the left and the right edge."""
    rows, columns = same.shape
    # Narrow numbers: more of them are compared at a time.
    places = np.arange(columns, dtype=np.int32)
    from_left, from_right = same.argmin(axis=1), same[:, ::-1].argmin(axis=1)
    # argmin gives 0 both for a row that starts outside and for one without any outside.
    from_left[same[np.arange(rows), from_left]] = columns
    left, right = from_left.astype(np.int32), (columns - from_right).astype(np.int32)
    return np.asarray((places < left[:, np.newaxis]) | (places >= right[:, np.newaxis]))


def _reached_along_columns(same: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Mark the unbroken runs that start at the top and the bottom edge, 64 columns at a time."""
    columns = same.shape[1]
    packed = np.packbits(same, axis=1)
    words = np.zeros((len(same), -(-packed.shape[1] // 8)), dtype=np.uint64)
    words.view(np.uint8)[:, : packed.shape[1]] = packed
    reached = np.bitwise_and.accumulate(words, axis=0)
    reached |= np.bitwise_and.accumulate(words[::-1], axis=0)[::-1]
    return np.unpackbits(reached.view(np.uint8), axis=1, count=columns).view(np.bool_)
