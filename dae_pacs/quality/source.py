"""One plane of an image as the node sees it, and as the node would store it again."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dae_pacs.errors import InputError
from dae_pacs.image import files, peek, raster, volume
from dae_pacs.image.picture import window_of
from dae_pacs.image.pixels import Image, decode_run, encode, open_image

Settle = Callable[[NDArray[np.float32]], NDArray[np.float32]]


@dataclass(frozen=True)
class Plane:
    """One plane, decoded."""

    values: NDArray[np.float32]
    """(rows, columns) float32, in the modality's unit."""
    keep: NDArray[np.bool_]
    """The same shape, True where the pixel must come back untouched."""
    modality: str
    unit: str
    window: tuple[float, float] | None
    """Centre and width, where the header has them."""
    settle: Settle
    """Gives denoised values as they are after storing: rounded, clipped, compressed again."""


@dataclass(frozen=True)
class Source:
    """A file whose planes are read as they are asked for."""

    path: Path
    count: int
    read: Callable[[int], Plane]


def open_source(path: Path, *, is_dicom: bool) -> Source:
    """Open a DICOM object, a picture or a volume.

    Raises:
        InputError: it is broken, or not a grey image.
    """
    if is_dicom:
        image = open_image(files.open_object(path))
        return Source(path, image.layout.frames, lambda index: _dicom_plane(image, index))
    if volume.is_volume(path):
        found = volume.read(path)
        return Source(path, len(found.values), lambda index: _volume_plane(found, index))
    return Source(path, 1, lambda _: _raster_plane(path))


def _dicom_plane(image: Image, index: int) -> Plane:
    decoded = decode_run(image, index, index + 1)

    def settle(values: NDArray[np.float32]) -> NDArray[np.float32]:
        return decoded.rescale.to_values(encode(values[np.newaxis], decoded)[0], 0)

    return Plane(
        decoded.values[0],
        decoded.keep[0],
        modality=peek.string(image.ds, "Modality") or "without modality",
        unit=decoded.unit,
        window=_window(image),
        settle=settle,
    )


def _window(image: Image) -> tuple[float, float] | None:
    try:
        return window_of(image.ds)
    except InputError:
        return None


def _raster_plane(path: Path) -> Plane:
    read = raster.read(path)

    def settle(values: NDArray[np.float32]) -> NDArray[np.float32]:
        with tempfile.TemporaryDirectory() as folder:
            stored = Path(folder) / path.name
            raster.write(read, values[np.newaxis], stored)
            return np.asarray(raster.read(stored).values[0])

    return Plane(read.values[0], read.keep[0], modality="picture", unit="grey", window=None, settle=settle)


def _volume_plane(found: volume.Volume, index: int) -> Plane:
    kept, before, stored = found.keep[index], found.values[index], found.stored[index]

    def settle(values: NDArray[np.float32]) -> NDArray[np.float32]:
        if stored.dtype.kind == "f":
            return values
        ends = np.iinfo(stored.dtype.name)
        rounded = np.clip(np.rint(values), ends.min, ends.max)
        return np.asarray(np.where(kept, before, rounded), dtype=np.float32)

    return Plane(before, kept, modality="volume", unit="value", window=None, settle=settle)
