"""What was found in a folder before anything is learned from it: counts, kinds and noise, never names."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dae_pacs.errors import InputError
from dae_pacs.image import peek
from dae_pacs.image.header import read_header
from dae_pacs.learn.data import Data, Item
from dae_pacs.learn.reader import is_raster
from dae_pacs.noise.model import NoiseModel
from dae_pacs.noise.spectrum import amplitude

CORRELATED_FROM = 0.1
"""Correlation of neighbours from which noise is called correlated: white noise estimates at 0.00 to 0.05."""
SIDE_PX = 64
NUMBER = re.compile(r"\d+([.,]\d+)*")
PATH_LIKE = re.compile(r"\S*/\S*\w")
RASTER_FORMATS = {b"\xff\xd8": "JPEG", b"\x89P": "PNG"}


@dataclass(frozen=True)
class Side:
    """One side of the split, counted."""

    files: int
    frames: int
    groups: int
    """Patients, or files where the header names none."""


@dataclass(frozen=True)
class NoiseGroup:
    """The noise of the images that share it."""

    files: int
    model: NoiseModel

    @property
    def sigmas(self) -> tuple[float, float]:
        """Its standard deviation at the lowest and at the highest level, in the images' own unit."""
        low, high = self.model.sigma_at(np.array([self.model.levels[0], self.model.levels[-1]]))
        return float(low), float(high)

    @property
    def correlation(self) -> float:
        """Of a pixel with its neighbours in the row and in the column, averaged."""
        plane = np.fft.irfft2(amplitude((SIDE_PX, SIDE_PX), self.model.spectrum).astype(float) ** 2)
        return float((plane[0, 1] + plane[1, 0]) / (2 * plane[0, 0]))

    @property
    def is_correlated(self) -> bool:
        """Whether neighbours share so much that methods for independent pixels fail."""
        return self.correlation >= CORRELATED_FROM


def count(items: Sequence[Item]) -> Side:
    """Count one side of the split."""
    return Side(
        files=len({item["image"] for item in items}),
        frames=len(items),
        groups=len({item["group"] for item in items}),
    )


def kinds(items: Iterable[Item]) -> dict[str, int]:
    """Count the files by modality (DICOM) or format (pictures), the most frequent first."""
    files = dict.fromkeys(str(item["image"]) for item in items)
    return dict(Counter(_kind(Path(path)) for path in files).most_common())


def noise_groups(data: Data) -> tuple[NoiseGroup, ...]:
    """Give the noise models that were measured, those of most files first; () where none was."""
    files: dict[str, set[str]] = {}
    for item in (*data.training, *data.validation):
        if "noise" in item:
            files.setdefault(str(item["noise"]), set()).add(str(item["image"]))
    groups = [NoiseGroup(len(paths), NoiseModel.from_json(text)) for text, paths in files.items()]
    return tuple(sorted(groups, key=lambda group: -group.files))


def reasons(data: Data) -> dict[str, int]:
    """Count the files that were left out by the reason, told without the files' names.

    Reasons that differ only in their numbers count as one, told with the numbers of the first.
    """
    told = [_without_name(reason, path) for path, reason in data.problems]
    kinds_of = [NUMBER.sub("0", reason) for reason in told]
    first = dict(reversed(list(zip(kinds_of, told, strict=True))))
    return {first[kind]: number for kind, number in Counter(kinds_of).most_common()}


def _kind(path: Path) -> str:
    try:
        with path.open("rb") as file:
            if is_raster(path):
                return RASTER_FORMATS.get(file.read(2), "TIFF")
            return peek.string(read_header(file), "Modality") or "DICOM"
    except (InputError, OSError):  # it was read when it was found; that it is gone since ends nothing
        return "unknown"


def _without_name(reason: str, path: str) -> str:
    """Cut names of files out of a reason, so that equal reasons are equal."""
    plain = reason.removeprefix(f"{path}: ")
    for name in (path, Path(path).name, Path(path).stem):
        plain = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", "the file", plain)
    return PATH_LIKE.sub("another file", plain)
