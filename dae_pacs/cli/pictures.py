"""Comparison pictures of `dae-pacs denoise --side-by-side`: beside each result, before, after and removed."""

from pathlib import Path

from dae_pacs.image import files, picture, raster
from dae_pacs.image.pixels import decode

SUFFIX = ".comparison.png"


def compare_objects(source: Path, derived: Path) -> Path:
    """Draw the middle frame of a DICOM object before and after, in its own window."""
    ds = files.read(source)
    before, after = decode(ds), decode(files.read(derived))
    middle = len(before.values) // 2
    path = derived.with_name(derived.name + SUFFIX)
    picture.side_by_side(
        before.values[middle],
        after.values[middle],
        path,
        window=picture.window_of(ds),
        caption=derived.name,
    )
    return path


def compare_images(source: Path, result: Path) -> Path:
    """Draw an image before and after."""
    path = result.with_name(result.name + SUFFIX)
    picture.side_by_side(
        raster.read(source).values[0],
        raster.read(result).values[0],
        path,
        window=None,
        caption=result.name,
    )
    return path
