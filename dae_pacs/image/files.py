"""Read, write and copy DICOM objects."""

import hashlib
from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from dae_pacs.durable import durable_file
from dae_pacs.errors import InputError, NotDicomError, UnsupportedImageError
from dae_pacs.image.elements import encode, exact_copy
from dae_pacs.image.parse import PIXEL_TAGS, parse
from dae_pacs.image.part10 import file_meta, file_start
from dae_pacs.image.pixel_file import empty_pixels, pixel_file
from dae_pacs.image.pixels import open_image
from dae_pacs.image.stored import transfer_syntax

_OFFSET_TABLES = frozenset({Tag("ExtendedOffsetTable"), Tag("ExtendedOffsetTableLengths")})


def read(path: Path) -> Dataset:
    """Read a whole object; its elements stay the bytes that the file holds.

    Raises:
        NotDicomError: it can't be opened, is no DICOM object, or is cut off.
    """
    return _parse(path, is_whole=True)


def open_object(path: Path) -> Dataset:
    """Read an object whose pixel data stay in the file: their element carries a `Span` of it.

    Raises:
        NotDicomError: it can't be opened, is no DICOM object, or is cut off.
    """
    return _parse(path, is_whole=False)


def _parse(path: Path, *, is_whole: bool) -> Dataset:
    try:
        with path.open("rb") as file:
            return parse(file, with_pixels=True, path=None if is_whole else path)
    except OSError as error:
        raise NotDicomError(f"{path} can't be read: {error.strerror or error}") from error
    except InputError as error:
        raise NotDicomError(f"{path}: {error}") from error


def write(ds: Dataset, path: Path) -> None:
    """Write an object as a Part 10 file onto stable storage.

    In explicit VR little endian, or compressed as it is.

    Raises:
        OSError: the disk refuses.
        UnsupportedImageError: its pixel data are big endian; `derive` makes little endian ones.
    """
    if transfer_syntax(ds) == ExplicitVRBigEndian:
        raise UnsupportedImageError("A big endian object is not written as it is; copy its file instead")
    is_implicit = transfer_syntax(ds) == ImplicitVRLittleEndian
    explicit = exact_copy(ds, lambda _ds, _tag: True) if is_implicit else ds
    with durable_file(path) as file:
        file.write(file_start(ds))
        for part in encode(explicit):
            file.write(part)


def plain_copy(source: Path, target: Path) -> None:
    """Write an object uncompressed, for a destination that does not take the compressed one.

    In explicit VR little endian, its cells bit for bit and all else as it is.

    Raises:
        InputError: the source is no grey image that can be decoded.
        OSError: the disk refuses.
    """
    image = open_image(open_object(source))
    layout = image.layout
    header = exact_copy(image.ds, lambda _ds, tag: tag not in PIXEL_TAGS and tag not in _OFFSET_TABLES)
    header.file_meta = file_meta(header, ExplicitVRLittleEndian)
    pixels = empty_pixels(image.ds, layout)
    header._dict[pixels.tag] = pixels
    with pixel_file(target, header, with_extremes=False) as add:
        for first, stop in layout.runs():
            add(image.read_cells(first, stop).view(layout.dtype))


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal.

    Raises:
        NotDicomError: it can't be read.
    """
    try:
        with path.open("rb", buffering=0) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise NotDicomError(f"{path} can't be read: {error.strerror or error}") from error
