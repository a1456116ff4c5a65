"""Researchers' volumes (NIfTI, MetaImage, NRRD): SimpleITK reads and writes them, geometry and all."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from dae_pacs.durable import flush_file, move_into_place
from dae_pacs.errors import PixelError, UnsupportedImageError
from dae_pacs.image.keep import find_keep
from dae_pacs.image.layout import Layout

SUFFIXES = (".nii", ".nii.gz", ".mha", ".nrrd")
_DIMENSIONS = (2, 3)


@dataclass(frozen=True)
class Volume:
    """A volume in the values that its file declares, with what SimpleITK knows of its place in space."""

    values: NDArray[np.float32]
    """(slices, rows, columns) float32; one slice for a plane picture."""
    keep: NDArray[np.bool_]
    """The same shape, True where the voxel must come back untouched."""
    stored: NDArray[np.generic]
    """The same shape as stored."""
    image: sitk.Image
    """Origin, spacing, direction and metadata come from here when the result is written."""


def is_volume(path: Path) -> bool:
    """Tell a volume by its name: NIfTI has no mark in its first bytes when it is compressed."""
    return path.name.lower().endswith(SUFFIXES)


def read(path: Path) -> Volume:
    """Read a volume of one grey value a voxel.

    Raises:
        PixelError: broken or cut off.
        UnsupportedImageError: several values a voxel, or more than three dimensions.
    """
    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError as error:
        raise PixelError(
            f"{path} can't be read as a volume; it is broken, cut off or no such file"
        ) from error
    if image.GetNumberOfComponentsPerPixel() != 1 or image.GetDimension() not in _DIMENSIONS:
        raise UnsupportedImageError(
            f"{path} holds {image.GetNumberOfComponentsPerPixel()} values a voxel in {image.GetDimension()} "
            "dimensions: only grey volumes and planes can be denoised"
        )
    stored = np.asarray(sitk.GetArrayFromImage(image))
    if stored.dtype.kind not in "iuf":
        raise UnsupportedImageError(f"{path} has voxels of type {stored.dtype}: only real numbers")
    stored = stored.reshape(-1, *stored.shape[-2:])
    keep = np.stack([find_keep(plane, _layout(stored), None) for plane in stored])
    values = np.where(np.isfinite(stored), stored, 0).astype(np.float32)
    return Volume(values=values, keep=keep, stored=stored, image=image)


def write(volume: Volume, values: NDArray[np.float32], path: Path) -> None:
    """Write processed values in the source's type, place and format, onto stable storage.

    Where a value is the one that was read, or the voxel is kept, the stored one comes back as it was.

    Raises:
        OSError: the disk refuses.
        PixelError: another shape, or values that are not finite.
    """
    if values.shape != volume.values.shape or not np.isfinite(values).all():
        raise PixelError(
            f"The processed volume is {values.shape}, {volume.values.shape} finite numbers were expected"
        )
    dtype = volume.stored.dtype
    new = values.astype(np.float64)
    if dtype.kind in "iu":
        new = np.clip(np.rint(new), np.iinfo(dtype.name).min, np.iinfo(dtype.name).max)
    cells = np.where(volume.keep | (values == volume.values), volume.stored, new.astype(dtype))
    shape = tuple(reversed(volume.image.GetSize()))
    image = sitk.GetImageFromArray(cells.reshape(shape))
    image.CopyInformation(volume.image)
    for key in volume.image.GetMetaDataKeys():
        image.SetMetaData(key, volume.image.GetMetaData(key))
    part = path.with_name(f".part.{path.name}")  # the suffix tells SimpleITK the format
    try:
        sitk.WriteImage(image, str(part), useCompression=path.name.lower().endswith(".gz"))
        with part.open("rb") as file:
            flush_file(file)
        move_into_place(part, path)
    except RuntimeError as error:
        raise OSError(f"{path}: the volume could not be written; check the disk's room and rights") from error
    finally:
        part.unlink(missing_ok=True)


def _layout(stored: NDArray[np.generic]) -> Layout:
    _, rows, columns = stored.shape
    bits = 8 * stored.dtype.itemsize
    keyword = "FloatPixelData" if stored.dtype.kind == "f" else "PixelData"
    return Layout(
        keyword, len(stored), rows, columns, bits, bits, bits - 1, is_signed=stored.dtype.kind == "i"
    )
