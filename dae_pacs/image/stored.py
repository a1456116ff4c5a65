"""Unpack stored values from pixel cells, and pack them again (PS3.5 section 8.1)."""

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray
from pydicom import uid
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset

from dae_pacs.errors import PixelError, UnsupportedImageError
from dae_pacs.image import peek
from dae_pacs.image.codecs import COMPRESSED, NATIVE, Frame, decode_frame
from dae_pacs.image.frames import find_frames
from dae_pacs.image.layout import LARGEST_DECODED_BYTES, LARGEST_FRAME_PIXELS, Layout
from dae_pacs.image.span import Span, span_of
from dae_pacs.image.streams import StreamInfo

_JPEG_LS = frozenset({uid.JPEGLSLossless, uid.JPEGLSNearLossless})


CellReader = Callable[[int, int], NDArray[np.generic]]
"""Reads the frames from the first number up to, not with, the second: whole pixel cells with whatever the
bits around the stored value hold, (frames, rows, columns), unsigned integers as wide as Bits Allocated, or
floats for float pixel data. The result may be a read-only view."""


def open_cells(ds: Dataset, layout: Layout) -> CellReader:
    """Hold an object's pixel data against its header, and return what reads them.

    Raises:
        PixelError: the pixel data contradict the header.
        UnsupportedImageError: no codec for the transfer syntax.
    """
    elem = peek.element(ds, layout.keyword)
    span = span_of(elem)
    if elem is None or span is None or not span.size_bytes:
        raise PixelError("The pixel data are empty; the object must be sent again")
    syntax = transfer_syntax(ds)
    if syntax in NATIVE:
        _check_size(span.size_bytes, layout)
        little = (
            elem.is_little_endian if isinstance(elem, RawDataElement) else syntax != uid.ExplicitVRBigEndian
        )
        is_words = str(elem.VR) == "OW"
        if layout.bits_allocated == 8 and is_words and not little:
            return partial(_read_swapped_bytes, span, layout)
        return partial(_read_native, span, layout, "<" if little else ">")
    if syntax not in COMPRESSED:
        raise UnsupportedImageError(
            f"transfer syntax {peek.uid_name(syntax)} is not one that can be decoded here"
        )
    if layout.size_bytes > LARGEST_DECODED_BYTES:
        raise PixelError(
            f"The header promises {layout.size_bytes >> 20} MiB of pixels, more than the limit of "
            f"{LARGEST_DECODED_BYTES >> 20} MiB for a compressed object"
        )
    if layout.rows * layout.columns > LARGEST_FRAME_PIXELS:
        raise PixelError(
            f"The header promises frames of {layout.rows} x {layout.columns} pixels, more than the limit of "
            f"{LARGEST_FRAME_PIXELS >> 20} million for a compressed frame"
        )
    frames = find_frames(ds, span, count=layout.frames)
    has_overlays = bool(embedded_overlays(ds))

    def read(first: int, stop: int) -> NDArray[np.generic]:
        shape = (layout.rows, layout.columns)
        cells = np.empty((stop - first, *shape), dtype=f"u{layout.bits_allocated // 8}")
        for index in range(first, stop):
            decoded = decode_frame(
                frames.read(index), syntax, shape=shape, bytes_per_cell=layout.bits_allocated // 8
            )
            cells[index - first] = _conform(decoded, layout, syntax, has_overlays=has_overlays)
        return cells

    return read


def transfer_syntax(ds: Dataset) -> str:
    """Return the transfer syntax of an object in memory; explicit little endian where it says nothing."""
    meta = getattr(ds, "file_meta", None)
    return (peek.string(meta, "TransferSyntaxUID") if meta is not None else "") or str(
        uid.ExplicitVRLittleEndian
    )


def embedded_overlays(ds: Dataset) -> tuple[int, ...]:
    """Return the groups of overlays that lie in unused bits of the cells (retired, PS3.3-2004 C.9.2)."""
    # Not `in ds`, which makes a tag of each number first.
    elements = ds._dict
    return tuple(
        group
        for group in range(0x6000, 0x6100, 2)
        if (group << 16 | 0x0102) in elements and (group << 16 | 0x3000) not in elements
    )


def _check_size(found: int, layout: Layout) -> None:
    expected = layout.size_bytes
    if found < expected:
        raise PixelError(
            f"The header promises {expected} bytes of pixels ({layout.frames} frames of {layout.rows} x "
            f"{layout.columns}), the object holds {found}; it is incomplete or its header is wrong"
        )
    if found - expected >= expected // layout.frames and found - expected > 1:
        raise PixelError(
            f"The object holds {found} bytes of pixels where its header promises {expected}: "
            "whole frames would be lost, so it is not touched"
        )


def _read_native(span: Span, layout: Layout, order: str, first: int, stop: int) -> NDArray[np.generic]:
    frame = layout.size_bytes // layout.frames
    data = span.read(first * frame, (stop - first) * frame)
    kind = "f" if layout.is_float else "u"
    cells = np.frombuffer(data, dtype=f"{order}{kind}{layout.bits_allocated // 8}")
    return cells.astype(cells.dtype.newbyteorder("="), copy=False).reshape(-1, layout.rows, layout.columns)


