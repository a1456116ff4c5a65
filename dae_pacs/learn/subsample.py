"""Neighbor2Neighbor: two half-size images from the pixels of one, alike in all but their noise.

Huang et al., CVPR 2021. It needs no model of the noise, but assumes that it is independent from pixel to
pixel: where neighbours' noise is alike, the network learns to keep it.
"""

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.transforms import MapTransform, RandomizableTransform
from numpy.typing import NDArray
from torch import Tensor, nn

ADJACENT = np.array([(0, 1), (0, 2), (1, 3), (2, 3), (1, 0), (2, 0), (3, 1), (3, 2)])
"""Pixels of a 2×2 cell, counted by rows, that share a side: the first and the second of a pair."""


class Subsampled(RandomizableTransform, MapTransform):
    """Draw two neighbours from each 2×2 cell of y: the first make `<key>`, g1(y), the second `label`, g2(y).

    Reads `<key>`, (1, rows, columns), stabilised; an odd last row or column is dropped. Writes `<key>` and
    `label`, (1, rows / 2, columns / 2) float32, each cell's two pixels sharing a side; and for
    `RegularisedBatch` the whole `<key>_whole`, and `<key>_cells`, (2, rows / 2, columns / 2) int64, the place
    of both in their cell.

    An item with `seed` is not random: the same pair each time, for validation.

    Args:
        keys: of stabilised patches.
    """

    def __init__(self, keys: Any) -> None:
        MapTransform.__init__(self, keys)
        RandomizableTransform.__init__(self, prob=1.0)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Replace each patch and add `label`."""
        made = dict(data)
        for key in self.key_iterator(made):
            rng = np.random.default_rng(int(made["seed"]) if "seed" in made else self.R.randint(1 << 31))
            patch = np.asarray(made[key], dtype=np.float32)
            rows, columns = (length // 2 * 2 for length in patch.shape[-2:])
            whole = torch.from_numpy(patch[:, :rows, :columns].copy())
            cells = torch.from_numpy(draw_cells((rows // 2, columns // 2), rng))
            made[f"{key}_whole"], made[f"{key}_cells"] = whole, cells
            first, second = take(whole[None], cells[None])
            made[key], made["label"] = first[0], second[0]
        return made


class RegularisedBatch:
    """`prepare_batch` for the loss `losses.NeighbourError`.

    Reads what `Subsampled` wrote under `image`. The regulariser compares the pair with what the network makes
    of the whole patch, f(y), at the same two pixels of each cell; no gradient flows through it. It forgives a
    copy of the input, so it is no measure: where the network is in evaluation mode it is left out.

    Args:
        network: f, the one that is trained or validated.
    """

    def __init__(self, network: nn.Module) -> None:
        self.network = network

    def __call__(
        self,
        batchdata: Mapping[str, Tensor],
        device: str | torch.device | None = None,
        non_blocking: bool = False,  # noqa: FBT001, FBT002  # the engines' signature of `prepare_batch`
        **kwargs: Any,
    ) -> tuple[Tensor, Tensor]:
        """Give g1(y), (batch, 1, rows, columns), and g2(y) beside g1(f(y)) − g2(f(y)), with 2 channels.

        Of a network in evaluation mode, g1(y) and g2(y) alone.
        """

        def moved(name: str, **to: Any) -> Tensor:
            return batchdata[name].to(device=device, non_blocking=non_blocking, **to)

        first, second = moved("image", **kwargs), moved("label", **kwargs)
        if not self.network.training:
            return first, second
        with torch.no_grad():
            of_first, of_second = take(self.network(moved("image_whole", **kwargs)), moved("image_cells"))
        return first, torch.cat([second, of_first - of_second], dim=1)


def draw_cells(shape: tuple[int, int], rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw for each cell which two of its four pixels are taken, sharing a side; (2, rows, columns)."""
    drawn: NDArray[np.int64] = np.moveaxis(ADJACENT[rng.integers(len(ADJACENT), size=shape)], -1, 0).copy()
    return drawn


def take(whole: Tensor, cells: Tensor) -> tuple[Tensor, Tensor]:
    """Take two pixels of each 2×2 cell.

    Args:
        whole: (batch, 1, rows, columns), both even.
        cells: (batch, 2, rows / 2, columns / 2), places in the cell.

    Returns:
        g1 and g2 of it, (batch, 1, rows / 2, columns / 2) each.
    """
    by_place = torch.nn.functional.pixel_unshuffle(whole, 2)
    return by_place.gather(1, cells[:, :1]), by_place.gather(1, cells[:, 1:])
