"""Pairs of a noisy and a clean image: the clean one becomes what the network should make of the noisy one."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from monai.transforms import MapTransform
from numpy.typing import NDArray

from dae_pacs.errors import InputError, PixelError, TrainingError
from dae_pacs.learn.reader import Frames, read_frames
from dae_pacs.learn.stabilised import noise_of
from dae_pacs.noise.model import NoiseModel


@dataclass(frozen=True)
class References:
    """The clean images of a folder, found by the names of the noisy ones."""

    folder: Path
    images: Path
    """The folder of the noisy ones."""
    files: frozenset[Path]
    """All files under `folder`."""
    by_stem: Mapping[Path, tuple[Path, ...]]
    """The same, by their relative names without suffix."""

    @classmethod
    def under(cls, folder: Path, *, images: Path) -> Self:
        """List a folder.

        Raises:
            TrainingError: there is no such folder.
        """
        if not folder.is_dir():
            raise TrainingError(
                f"{folder} is not a folder. Give --reference_dir a folder of clean images, each under the "
                "name of its noisy one."
            )
        by_stem: dict[Path, tuple[Path, ...]] = {}
        files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
        for path in files:
            stem = path.relative_to(folder).with_suffix("")
            by_stem[stem] = (*by_stem.get(stem, ()), path)
        return cls(folder, images, frozenset(files), by_stem)

    def holds(self, path: Path) -> bool:
        """Tell whether a file is one of the clean images."""
        return path.resolve().is_relative_to(self.folder.resolve())

    def of(self, path: Path, frames: Frames) -> Path:
        """Find the clean image of a noisy one, and see that the two fit.

        Raises:
            InputError: there is none, it can't be read, or it has another shape.
        """
        relative = path.relative_to(self.images)
        exact = self.folder / relative
        found = (exact,) if exact in self.files else self.by_stem.get(relative.with_suffix(""), ())
        if len(found) != 1:
            raise InputError(
                f"{len(found)} files under {self.folder} are named {relative.with_suffix('')}; expected one"
            )
        clean = read_frames(found[0]).values
        if clean.shape != frames.values.shape or not np.isfinite(clean).all():
            raise PixelError(
                f"its reference {found[0]} is {clean.shape}; expected {frames.values.shape} finite values"
            )
        return found[0]


class ReferenceAsLabel(MapTransform):
    """Turn a clean image, on the scale of its noisy one, into `label`: what stabilised noise averages to.

    Reads `<key>`, (1, rows, columns) in the modality's unit, and the item's `noise`. Writes `label`, the same
    shape, float32, in units of sigma; `<key>` and `<key>_keep` are taken out.
    """

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Replace each reference."""
        made = dict(data)
        model = noise_of(str(made["noise"]))
        for key in self.key_iterator(made):
            clean = np.asarray(made.pop(key), dtype=np.float32)
            made.pop(f"{key}_keep", None)
            made["label"] = torch.from_numpy(expected_stabilised(clean, model))
        return made


def expected_stabilised(clean: NDArray[np.float32], model: NoiseModel) -> NDArray[np.float32]:
    """Give E[z | x], which the unbiased inverse maps back to x; z(x) itself it would not.

    One step of a fixed point suffices, the difference being a small share of sigma except at a few counts.

    Args:
        clean: x, any shape, float32, in the model's unit.
        model: of the noise.

    Returns:
        The same shape, float32.
    """
    return model.stabilise(2 * clean - model.invert(model.stabilise(clean)))
