"""Single frames of an object, for viewers: as they are stored, or uncompressed (PS3.18 10.4.1.1.6)."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from dae_pacs.errors import InputError, RequestError
from dae_pacs.image import peek
from dae_pacs.image.files import open_object
from dae_pacs.image.frames import Frames, find_frames
from dae_pacs.image.pixels import Image, open_image
from dae_pacs.image.span import Span, span_of
from dae_pacs.image.stored import transfer_syntax

EXPLICIT: Final = str(ExplicitVRLittleEndian)
_NATIVE: Final = frozenset({EXPLICIT, str(ImplicitVRLittleEndian)})
_PIXELS: Final = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
_PIECE_BYTES: Final = 1 << 18


@dataclass(frozen=True)
class Stored:
    """An object whose frames are read one by one."""

    ds: Dataset
    span: Span
    count: int
    transfer_syntax_uid: str


def open_frames(path: Path) -> Stored:
    """Look at an object's pixel data.

    Raises:
        RequestError: it has none.
        InputError: it can't be read.
    """
    ds = open_object(path)
    elem = next((found for name in _PIXELS if (found := peek.element(ds, name)) is not None), None)
    span = span_of(elem)
    if span is None or not span.size_bytes:
        raise RequestError("the instance has no pixel data, and so no frames")
    return Stored(ds, span, max(1, peek.integer(ds, "NumberOfFrames") or 1), transfer_syntax(ds))


def is_native(stored: Stored) -> bool:
    """Tell whether the frames are uncompressed, in little endian."""
    return stored.transfer_syntax_uid in _NATIVE


def as_stored(stored: Stored, numbers: tuple[int, ...]) -> Iterator[Iterator[bytes]]:
    """Give frames as they are stored, each in pieces.

    Args:
        stored: of the object.
        numbers: of the frames, from 1 on.

    Raises:
        InputError: the pixel data contradict the header.
    """
    if is_native(stored):
        size = _frame_bytes(stored)
        for number in numbers:
            yield _pieces(stored.span, (number - 1) * size, size)
        return
    frames: Frames = find_frames(stored.ds, stored.span, count=stored.count)
    for number in numbers:
        yield iter((frames.read(number - 1),))


def uncompressed(stored: Stored, numbers: tuple[int, ...]) -> Iterator[Iterator[bytes]]:
    """Give frames uncompressed, in little endian, each in pieces.

    Raises:
        UnsupportedImageError: in colour, and compressed.
        InputError: the pixel data contradict the header, or don't decode.
    """
    if is_native(stored):
        yield from as_stored(stored, numbers)
        return
    image: Image = open_image(stored.ds)
    for number in numbers:
        cells = image.read_cells(number - 1, number)
        yield iter((cells.astype(cells.dtype.newbyteorder("<"), copy=False).tobytes(),))


def can_be_uncompressed(stored: Stored) -> bool:
    """Tell whether `uncompressed` can give the frames."""
    if is_native(stored):
        return True
    try:
        open_image(stored.ds)
    except InputError:
        return False
    return True


def uncompressed_bytes(stored: Stored) -> int:
    """Say how much room all frames take uncompressed, as the header has it."""
    values = [peek.integer(stored.ds, name) or 0 for name in ("Rows", "Columns", "BitsAllocated")]
    samples = peek.integer(stored.ds, "SamplesPerPixel") or 1
    return stored.count * samples * values[0] * values[1] * values[2] // 8


def _frame_bytes(stored: Stored) -> int:
    values = [
        peek.integer(stored.ds, name) or 0 for name in ("Rows", "Columns", "SamplesPerPixel", "BitsAllocated")
    ]
    bits = values[0] * values[1] * (values[2] or 1) * values[3]
    if bits % 8 or not bits or stored.span.size_bytes < bits // 8 * stored.count:
        raise RequestError("the instance's frames do not begin at whole bytes, or are not all there")
    return bits // 8


def _pieces(span: Span, start: int, size: int) -> Iterator[bytes]:
    with span.reader() as read:
        for offset in range(0, size, _PIECE_BYTES):
            yield read(start + offset, min(_PIECE_BYTES, size - offset))
