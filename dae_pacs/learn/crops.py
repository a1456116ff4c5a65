"""Cut patches out of large images without looking at every pixel of them."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
from monai.transforms import MapTransform, Randomizable

TRIES = 50
"""Draws of a place until one lies on the image; with half of it padding all but one in 10^15 are found."""


class CutPatches(Randomizable, MapTransform):
    """Cut patches of one size at random places, the same places under each key.

    The centre of each lies where the weight is above 0. MONAI's RandWeightedCropd promises the same, but adds
    up all weights for each image it cuts: on 5 megapixels that takes as long as the step it is for.

    Args:
        keys: of (channels, rows, columns) arrays, at least as large as a patch.
        w_key: of the weight, (1, rows, columns).
        side_px: of a patch.
        count: of patches.
    """

    def __init__(self, keys: Any, *, w_key: str, side_px: int, count: int) -> None:
        MapTransform.__init__(self, keys)
        self.w_key = w_key
        self.side_px = side_px
        self.count = count

    def __call__(self, data: Mapping[Hashable, Any]) -> list[dict[Hashable, Any]]:
        """Give one item per patch; what is not cut is shared."""
        weight = data[self.w_key][0]
        patches = []
        for _ in range(self.count):
            rows, columns = (slice(start, start + self.side_px) for start in self._place(weight))
            patch = dict(data)
            for key in self.key_iterator(patch):
                patch[key] = data[key][..., rows, columns]
            patches.append(patch)
        return patches

    def _place(self, weight: Any) -> Sequence[int]:
        """Draw the first row and column of a patch."""
        half = self.side_px // 2
        room = [length - self.side_px + 1 for length in weight.shape]
        for _ in range(TRIES):
            row, column = (int(self.R.randint(most)) for most in room)
            if weight[row + half, column + half] > 0:
                return row, column
        on_image = np.argwhere(np.asarray(weight) > 0)  # a speck in a large field
        if not len(on_image):
            return row, column
        chosen = on_image[self.R.randint(len(on_image))]
        return [int(min(max(place - half, 0), most - 1)) for place, most in zip(chosen, room, strict=True)]
