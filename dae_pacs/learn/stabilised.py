"""Bring images into the domain that the network works in, as the node does before it denoises."""

from collections.abc import Hashable, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from monai.transforms import MapTransform

from dae_pacs.noise.model import NoiseModel


@lru_cache(maxsize=256)
def noise_of(text: str) -> NoiseModel:
    """Read an item's `noise`; thousands of patches share a few models.

    Raises:
        NoiseError: it is no noise model.
    """
    return NoiseModel.from_json(text)


class Stabilised(MapTransform):
    """Stabilise images by their item's noise model: the noise then has a standard deviation of 1.

    Reads `<key>`, (1, rows, columns) in the modality's unit, `<key>_keep`, and the item's `noise`. Writes
    `<key>`, the same shape, float32, in units of sigma; and `<key>_weight`, float32, 0 where the pixel is
    padding or clipped, for drawing patches where there is an image (all 1 where nothing else is).
    """

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Replace each image."""
        made = dict(data)
        model = noise_of(str(made["noise"]))
        for key in self.key_iterator(made):
            keep = np.asarray(made[f"{key}_keep"], dtype=bool)
            weight = np.ones(keep.shape, dtype=np.float32) if keep.all() else (~keep).astype(np.float32)
            made[key] = torch.from_numpy(model.stabilise(np.asarray(made[key], dtype=np.float32)))
            made[f"{key}_weight"] = torch.from_numpy(weight)
        return made
