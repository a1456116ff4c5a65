"""Make references from real images: half the size, which takes most of their own noise, on a common scale."""

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.transforms import MapTransform
from numpy.typing import NDArray

from dae_pacs.noise.estimate import MAD_TO_SIGMA

RANGE_PERCENTILES = (0.5, 99.5)
"""What counts as black and white of a reference; a few hot pixels must not set the scale."""


class MakeReferenced(MapTransform):
    """Average blocks of pixels and scale the rest to 0..1.

    Reads `<key>` and `<key>_keep`, (1, rows, columns) each. Writes the reduced `<key>`; `<key>_keep`, True
    where any pixel of the block was; `<key>_weight`, float32, for drawing patches where there is an image;
    and `<key>_sigma`, the noise that the reference has left, on its own scale.

    Args:
        keys: of the images.
        shrink: side of the averaged blocks; 1 leaves the size.
    """

    def __init__(self, keys: Any, *, shrink: int = 2) -> None:
        super().__init__(keys)
        self.shrink = shrink

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Replace each image by its reference."""
        made = dict(data)
        for key in self.key_iterator(made):
            values = shrink_blocks(np.asarray(made[key])[0], self.shrink)
            keep = shrink_blocks(np.asarray(made[f"{key}_keep"])[0].astype(np.float32), self.shrink) > 0
            shown = values[~keep] if (~keep).any() else values.ravel()
            low, high = np.percentile(shown, RANGE_PERCENTILES)
            values = (values - low) / max(float(high - low), float(np.finfo(np.float32).tiny))
            weight = (~keep).astype(np.float32) if (~keep).any() else np.ones_like(values)
            made[key] = torch.from_numpy(values.astype(np.float32))[None]
            made[f"{key}_keep"] = torch.from_numpy(keep)[None]
            made[f"{key}_weight"] = torch.from_numpy(weight)[None]
            made[f"{key}_sigma"] = rough_sigma(values)
        return made


def shrink_blocks(plane: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """Average side×side blocks of (rows, columns); what does not fill a block is cut off."""
    rows, columns = (length // side * side for length in plane.shape)
    blocks = plane[:rows, :columns].reshape(rows // side, side, columns // side, side)
    return np.asarray(blocks.mean(axis=(1, 3)), dtype=np.float32)


def rough_sigma(plane: NDArray[np.float32]) -> float:
    """Estimate the white part of a (rows, columns) image's noise from its finest diagonal detail.

    The 2×2 Haar diagonal has the noise's own variance and no response to ramps (Donoho & Johnstone,
    Biometrika 1994); its median absolute deviation ignores edges.
    """
    rows, columns = (length // 2 * 2 for length in plane.shape)
    even = plane[:rows, :columns]
    detail = (even[::2, ::2] - even[1::2, ::2] - even[::2, 1::2] + even[1::2, 1::2]) / 2
    return float(MAD_TO_SIGMA * np.median(np.abs(detail)))
