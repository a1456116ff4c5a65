"""Neighbouring slices of a series and frames of a cine run: nearly the same image, with a noise of its own.

After Neighboring Slice Noise2Noise (Zhou et al., arXiv 2411.10831), whose idea it is to weigh each pixel by
whether the smoothed slices agree. The noise of the two must be independent: that of overlapping slices, and
of frames averaged over time, is not.
"""

from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.transforms import MapTransform, RandomizableTransform
from torch.nn.functional import avg_pool2d, pad

from dae_pacs.errors import TrainingError
from dae_pacs.image.series import scan
from dae_pacs.learn.data import Data, Item
from dae_pacs.learn.reader import LoadFramed, is_raster
from dae_pacs.learn.stabilised import noise_of
from dae_pacs.noise.spectrum import Spectrum, amplitude

WINDOWS_PX = (3, 7)
"""Local means over the smaller see fine structure that moved, over the larger faint shades that changed."""
AGREE_SIGMA = 3.0
"""Means of the same signal differ by more in one pixel of 370; a lower bound would pick targets by their
noise, and so teach the network to keep some."""
SPECTRUM_SIDE_PX = 64
"""Of the plane on which the variance of local means is computed: several times the noise's correlation."""

Place = tuple[str, int]
"""(path, frame)"""


def pair_slices(data: Data) -> Data:
    """Give each item its next slice or frame: `neighbour` (path) and `neighbour_frame`.

    What has none is left out. A training image is never paired with a held-out one; a held-out one may be
    checked against any.

    Args:
        data: as `find_data` or `measure_noise` gives it.

    Raises:
        TrainingError: no training image has a neighbour.
    """
    items = (*data.training, *data.validation)
    order = _order(items)
    next_of = {here: there for run in order for here, there in pairwise(run)}
    previous_of = {there: here for here, there in next_of.items()}
    training_files = {str(item["image"]) for item in data.training}
    training = [
        _paired(item, next_of[_place(item)])
        for item in data.training
        if _place(item) in next_of and next_of[_place(item)][0] in training_files
    ]
    validation = [
        _paired(item, there)
        for item in data.validation
        if (there := next_of.get(_place(item)) or previous_of.get(_place(item)))
    ]
    if not training or not validation:
        raise TrainingError(
            f"{len(training)} images to train on and {len(validation)} held out have a neighbour, of "
            f"{len(items)}; at least one of each is needed. neighbour_slices needs whole CT or MR series, or "
            "cine runs; single images are learned from by the recipe recorrupt."
        )
    return Data(tuple(training), tuple(validation), data.problems)


class LoadPaired(MapTransform):
    """Load an item's own frame under each key and its neighbour's, as `LoadFramed` does, under `neighbour`.

    Writes `<key>` and `neighbour`, (1, rows, columns) float32, and `<key>_keep` and `neighbour_keep`, bool.
    """

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Replace both paths by pixels."""
        made = dict(data)
        for key in self.key_iterator(made):
            own = LoadFramed(keys=[key])(made)
            other = LoadFramed(keys=["neighbour"])({**made, "frame": made["neighbour_frame"]})
            made = {**own, "neighbour": other["neighbour"], "neighbour_keep": other["neighbour_keep"]}
        return made


class WeighAgreement(MapTransform):
    """Mark where a stabilised image and its stabilised `neighbour` show the same: `<key>_agreement`.

    A pixel counts where the means of both over each window differ by at most `agree_sigma` standard
    deviations of that difference, which follow from the noise's spectrum; and where neither is padding or
    clipped.

    Reads `<key>`, `neighbour`, their `_weight` (from `Stabilised`) and `noise`. Writes `<key>_agreement`,
    (1, rows, columns) float32, 0 or 1; and the same as `<key>_weight` (all 1 where nothing agrees), so that
    patches are drawn where there is something to learn from.

    Args:
        keys: of the image.
        agree_sigma: bound on the difference of means.
        windows_px: sides of the boxes, odd.
    """

    def __init__(
        self, keys: Any, *, agree_sigma: float = AGREE_SIGMA, windows_px: Sequence[int] = WINDOWS_PX
    ) -> None:
        super().__init__(keys)
        self.agree_sigma = float(agree_sigma)
        self.windows_px = tuple(int(side) for side in windows_px)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Add the agreement of each key with the neighbour."""
        made = dict(data)
        spectrum = noise_of(str(made["noise"])).spectrum
        for key in self.key_iterator(made):
            difference = torch.as_tensor(made[key]) - torch.as_tensor(made["neighbour"])
            agreement = torch.as_tensor(made[f"{key}_weight"]) * torch.as_tensor(made["neighbour_weight"])
            for side_px in self.windows_px:
                bound = self.agree_sigma * np.sqrt(2 * variance_of_mean(side_px, spectrum))
                agreement = agreement * (local_mean(difference, side_px).abs() <= bound)
            made[f"{key}_agreement"] = agreement
            made[f"{key}_weight"] = agreement if agreement.any() else torch.ones_like(agreement)
        return made


