"""Cut an image into tiles whose results, put side by side, are those of the whole image."""

import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

MOST_CUTS = 64
"""Per axis; 64 × 64 tiles of 1 Mpixel are more than any detector has."""


@dataclass(frozen=True)
class Span:
    """One axis of a tile: what the network sees, and the part of it that is kept."""

    seen: slice
    kept: slice

    @property
    def kept_in_seen(self) -> slice:
        """The kept part, counted from where the seen part begins."""
        return slice(self.kept.start - self.seen.start, self.kept.stop - self.seen.start)


@dataclass(frozen=True)
class Tile:
    """One tile of an image; the kept parts of all tiles make up the image, each pixel once."""

    rows: Span
    columns: Span


@lru_cache(maxsize=64)
def cut(shape: tuple[int, int], *, most_pixels: int, overlap_px: int, grid_px: int) -> tuple[Tile, ...]:
    """Cut an image so that no tile has more pixels than fit, with the least work in overlaps.

    Args:
        shape: rows and columns.
        most_pixels: that the network may see at once; where even the finest cut exceeds it, that is taken.
        overlap_px: that a tile sees beyond what it keeps, where the image goes on.
        grid_px: the network's stride; tiles begin on it, so that each sees the grid of the whole image.
    """
    overlap = math.ceil(overlap_px / grid_px) * grid_px
    by_axis = [
        [_spans(length, parts, overlap, grid_px) for parts in range(1, MOST_CUTS + 1)] for length in shape
    ]
    best = min(product(*by_axis), key=lambda pair: _cost(pair, most_pixels))
    return tuple(Tile(rows=rows, columns=columns) for rows, columns in product(*best))


def _cost(pair: tuple[list[Span], ...], most_pixels: int) -> tuple[int, int]:
    """Order cuts: those that fit by their work, then those that do not by their largest tile."""
    sizes = [[span.seen.stop - span.seen.start for span in spans] for spans in pair]
    largest = math.prod(max(lengths) for lengths in sizes)
    return max(largest - most_pixels, 0), math.prod(sum(lengths) for lengths in sizes)


def _spans(length: int, parts: int, overlap: int, grid: int) -> list[Span]:
    """Cut one axis into at most `parts`, each but the last a whole number of grid steps long."""
    step = max(math.ceil(length / parts / grid), 1) * grid
    return [
        Span(
            seen=slice(max(start - overlap, 0), min(start + step + overlap, length)),
            kept=slice(start, min(start + step, length)),
        )
        for start in range(0, length, step)
    ]
