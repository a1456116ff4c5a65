"""Compress frames without loss: which stored types each coding can hold exactly, and how it writes them."""

import logging
import struct
from typing import Literal

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from pydicom import uid

from dae_pacs.errors import PixelError
from dae_pacs.image.layout import Layout

logger = logging.getLogger(__name__)

Compression = Literal["uncompressed", "jpeg2000", "jpegls", "rle"]
SYNTAXES: dict[Compression, str] = {
    "uncompressed": str(uid.ExplicitVRLittleEndian),
    "jpeg2000": str(uid.JPEG2000Lossless),
    "jpegls": str(uid.JPEGLSLossless),
    "rle": str(uid.RLELossless),
}
_COMPRESSIONS = {syntax: name for name, syntax in SYNTAXES.items()}
# OpenJPEG computes in 32 bits; with more it no longer gives the values back (measured on random frames).
_WIDEST_JPEG_2000 = 24
# T.87 section A.1: 2 to 16 bits a sample.
_JPEG_LS_BITS = range(2, 17)
# PS3.5 section G.5: fifteen segments, one for each byte of a cell; wider cells than 32 bits are no images.
_WIDEST_RLE = 32
_RLE_HEADER_SEGMENTS = 15


def reason_not_compressed(layout: Layout, compression: Compression) -> str | None:
    """Say why a coding can't hold an image exactly; None where it can."""
    if compression == "uncompressed":
        return None
    if layout.is_float:
        return "floating point pixels have no compressed form in DICOM"
    if compression == "jpeg2000" and layout.bits_stored > _WIDEST_JPEG_2000:
        return f"JPEG 2000 is exact here up to {_WIDEST_JPEG_2000} bits, not for {layout.bits_stored}"
    if compression == "jpegls" and (layout.bits_stored not in _JPEG_LS_BITS or layout.bits_allocated > 16):
        return f"JPEG-LS holds 2 to 16 bits in cells of 8 or 16, not {layout.bits_stored}"
    if compression == "rle" and layout.bits_allocated > _WIDEST_RLE:
        return f"RLE holds cells up to {_WIDEST_RLE} bits, not {layout.bits_allocated}"
    return None


def choose_syntax(layout: Layout, compression: Compression) -> str:
    """Return the transfer syntax for an image; where the coding can't hold it, uncompressed, and log why."""
    reason = reason_not_compressed(layout, compression)
    if reason is not None:
        logger.info("left uncompressed", extra={"compression": compression, "reason": reason})
        return SYNTAXES["uncompressed"]
    return SYNTAXES[compression]


def encode_frame(stored: NDArray[np.generic], layout: Layout, transfer_syntax_uid: str) -> bytes:
    """Compress one frame to an even number of bytes.

    Args:
        stored: (rows, columns) in `layout.dtype`, within the bits stored.
        layout: of the image.
        transfer_syntax_uid: of a coding that can hold it.

    Raises:
        PixelError: the codec gives up.
    """
    frame = np.ascontiguousarray(stored)
    try:
        match _COMPRESSIONS[transfer_syntax_uid]:
            case "jpeg2000":
                # The codec takes the bits told for more than half of a cell only, so the cell must be narrow.
                narrow = np.dtype(f"{frame.dtype.kind}{_narrowest_bytes(layout.bits_stored)}")
                data = imagecodecs.jpeg2k_encode(
                    frame.astype(narrow),
                    level=0,
                    codecformat="j2k",
                    bitspersample=layout.bits_stored,
                    reversible=True,
                )
            case "jpegls":
                # The codec knows no sign: DICOM puts two's complement into it (PS3.5 section 8.2.3).
                data = imagecodecs.jpegls_encode(frame.view(f"u{frame.itemsize}"))
            case _:
                data = _encode_rle(frame)
    except (RuntimeError, ValueError) as error:
        raise PixelError(f"A frame can't be compressed: {error}; store it uncompressed") from error
    return bytes(data) + b"\0" * (len(data) % 2)


def _narrowest_bytes(bits: int) -> int:
    return next(width for width in (1, 2, 4) if bits <= 8 * width)


def _encode_rle(frame: NDArray[np.generic]) -> bytes:
    """Encode PS3.5 Annex G: a segment for each byte of a cell, the most significant first, row by row."""
    width = frame.itemsize
    planes = frame.astype(frame.dtype.newbyteorder(">")).view(np.uint8).reshape(*frame.shape, width)
    segments = []
    for place in range(width):
        # A copy, whose strides are plain even where an axis has one place only: the codec looks at them.
        segment = bytes(imagecodecs.packbits_encode(planes[..., place].copy(), axis=-1))
        segments.append(segment + b"\0" * (len(segment) % 2))
    offsets = [64]
    for segment in segments[:-1]:
        offsets.append(offsets[-1] + len(segment))
    padded = offsets + [0] * (_RLE_HEADER_SEGMENTS - width)
    return struct.pack("<16L", width, *padded) + b"".join(segments)