def _read_swapped_bytes(span: Span, layout: Layout, first: int, stop: int) -> NDArray[np.generic]:
    """Bytes travel in 16-bit words, which big endian turned round (PS3.5 annex A.3), across frames too."""
    frame = layout.rows * layout.columns
    start, end = first * frame, stop * frame
    word_start, word_end = start - start % 2, min(end + end % 2, span.size_bytes)
    data = span.read(word_start, word_end - word_start)
    words = np.frombuffer(data + b"\0" * (len(data) % 2), dtype=">u2")
    swapped = words.astype("<u2").view("u1")[start - word_start : end - word_start]
    return swapped.reshape(-1, layout.rows, layout.columns)


def _conform(frame: Frame, layout: Layout, syntax: str, *, has_overlays: bool) -> NDArray[np.generic]:
    """Turn what a codec gave into cells of the header's width, in two's complement.

    JPEG 2000 knows a sign, which writers get wrong; JPEG-LS and JPEG know none. Where stream and header
    disagree about the sign, the header is right and the stream's precision says where the sign bit is.
    """
    info, cells = frame.info, frame.cells
    width = layout.bits_allocated // 8
    if info is None:
        return cells
    is_j2k = info.marker == 0x51
    if is_j2k and info.is_signed and not layout.is_signed and int(cells.min()) < 0:
        raise PixelError(
            f"Pixel Representation says unsigned, the compressed values reach down to {int(cells.min())}; "
            "the header is wrong, the object is not touched"
        )
    if (is_j2k and info.is_signed != layout.is_signed) or (syntax in _JPEG_LS and layout.is_signed):
        cells = _field(cells.view(f"u{cells.dtype.itemsize}"), 0, info.precision, is_signed=layout.is_signed)
    wide = cells.astype(f"{cells.dtype.kind}{max(width, cells.dtype.itemsize)}", copy=False)
    if info.precision > layout.bits_stored and layout.high_bit == layout.bits_stored - 1 and not has_overlays:
        wide = _within_bits_stored(wide, layout, info)
    return wide.view(f"u{wide.dtype.itemsize}").astype(f"u{width}", copy=False)


def _within_bits_stored(cells: NDArray[np.generic], layout: Layout, info: StreamInfo) -> NDArray[np.generic]:
    """Handle values that Bits Stored can't hold: masking them would turn the brightest into the darkest.

    A lossy codec overshoots a little, which is clipped; anything more means that the header is wrong.
    """
    as_signed = cells.view(f"i{cells.dtype.itemsize}") if layout.is_signed else cells
    lowest, highest = int(as_signed.min()), int(as_signed.max())
    if lowest >= layout.lowest and highest <= layout.highest:
        return cells
    slack = ((layout.highest - layout.lowest) >> 4) if info.is_lossy else 0
    if lowest < layout.lowest - slack or highest > layout.highest + slack:
        raise PixelError(
            f"Bits Stored {layout.bits_stored} can't hold the compressed values, {lowest} to {highest} "
            f"with {info.precision} bits; the header is wrong, the object is not touched"
        )
    return np.asarray(np.clip(as_signed, layout.lowest, layout.highest)).view(cells.dtype)


def extract(cells: NDArray[np.generic], layout: Layout) -> NDArray[np.generic]:
    """Take the stored values out of whole cells.

    Args:
        cells: unsigned integers as wide as Bits Allocated, any shape; floats are returned as they are.
        layout: of the image.
    """
    if layout.is_float:
        return cells
    shift = layout.high_bit + 1 - layout.bits_stored
    if shift == 0 and layout.bits_stored == layout.bits_allocated:
        return cells.view(layout.dtype)
    as_values = cells.view(layout.dtype)
    if shift == 0 and int(as_values.max()) <= layout.highest and int(as_values.min()) >= layout.lowest:
        return as_values
    return _field(cells, shift, layout.bits_stored, is_signed=layout.is_signed)


def _field(cells: NDArray[np.generic], shift: int, bits: int, *, is_signed: bool) -> NDArray[np.generic]:
    """Cut a field of bits out of unsigned cells and extend its sign."""
    width = 8 * cells.dtype.itemsize
    up, down = np.array(width - bits - shift, cells.dtype), np.array(width - bits, cells.dtype)
    moved = np.left_shift(cells, up)
    if not is_signed:
        return np.asarray(np.right_shift(moved, down))
    signed = moved.view(f"i{cells.dtype.itemsize}")
    return np.asarray(np.right_shift(signed, np.array(width - bits, signed.dtype)))


def pack(stored: NDArray[np.generic], layout: Layout) -> bytes:
    """Write stored values into little endian cells, right-aligned (PS3.5 section 8.1.1)."""
    return np.ascontiguousarray(stored, dtype=layout.dtype.newbyteorder("<")).tobytes()