class NeighbourAsLabel(RandomizableTransform, MapTransform):
    """Make `label` of the neighbour and the agreement; half of the time the two images change places.

    Reads `<key>`, `neighbour` and `<key>_agreement`, (1, rows, columns) each. Writes `<key>`, and `label`,
    (2, rows, columns) float32: the target, and the weight of each pixel, for `losses.MaskedSquaredError`.

    An item with `seed` is not random: its own image is the input.
    """

    def __init__(self, keys: Any) -> None:
        MapTransform.__init__(self, keys)
        RandomizableTransform.__init__(self, prob=0.5)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Replace each image and add `label`."""
        made = dict(data)
        self.randomize(None)
        for key in self.key_iterator(made):
            seen, wanted = torch.as_tensor(made[key]), torch.as_tensor(made["neighbour"])
            if "seed" not in made and self._do_transform:
                seen, wanted = wanted, seen
            made[key] = seen
            made["label"] = torch.cat([wanted, torch.as_tensor(made[f"{key}_agreement"])])
        return made


def local_mean(image: torch.Tensor, side_px: int) -> torch.Tensor:
    """Average (1, rows, columns) over a box around each pixel, mirrored at the border."""
    half = side_px // 2
    padded = pad(image[None], (half, half, half, half), mode="reflect")
    return avg_pool2d(padded, side_px, stride=1)[0]


def variance_of_mean(side_px: int, spectrum: Spectrum) -> float:
    """Give the variance of the mean over a box of noise of standard deviation 1: 1 / side² if it is white.

    It is the mean over frequency of power times the box's own response (a Dirichlet kernel) squared.
    """
    power = amplitude((SPECTRUM_SIDE_PX, SPECTRUM_SIDE_PX), spectrum).astype(np.float64) ** 2
    box = np.zeros(SPECTRUM_SIDE_PX)
    box[:side_px] = 1 / side_px
    rows = np.abs(np.fft.fft(box)) ** 2
    columns = rows[: power.shape[1]]
    twice = np.full(power.shape[1], 2.0)  # rfft keeps one of each pair of columns, but for the first and last
    twice[[0, -1]] = 1.0
    return float((power * rows[:, None] * columns * twice).sum() / SPECTRUM_SIDE_PX**2)


def _order(items: Sequence[Item]) -> list[list[Place]]:
    """List the frames of each run in order: all those of a file of several; a series' files in space."""
    runs: list[list[Place]] = []
    single: dict[str, list[Path]] = defaultdict(list)
    files = {str(item["image"]): item for item in items}
    for name, item in files.items():
        if int(item["frames"]) > 1:
            runs.append([(name, frame) for frame in range(int(item["frames"]))])
        elif not is_raster(Path(name)):
            single[str(item["acquisition"])].append(Path(name))
    for paths in single.values():
        runs += [_same_shape(series.paths, files) for series in scan(paths).series]
    return runs


def _same_shape(paths: Sequence[Path], files: Mapping[str, Item]) -> list[Place]:
    """List the slices of a series' most frequent shape; a localizer among them would fit none."""
    shapes = [(files[str(path)]["rows"], files[str(path)]["pixels"]) for path in paths]
    usual = max(set(shapes), key=shapes.count)
    return [(str(path), 0) for path, shape in zip(paths, shapes, strict=True) if shape == usual]


def _place(item: Item) -> Place:
    return str(item["image"]), int(item["frame"])


def _paired(item: Item, neighbour: Place) -> Item:
    return {**item, "neighbour": neighbour[0], "neighbour_frame": neighbour[1]}
