"""Comparison pictures of `dae-pacs denoise --side-by-side`: beside each result, before, after and removed."""

from pathlib import Path

from dae_pacs.image import files, picture
from dae_pacs.image.pixels import decode
from dae_pacs.node.rasters import read_image

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
    """Draw the middle plane of a picture or a volume before and after."""
    before, after = read_image(source).values, read_image(result).values
    middle = len(before) // 2
    path = result.with_name(result.name + SUFFIX)
    picture.side_by_side(before[middle], after[middle], path, window=None, caption=result.name)
    return path
