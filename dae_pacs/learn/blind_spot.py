"""Noise2Void: hide some pixels, and learn to tell them from their surroundings.

Krull et al., CVPR 2019: one of its neighbours stands in for a hidden pixel. Or, after N2V2 (Höck et al., ECCV
2022 workshops), the median of its surroundings does. N2V2 takes away the network's residual path as well; to
a network that has one a median is nearly right as it stands, so that what it learns is to pass pixels on.

Noise2Void needs no model of the noise, but assumes that it is independent from pixel to pixel, and does
without a pixel's own value.
"""

import math
from collections.abc import Hashable, Mapping
from typing import Any, Literal

import numpy as np
import torch
from monai.transforms import MapTransform, RandomizableTransform
from numpy.typing import NDArray

from dae_pacs.errors import TrainingError


class BlindSpot(RandomizableTransform, MapTransform):
    """Hide pixels of a stabilised patch; the `label` is the patch, and where it counts.

    Reads `<key>`, (1, rows, columns) float32. Writes `<key>`, the same shape, its hidden pixels replaced; and
    `label`, (2, rows, columns) float32: the patch as it was, and 1 where a pixel is hidden, for
    `losses.MaskedSquaredError`.

    An item with `seed` is not random: the same pixels each time, for validation.

    Args:
        keys: of stabilised patches.
        share: of the pixels that are hidden, one in each box of 1 / share pixels, so that they are spread.
        window_px: side of the surroundings that give the stand-in; odd.
        stand_in: "neighbour" draws one pixel of the surroundings, "median" takes their median.
    """

    def __init__(
        self,
        keys: Any,
        *,
        share: float = 0.02,
        window_px: int = 5,
        stand_in: Literal["neighbour", "median"] = "neighbour",
    ) -> None:
        MapTransform.__init__(self, keys)
        RandomizableTransform.__init__(self, prob=1.0)
        if not (0 < share <= 0.25 and window_px >= 3 and window_px % 2):
            raise TrainingError(
                f"share is {share} and window_px {window_px}; expected a share above 0 and at most 0.25, and "
                "an odd window of at least 3."
            )
        if stand_in not in ("neighbour", "median"):
            raise TrainingError(f"stand_in is {stand_in!r}; expected neighbour or median.")
        self.share = float(share)
        self.window_px = int(window_px)
        self.stand_in = stand_in

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Hide pixels of each patch and add `label`."""
        made = dict(data)
        for key in self.key_iterator(made):
            rng = np.random.default_rng(int(made["seed"]) if "seed" in made else self.R.randint(1 << 31))
            patch = np.asarray(made[key], dtype=np.float32)[0]
            rows, columns = draw_places((patch.shape[0], patch.shape[1]), self.share, rng)
            hidden, mask = patch.copy(), np.zeros_like(patch)
            around = surroundings(patch, (rows, columns), self.window_px)
            if self.stand_in == "median":
                hidden[rows, columns] = np.median(around, axis=1)
            else:
                drawn = rng.integers(around.shape[1], size=len(around))
                hidden[rows, columns] = around[np.arange(len(around)), drawn]
            mask[rows, columns] = 1.0
            made[key] = torch.from_numpy(hidden)[None]
            made["label"] = torch.from_numpy(np.stack([patch, mask]))
        return made


def draw_places(
    shape: tuple[int, int], share: float, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Draw one pixel in each square box of about 1 / share pixels; a box at the border may miss.

    Args:
        shape: (rows, columns) of the patch.
        share: of the pixels.
        rng: numpy generator.

    Returns:
        Rows and columns, (places,) each; at least one place.
    """
    side = math.sqrt(1 / share)
    grid = [np.arange(max(1, math.ceil(length / side))) for length in shape]
    corners = np.stack(np.meshgrid(*grid, indexing="ij"), axis=-1).reshape(-1, 2)
    places = np.floor((corners + rng.uniform(size=corners.shape)) * side).astype(np.int64)
    inside = places[(places < shape).all(axis=1)]
    if not len(inside):
        inside = np.array([[rng.integers(length) for length in shape]])
    return inside[:, 0], inside[:, 1]


def surroundings(
    patch: NDArray[np.float32], places: tuple[NDArray[np.int64], NDArray[np.int64]], window_px: int
) -> NDArray[np.float32]:
    """Give the pixels around each place without the place itself; mirrored at the border.

    Args:
        patch: (rows, columns) float32, larger than half a window.
        places: rows and columns.
        window_px: side of the surroundings, odd.

    Returns:
        (places, window_px² - 1) float32.
    """
    half = window_px // 2
    windows = np.lib.stride_tricks.sliding_window_view(
        np.pad(patch, half, mode="reflect"), (window_px, window_px)
    )
    return np.delete(windows[places].reshape(len(places[0]), -1), window_px**2 // 2, axis=1)
