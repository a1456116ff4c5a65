"""Run a network over images in passes that fit into memory, and look at what it gives."""

import ctypes
from dataclasses import dataclass

import torch
from torch import Tensor

from dae_pacs.denoise.choice import Way
from dae_pacs.denoise.tiles import Tile, cut
from dae_pacs.errors import ModelError, PixelError

LARGEST_SIGMA = 1e6
"""A stabilised image above this comes from values that no detector gives; what a network makes of it says
nothing of the network."""
OUT_OF_MEMORY_WORDS = (
    "can't allocate memory",
    "not enough memory",
    "out of memory",
    "could not create a primitive",  # oneDNN's words, when it finds no room for its own
)


@dataclass
class Budget:
    """How many pixels one pass may have; halved when memory runs out."""

    pixels: int
    together: int
    """So many at most where they are of several images; a larger image comes alone."""

    @property
    def batch_pixels(self) -> int:
        """How many pixels of several images go into one pass."""
        return min(self.pixels, self.together)

    def batch_of(self, shape: tuple[int, int]) -> int:
        """How many images of a shape go into one pass; at least one, which is then cut into tiles."""
        return max(self.batch_pixels // (shape[0] * shape[1]), 1)


@dataclass(frozen=True)
class Place:
    """Where and how a network runs."""

    device: torch.device
    way: Way
    budget: Budget


@torch.inference_mode()
def predict(place: Place, z: Tensor) -> Tensor:
    """Run a network on (frames, 1, rows, columns) float32, a batch or a tile at a time.

    Raises:
        ModelError: what it gives is mis-shaped.
    """
    way, budget = place.way, place.budget
    rows, columns = (int(side) for side in z.shape[-2:])
    tiles = cut((rows, columns), most_pixels=budget.pixels, overlap_px=way.overlap_px, grid_px=way.grid_px)
    batch = budget.batch_of((rows, columns))
    if len(tiles) == 1 and len(z) <= batch:
        out = _run(way, z)
    else:
        out = torch.empty_like(z)
        for first in range(0, len(z), batch):
            for tile in tiles:
                _run_tile(way, z[first : first + batch], out[first : first + batch], tile)
    return out


def extremes(z: Tensor, out: Tensor) -> Tensor:
    """Give lowest and highest value of each frame, of the image and of what was made of it: (4, frames).

    They are all that `refuse_broken` looks at: an extreme is not finite where any value is not.
    """
    return torch.stack([*z.flatten(1).aminmax(dim=1), *out.flatten(1).aminmax(dim=1)])


def refuse_broken(way: Way, found: Tensor) -> None:
    """Refuse what no denoised image is, going by its `extremes`.

    Raises:
        ModelError: it is constant or not finite.
        PixelError: it is not finite, and neither was the image anything like one.
    """
    z_low, z_high, low, high = found.cpu()
    if not torch.isfinite(low + high).all():
        if not ((z_high - z_low) < LARGEST_SIGMA).all():  # never true of NaN and infinity
            raise PixelError(
                "The image made the network give values that are not finite; nothing was written. Its values "
                "may be far outside what a detector gives: check its rescale slope."
            )
        raise ModelError(
            f"The network ({way.name}) gave values that are not finite for an ordinary image; nothing was "
            "written. Its weights may be damaged: fetch or train the bundle again."
        )
    if ((low == high) & (z_low < z_high)).any():
        raise ModelError(
            f"The network ({way.name}) gave one and the same value everywhere; nothing was written. "
            "Its weights may be damaged: fetch or train the bundle again."
        )


def is_out_of_memory(problem: BaseException) -> bool:
    """Tell whether an error of torch, oneDNN or Python says that no memory is left."""
    said = str(problem).lower()
    return isinstance(problem, MemoryError) or any(words in said for words in OUT_OF_MEMORY_WORDS)


def give_back_memory(device: torch.device) -> None:
    """Let go of what the allocators keep of the passes that were too large."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's; musl has none, and keeps less
    if trim is not None:
        trim(0)


def _run_tile(way: Way, z: Tensor, out: Tensor, tile: Tile) -> None:
    made = _run(way, z[..., tile.rows.seen, tile.columns.seen].contiguous())
    out[..., tile.rows.kept, tile.columns.kept] = made[..., tile.rows.kept_in_seen, tile.columns.kept_in_seen]


def _run(way: Way, z: Tensor) -> Tensor:
    out = way.network(z)
    if not isinstance(out, Tensor) or out.shape != z.shape:
        found = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
        raise ModelError(
            f"The network gave {found} for an image of {tuple(z.shape)}; expected the same shape. "
            "Nothing was written; don't use this bundle."
        )
    return out
