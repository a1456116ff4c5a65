"""What is kept of each judged image: small squares of what was removed, and flat places to insert objects at.

Everything is in units of the noise. With z the stabilised input, y the stabilised output and s the strength,
what was removed at full strength is n = (z − y) / s, which is the noise itself where the denoiser is perfect,
and the denoiser's own estimate of the noise-free image is z − n.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dae_pacs.noise.model import NoiseModel

SQUARE_PX = 16
"""Side of the squares that what was removed is looked at in."""

PLACE_PX = 64
"""Side of a flat place: the largest object, 16 pixels, with room around it for the network to look at."""
FLATTEST_SHARE = 1 / 3
"""Of an image's places, the flattest are used."""
MOST_SQUARES = 1 << 14
"""Of a group, over all its images: a variance from so many is good to 0.1 %."""
MOST_PIXELS = 1 << 20
"""Of a group, for the bias."""
MOST_PLACES = 120
SEED = 20170


@dataclass(frozen=True)
class Evidence:
    """Of one image, or of a group of them."""

    removed: NDArray[np.float32]
    """(squares, SQUARE_PX, SQUARE_PX) float32, what was removed at full strength, in sigma."""
    smooth: NDArray[np.float32]
    """The same shape, the denoiser's estimate of the noise-free image, in sigma."""
    left: NDArray[np.float32]
    """The same shape, the output as it is, in sigma."""
    levels: NDArray[np.float32]
    """(squares,) mean signal of each, in the modality's unit."""
    pixel_levels: NDArray[np.float32]
    """(pixels,) a sample of the pixels: the denoiser's estimate of their signal, in the modality's unit."""
    pixel_shifts: NDArray[np.float32]
    """(pixels,) input minus output at the strength used, in the modality's unit."""
    places: NDArray[np.float32]
    """(places, PLACE_PX, PLACE_PX) float32, the input there, in the modality's unit, the flattest first."""
    roughness: NDArray[np.float32]
    """(places,) standard deviation of each place's own structure, in sigma."""


@dataclass(frozen=True)
class Shares:
    """How much one image may add, so that a group's evidence does not grow with its images."""

    squares: int
    pixels: int
    places: int

    @classmethod
    def among(cls, images: int) -> "Shares":
        """Share the most that a group may have among its images."""
        count = max(images, 1)
        return cls(max(MOST_SQUARES // count, 64), max(MOST_PIXELS // count, 4096), -(-MOST_PLACES // count))


def gather(
    before: NDArray[np.float32],
    after: NDArray[np.float32],
    keep: NDArray[np.bool_],
    *,
    noise: NoiseModel,
    strength: float,
    shares: Shares,
) -> Evidence:
    """Look at one image before and after.

    Args:
        before: (rows, columns) float32, in the modality's unit.
        after: the same shape, denoised.
        keep: the same shape, True where a pixel does not count.
        noise: of its group.
        strength: above 0, at most 1.
        shares: how much to keep.
    """
    left_out = keep | ~np.isfinite(before) | ~np.isfinite(after)
    filler = np.float32(before[~left_out].mean()) if not left_out.all() else np.float32(0)
    first, second = (np.where(left_out, filler, plane) for plane in (before, after))
    z, y = noise.stabilise(first), noise.stabilise(second)
    removed = (z - y) / np.float32(strength)
    smooth = z - removed
    signal = first - (first - second) / np.float32(strength)
    rng = np.random.default_rng(SEED)
    chosen = _drawn(np.flatnonzero(~_squares(left_out, SQUARE_PX).any(axis=(1, 2))), shares.squares, rng)
    pixels = _drawn(np.flatnonzero(~left_out), shares.pixels, rng)
    rough, places = _flat_places(smooth, left_out, shares.places)
    return Evidence(
        removed=_squares(removed, SQUARE_PX)[chosen],
        smooth=_squares(smooth, SQUARE_PX)[chosen],
        left=_squares(y, SQUARE_PX)[chosen],
        levels=_squares(signal, SQUARE_PX)[chosen].mean(axis=(1, 2)),
        pixel_levels=np.asarray(signal.reshape(-1)[pixels], dtype=np.float32),
        pixel_shifts=(first - second).reshape(-1)[pixels],
        places=_squares(first, PLACE_PX)[places],
        roughness=rough,
    )


def pooled(parts: Sequence[Evidence]) -> Evidence:
    """Put the evidence of a group's images together."""
    joined = {
        name: np.concatenate([getattr(part, name) for part in parts]) for name in Evidence.__annotations__
    }
    order = np.argsort(joined["roughness"], kind="stable")[:MOST_PLACES]
    joined["places"], joined["roughness"] = joined["places"][order], joined["roughness"][order]
    return Evidence(**joined)


def without_plane(squares: NDArray[np.float32]) -> NDArray[np.float32]:
    """Take mean and slope out of (squares, side, side)."""
    ramp = np.arange(squares.shape[-1], dtype=np.float32) - np.float32((squares.shape[-1] - 1) / 2)
    weight = ramp / (squares.shape[-1] * np.square(ramp).sum())
    flat = squares - squares.mean(axis=(1, 2), keepdims=True)
    down = np.einsum("nij,i->n", flat, weight)[:, None, None] * ramp[None, :, None]
    across = np.einsum("nij,j->n", flat, weight)[:, None, None] * ramp[None, None, :]
    return np.asarray(flat - down - across, dtype=np.float32)


def _flat_places(
    smooth: NDArray[np.float32], left_out: NDArray[np.bool_], most: int
) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    """Choose by the denoiser's estimate, which the noise does not sway."""
    usable = np.flatnonzero(~_squares(left_out, PLACE_PX).any(axis=(1, 2)))
    rough = without_plane(_squares(smooth, PLACE_PX)[usable]).std(axis=(1, 2)).astype(np.float32)
    order = np.argsort(rough, kind="stable")[: min(most, -(-len(usable) // round(1 / FLATTEST_SHARE)))]
    return rough[order], usable[order]


def _drawn(where: NDArray[np.intp], most: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Draw at most so many, in their order; the same ones each time."""
    return where if len(where) <= most else np.sort(rng.choice(where, most, replace=False))


def _squares(plane: NDArray, side: int) -> NDArray:  # type: ignore[type-arg]
    """Cut (rows, columns) into (squares, side, side); what does not fill a square is left out."""
    rows, columns = plane.shape[0] // side, plane.shape[1] // side
    cut = plane[: rows * side, : columns * side].reshape(rows, side, columns, side)
    return cut.swapaxes(1, 2).reshape(-1, side, side)
