"""Read a compressed frame's own header, so that it can be held against the DICOM header before decoding.

JPEG and JPEG lossless: ITU-T T.81 Annex B. JPEG-LS: T.87 Annex C. JPEG 2000 and HTJ2K: T.800 Annex A.
"""

import struct
from dataclasses import dataclass

from dae_pacs.errors import PixelError

_JPEG_START = b"\xff\xd8"
_JPEG_END = b"\xff\xd9"
# Fill bytes, the pad to an even length, and a little for writers that pad to words.
_LONGEST_PADDING = 16
_J2K_START = b"\xff\x4f\xff\x51"
_JP2_SIGNATURE = b"jP  "
# Start-of-frame markers: SOF0..SOF15 without DHT, JPG, DAC; and JPEG-LS's SOF55.
_FRAME_MARKERS = frozenset({*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC})
_LOSSLESS_MARKERS = frozenset({0xC3, 0xC7, 0xCB, 0xCF})
_SCAN, _JPEG_LS, _COD = 0xDA, 0xF7, 0xFF52


@dataclass(frozen=True)
class StreamInfo:
    """What a compressed frame says of itself."""

    rows: int
    columns: int
    samples: int
    precision: int
    is_signed: bool
    is_lossy: bool
    """True where the coding certainly lost something; what might have lost nothing counts as not."""
    marker: int
    """The start-of-frame marker of the JPEG family, 0x51 for JPEG 2000."""


def read_stream(data: bytes) -> StreamInfo:
    """Read the header of one compressed frame, whose `codestream` this is.

    Raises:
        PixelError: no known stream, or one cut off within its header.
    """
    try:
        if data[:2] == _JPEG_START:
            return _read_jpeg(data)
        if data[:4] == _J2K_START:
            return _read_j2k(data, 0)
    except (struct.error, IndexError) as error:
        raise PixelError(
            "A compressed frame is cut off within its own header; the object must be sent again"
        ) from error
    raise PixelError(
        f"A compressed frame starts with {data[:4].hex() or 'nothing'}, "
        "which is neither JPEG, JPEG-LS nor JPEG 2000; the transfer syntax or the object is wrong"
    )


def codestream(data: bytes) -> bytes:
    """Return a frame without the JP2 file that some writers put around it (T.800 Annex I).

    What is read and what is decoded must be the same: a box may hold another header for show.

    Raises:
        PixelError: a JP2 file without a codestream.
    """
    if data[4:8] != _JP2_SIGNATURE:
        return data
    position = 0
    while position + 8 <= len(data):
        length, kind = struct.unpack_from(">L4s", data, position)
        begin = position + 8
        if length == 1 and begin + 8 <= len(data):
            (length,) = struct.unpack_from(">Q", data, begin)
            begin += 8
        end = position + length if length else len(data)
        if kind == b"jp2c":
            return data[begin:end]
        if end <= position:
            break
        position = end
    raise PixelError("A compressed frame is a JP2 file without a codestream; the object must be sent again")


def _read_jpeg(data: bytes) -> StreamInfo:
    if _JPEG_END not in data[-_LONGEST_PADDING:]:
        # libjpeg fills what is missing with grey and says nothing; CharLS may search it for a minute.
        raise PixelError("A compressed JPEG frame ends before its end marker; the object must be sent again")
    position, frame, near = 2, None, 0
    while frame is None or near is None or position:
        if data[position] != 0xFF:
            raise PixelError("A JPEG frame's markers are damaged; the object must be sent again")
        marker = data[position + 1]
        if marker == 0xFF or 0xD0 <= marker <= 0xD7 or marker == 0x01:
            # Fill bytes and markers without a length.
            position += 1 if marker == 0xFF else 2
            continue
        (length,) = struct.unpack_from(">H", data, position + 2)
        if marker in _FRAME_MARKERS and frame is None:
            precision, rows, columns, samples = struct.unpack_from(">BHHB", data, position + 4)
            frame = (marker, precision, rows, columns, samples)
        elif marker == _SCAN:
            # JPEG-LS keeps its tolerated error NEAR behind the scan's component list.
            near = data[position + 5 + 2 * data[position + 4]]
            break
        position += 2 + length
    if frame is None:
        raise PixelError("A JPEG frame has no frame header; the object must be sent again")
    marker, precision, rows, columns, samples = frame
    is_lossy = near > 0 if marker == _JPEG_LS else marker not in _LOSSLESS_MARKERS
    return StreamInfo(rows, columns, samples, precision, is_signed=False, is_lossy=is_lossy, marker=marker)


def _read_j2k(data: bytes, start: int) -> StreamInfo:
    siz = start + 4
    (length,) = struct.unpack_from(">H", data, siz)
    x1, y1, x0, y0 = struct.unpack_from(">4L", data, siz + 4)
    (samples,) = struct.unpack_from(">H", data, siz + 36)
    depth = data[siz + 38]
    return StreamInfo(
        rows=y1 - y0,
        columns=x1 - x0,
        samples=samples,
        precision=(depth & 0x7F) + 1,
        is_signed=bool(depth & 0x80),
        is_lossy=_has_irreversible_wavelet(data, siz + length),
        marker=0x51,
    )


def _has_irreversible_wavelet(data: bytes, position: int) -> bool:
    """Tell the 9-7 wavelet, which always loses, by the main header's COD segment (T.800 table A.20)."""
    while position + 4 <= len(data):
        marker, length = struct.unpack_from(">HH", data, position)
        if marker == _COD:
            return data[position + 13] == 0
        if not 0xFF00 <= marker < 0xFF90:
            return False
        position += 2 + length
    return False
