"""Grey JPEG, PNG and TIFF files: in as float32, out in the same format and depth (Pillow)."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from dae_pacs.durable import durable_file
from dae_pacs.errors import PixelError, UnsupportedImageError
from dae_pacs.image.keep import find_keep
from dae_pacs.image.layout import Layout

_FORMATS = frozenset({"JPEG", "PNG", "TIFF", "MPO"})
# Pillow's modes of one grey channel, and what their cells are.
_GREY_MODES = {"L": "u1", "I;16": "u2", "I;16L": "u2", "I;16B": "u2"}
# Modes whose channels may all be the same grey; the alpha channel must be opaque.
_COLOUR_MODES = frozenset({"RGB", "LA", "RGBA"})
# Larger than any detector or film scanner; beyond it a small file would take gigabytes.
LARGEST_PIXELS = 400_000_000
# JPEG without known tables: next to no further loss.
_JPEG_QUALITY = 95


@dataclass(frozen=True)
class Raster:
    """A grey picture and what its file said beside the pixels."""

    values: NDArray[np.float32]
    """(1, rows, columns) float32, grey."""
    keep: NDArray[np.bool_]
    """The same shape, True where the pixel must come back untouched."""
    dtype: np.dtype[np.generic]
    format: str
    """"JPEG", "PNG" or "TIFF"."""
    stored: NDArray[np.generic]
    """The same shape as stored."""
    extras: Mapping[str, Any] = field(default_factory=dict)
    """What Pillow writes back: exif, dpi, icc_profile, qtables, compression; and the channels as `mode`.

    Any: each of Pillow's writers takes its own types.
    """


def read(path: Path) -> Raster:
    """Read a grey picture. EXIF orientation is kept as a tag, never applied: pixels stay where they are.

    Raises:
        UnsupportedImageError: colour, palette, several pages, or another format.
        PixelError: broken, cut off, or larger than `LARGEST_PIXELS`.
    """
    try:
        with warnings.catch_warnings():
            # Pillow's own limit warns at a size that radiographs reach; ours is checked before decoding.
            warnings.simplefilter("ignore")
            with Image.open(path) as image:
                _check(image, path)
                image.load()
                return _raster(image, path)
    except UnidentifiedImageError as error:
        raise UnsupportedImageError(
            f"{path} is no picture that can be read: JPEG, PNG and TIFF can"
        ) from error
    except Image.DecompressionBombError as error:
        raise PixelError(f"{path} promises more than {LARGEST_PIXELS} pixels; it is not read") from error
    except (OSError, SyntaxError, ValueError, EOFError, MemoryError) as error:
        raise PixelError(f"{path} can't be decoded: {error}; it is broken or cut off") from error


def _check(image: Image.Image, path: Path) -> None:
    if image.format not in _FORMATS:
        raise UnsupportedImageError(f"{path} is {image.format}: only JPEG, PNG and TIFF")
    if image.width * image.height > LARGEST_PIXELS:
        raise PixelError(
            f"{path} is {image.width} x {image.height}, more than {LARGEST_PIXELS} pixels; it is not read"
        )
    if image.format in ("TIFF", "PNG") and getattr(image, "n_frames", 1) > 1:
        raise UnsupportedImageError(
            f"{path} holds {getattr(image, 'n_frames', 1)} pages: only single pictures"
        )
    if image.mode not in _GREY_MODES and image.mode not in _COLOUR_MODES:
        raise UnsupportedImageError(f"{path} has pixels of mode {image.mode}: only grey of 8 or 16 bits")


def _raster(image: Image.Image, path: Path) -> Raster:
    cells = np.asarray(image)
    mode = image.mode
    if mode in _COLOUR_MODES:
        cells = _grey_of(cells, mode, path)
    stored = np.array(cells, dtype="u1" if mode in _COLOUR_MODES else _GREY_MODES[mode])[np.newaxis]
    bits = 8 * stored.dtype.itemsize
    layout = Layout("PixelData", 1, image.height, image.width, bits, bits, bits - 1, is_signed=False)
    return Raster(
        values=stored.astype(np.float32),
        keep=find_keep(stored[0], layout, None)[np.newaxis],
        dtype=stored.dtype,
        format="JPEG" if image.format == "MPO" else str(image.format),
        stored=stored,
        extras=_extras(image),
    )


def _grey_of(cells: NDArray[np.generic], mode: str, path: Path) -> NDArray[np.generic]:
    """Take one channel of a picture whose channels are all the same."""
    if mode in ("LA", "RGBA") and int(cells[..., -1].min()) != 255:
        raise UnsupportedImageError(f"{path} is partly transparent: only opaque grey pictures")
    if mode != "LA" and not (cells[..., :1] == cells[..., :3]).all():
        raise UnsupportedImageError(f"{path} is in colour: only grey pictures")
    return cells[..., 0]


def _extras(image: Image.Image) -> dict[str, Any]:
    """Collect what the writer of the same format can put back."""
    extras: dict[str, Any] = {"mode": image.mode}
    exif = image.getexif()
    if len(exif) and image.format != "TIFF":
        extras["exif"] = image.info.get("exif") or exif.tobytes()
    extras.update({key: image.info[key] for key in ("dpi", "icc_profile") if image.info.get(key)})
    if image.format in ("JPEG", "MPO"):
        extras["qtables"] = getattr(image, "quantization", None)
    if image.format == "TIFF":
        orientation = exif.get(_ORIENTATION)
        extras["tiffinfo"] = {_ORIENTATION: orientation} if orientation else {}
        compression = image.info.get("compression")
        # JPEG inside TIFF would lose more; all others of Pillow's are lossless.
        extras["compression"] = None if compression in ("jpeg", "tiff_jpeg", "webp", None) else compression
    return extras


_ORIENTATION = 0x0112


def write(raster: Raster, values: NDArray[np.float32], path: Path) -> None:
    """Write processed values in the source's format and depth, onto stable storage.

    Where a value is the one that was read, or the pixel is kept, the cell is the one that was read.

    Args:
        raster: what `read` gave.
        values: the shape of `raster.values`, float32.
        path: where to.

    Raises:
        PixelError: another shape, or values that are not finite.
    """
    if values.shape != raster.values.shape or not np.isfinite(values).all():
        raise PixelError(
            f"The processed picture is {values.shape}, {raster.values.shape} finite numbers were expected"
        )
    cells = np.clip(np.rint(values), 0, 255 if raster.dtype == np.uint8 else 65535).astype(raster.dtype)
    cells = np.where(raster.keep | (values == raster.values), raster.stored, cells)[0]
    with durable_file(path) as file:
        _image(cells, raster.extras.get("mode", "L")).save(file, format=raster.format, **_options(raster))


def _image(cells: NDArray[np.generic], mode: str) -> Image.Image:
    if mode not in _COLOUR_MODES:
        return Image.fromarray(cells)
    grey = Image.fromarray(cells)
    opaque = Image.new("L", grey.size, 255)
    channels = {"RGB": [grey] * 3, "LA": [grey, opaque], "RGBA": [grey, grey, grey, opaque]}
    return Image.merge(mode, channels[mode])


def _options(raster: Raster) -> dict[str, Any]:
    options = {key: value for key, value in raster.extras.items() if key != "mode" and value}
    if raster.format == "JPEG":
        tables = options.pop("qtables", None)
        options.update({"qtables": tables} if tables else {"quality": _JPEG_QUALITY})
        options["subsampling"] = 0
    return options
