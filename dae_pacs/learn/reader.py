"""Read images for training through the decoder that serves them, so both see the same numbers.

MONAI's own readers transpose axes, invert MONOCHROME1 or drop the rescale (DESIGN.md), so none is used.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data.image_reader import ImageReader
from monai.transforms import MapTransform
from numpy.typing import NDArray

from dae_pacs.errors import InputError, UnsupportedImageError
from dae_pacs.image import files, pixels, raster, support

RASTER_STARTS = (b"\xff\xd8", b"\x89PNG", b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")
"""JPEG, PNG, TIFF and BigTIFF in both byte orders."""


@dataclass(frozen=True)
class Frames:
    """Every frame of one file, decoded."""

    values: NDArray[np.float32]
    """(frames, rows, columns), in the modality's unit, or grey for a raster image."""
    keep: NDArray[np.bool_]
    """The same shape, True where a pixel is padding, clipped or collimated."""
    dtype: np.dtype[np.generic]
    """Of the cells as stored."""


def read_frames(path: Path) -> Frames:
    """Decode a JPG, PNG, TIFF or DICOM file; rows stay rows and columns stay columns.

    Raises:
        InputError: the file is neither a readable image nor one that we denoise.
    """
    if is_raster(path):
        picture = raster.read(path)
        return Frames(picture.values, picture.keep, picture.dtype)
    ds = files.read(path)
    reason = support.reason_not_denoised(ds)
    if reason is not None:
        raise UnsupportedImageError(f"{path}: {reason}")
    decoded = pixels.decode(ds)
    return Frames(decoded.values, decoded.keep, decoded.stored.dtype)


def is_raster(path: Path) -> bool:
    """Tell JPG, PNG and TIFF by their first bytes; anything else may be DICOM, also without its preamble.

    Raises:
        InputError: the file can't be read.
    """
    try:
        with path.open("rb") as file:
            start = file.read(132)
    except OSError as error:
        raise InputError(f"{path} can't be read: {error.strerror}. Check its permissions.") from error
    # A DICOM file's preamble may be a TIFF header (PS3.10 section 7.1), so its own mark counts first.
    return start[128:] != b"DICM" and start.startswith(RASTER_STARTS)


class PixelReader(ImageReader):
    """MONAI's ImageReader interface over `read_frames`, for recipes that use LoadImage.

    The array is (frames, rows, columns); frames stand where MONAI expects channels.
    """

    def verify_suffix(self, filename: Sequence[Any] | Any) -> bool:
        """Accept every name: the content decides, since DICOM files often have no suffix."""
        return filename is not None

    def read(self, data: Sequence[Any] | Any, **_: Any) -> list[Frames]:
        """Decode one file or several of equal rows and columns."""
        paths = [data] if isinstance(data, str | Path) else data
        return [read_frames(Path(path)) for path in paths]

    def get_data(self, img: list[Frames]) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Join the frames of all files along the first axis."""
        values = np.concatenate([frames.values for frames in img])
        return values, {"original_channel_dim": 0, "spatial_shape": np.array(values.shape[1:])}


class LoadFramed(MapTransform):
    """Load one frame of the file under each key, and beside it `<key>_keep`.

    Both become (1, rows, columns) tensors, float32 and bool. The number of the frame stands under `frame`.
    """

    def __call__(self, data: Mapping[Any, Any]) -> dict[Any, Any]:
        """Replace each path by its pixels."""
        loaded = dict(data)
        for key in self.key_iterator(loaded):
            frames = read_frames(Path(loaded[key]))
            frame = int(loaded.get("frame", 0))
            loaded[f"{key}_keep"] = torch.from_numpy(frames.keep[frame : frame + 1].copy())
            loaded[key] = torch.from_numpy(frames.values[frame : frame + 1].copy())
        return loaded
