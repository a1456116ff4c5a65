"""Decode one compressed frame, by imagecodecs.

imagecodecs releases the interpreter's lock and is the fastest of the free codecs measured (DESIGN.md).
`register` lends the same functions to pydicom, for whoever decodes through it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from pydicom import uid
from pydicom.pixels.decoders import base

from dae_pacs.errors import PixelError, UnsupportedImageError
from dae_pacs.image.peek import uid_name
from dae_pacs.image.streams import StreamInfo, codestream, read_stream

_PLUGIN = "dae-pacs"
# The function of imagecodecs that decodes each transfer syntax; docs/codecs.md says why it is this one.
DECODERS: Mapping[str, str] = MappingProxyType(
    {
        uid.JPEGBaseline8Bit: "jpeg8_decode",
        uid.JPEGExtended12Bit: "jpeg8_decode",
        uid.JPEGLossless: "ljpeg_decode",
        uid.JPEGLosslessSV1: "ljpeg_decode",
        uid.JPEGLSLossless: "jpegls_decode",
        uid.JPEGLSNearLossless: "jpegls_decode",
        uid.JPEG2000Lossless: "jpeg2k_decode",
        uid.JPEG2000: "jpeg2k_decode",
        uid.HTJ2KLossless: "jpeg2k_decode",
        uid.HTJ2KLosslessRPCL: "jpeg2k_decode",
        uid.HTJ2K: "jpeg2k_decode",
        uid.RLELossless: "packbits_decode",
    }
)
COMPRESSED = frozenset(DECODERS)
_STREAMS = COMPRESSED - {uid.RLELossless}
NATIVE = frozenset(
    {
        uid.ImplicitVRLittleEndian,
        uid.ExplicitVRLittleEndian,
        uid.ExplicitVRBigEndian,
        uid.DeflatedExplicitVRLittleEndian,
    }
)
_SEQUENTIAL_MARKERS, _J2K_MARKER = frozenset({0xC0, 0xC1}), 0x51
# By the stream's own start-of-frame marker.
_DECODERS_BY_MARKER = {
    0xC0: "jpeg8_decode",
    0xC1: "jpeg8_decode",
    0xC3: "ljpeg_decode",
    0xF7: "jpegls_decode",
    _J2K_MARKER: "jpeg2k_decode",
}


@dataclass(frozen=True)
class Frame:
    """One decoded frame."""

    cells: NDArray[np.generic]
    """(rows, columns) integers as the codec gave them."""
    info: StreamInfo | None
    """None for RLE, whose frames have no header of their own."""


def decode_frame(
    data: bytes, transfer_syntax_uid: str, *, shape: tuple[int, int], bytes_per_cell: int
) -> Frame:
    """Decode one grey frame, after holding its own header against what the DICOM header says.

    Args:
        data: the frame's compressed bytes.
        transfer_syntax_uid: one of `COMPRESSED`.
        shape: rows and columns of the DICOM header.
        bytes_per_cell: Bits Allocated / 8.

    Raises:
        PixelError: the stream is broken or contradicts the header.
        UnsupportedImageError: no codec for this transfer syntax.
    """
    if transfer_syntax_uid == uid.RLELossless:
        return Frame(_decode_rle(data, shape=shape, bytes_per_cell=bytes_per_cell), None)
    if transfer_syntax_uid not in _STREAMS:
        name = uid_name(transfer_syntax_uid)
        raise UnsupportedImageError(f"transfer syntax {name} is not one that can be decoded here")
    data = codestream(data)
    info = read_stream(data)
    if (info.rows, info.columns, info.samples) != (*shape, 1):
        raise PixelError(
            f"The header says {shape[0]} x {shape[1]} pixels of one sample, the compressed frame "
            f"{info.rows} x {info.columns} of {info.samples}; one of the two is wrong"
        )
    try:
        cells = np.asarray(_codec(info)(data))
    except (RuntimeError, ValueError, MemoryError, OSError) as error:
        raise PixelError(
            f"A compressed frame does not decode: {error}; the object must be sent again"
        ) from error
    if cells.shape != shape or cells.dtype.kind not in "ui":
        raise PixelError(
            f"A compressed frame decoded to {cells.shape} {cells.dtype} instead of {shape} integers"
        )
    return Frame(cells, info)


def _codec(info: StreamInfo) -> Any:
    """Choose by what the stream is, not by what the transfer syntax calls it: senders mix them up.

    Any: imagecodecs ships no types.
    """
    name = _DECODERS_BY_MARKER.get(info.marker)
    if name is None:
        raise PixelError(
            f"JPEG process SOF{info.marker - 0xC0} is no DICOM transfer syntax (PS3.5 section 8.2.1)"
        )
    return getattr(imagecodecs, name)


def _decode_rle(data: bytes, *, shape: tuple[int, int], bytes_per_cell: int) -> NDArray[np.generic]:
    """Decode PS3.5 Annex G: a header of 16 numbers, then one packed segment for each byte of a cell."""
    count = int.from_bytes(data[:4], "little")
    offsets = np.frombuffer(data[4:64].ljust(60, b"\0"), dtype="<u4")[:bytes_per_cell].astype(np.int64)
    if len(data) < 64 or count != bytes_per_cell or np.any(np.diff(offsets) <= 0) or offsets[-1] >= len(data):
        raise PixelError(
            f"An RLE frame names {count} segments where {bytes_per_cell} were expected; the object is broken"
        )
    size = shape[0] * shape[1]
    cells = np.empty((size, bytes_per_cell), dtype=np.uint8)
    ends = [*offsets[1:].tolist(), len(data)]
    for place, (start, end) in enumerate(zip(offsets.tolist(), ends, strict=True)):
        try:
            plane = np.frombuffer(imagecodecs.packbits_decode(data[start:end]), dtype=np.uint8)
        except (RuntimeError, ValueError) as error:
            raise PixelError(
                f"An RLE segment does not decode: {error}; the object must be sent again"
            ) from error
        if plane.size < size:
            raise PixelError(
                f"An RLE segment holds {plane.size} of {size} pixels; the object must be sent again"
            )
        # The first segment carries the most significant byte.
        cells[:, bytes_per_cell - 1 - place] = plane[:size]
    return cells.view(f"<u{bytes_per_cell}").reshape(shape)


def register() -> None:
    """Lend our codecs to pydicom's decoders, ahead of none that are there; safe to repeat."""
    for syntax in _STREAMS:
        decoder = getattr(base, _decoder_name(syntax))
        if _PLUGIN not in decoder.available_plugins:
            decoder.add_plugin(_PLUGIN, (__name__, "_decode_for_pydicom"))


def _decoder_name(syntax: str) -> str:
    return f"{uid.UID(syntax).keyword}Decoder"


def is_available(syntax: str) -> bool:
    """Say to pydicom whether we decode a transfer syntax."""
    return syntax in _STREAMS


# What pydicom would tell a user to install for a plugin that is not available.
DECODER_DEPENDENCIES = dict.fromkeys(_STREAMS, ("imagecodecs",))


def _decode_for_pydicom(data: bytes, runner: base.DecodeRunner) -> bytearray:
    """Decode for pydicom: it checks and shapes the result by itself."""
    data = codestream(data)
    info = read_stream(data)
    decoded = np.asarray(_codec(info)(data))
    runner.set_option("bits_allocated", 8 * decoded.dtype.itemsize)
    if info.samples > 1:
        runner.set_option("planar_configuration", 0)
        if info.marker == _J2K_MARKER or info.marker in _SEQUENTIAL_MARKERS:
            runner.set_option("photometric_interpretation", "RGB")
    if info.marker == _J2K_MARKER:
        runner.set_option("j2k_precision", info.precision)
        runner.set_option("j2k_is_signed", info.is_signed)
    return bytearray(decoded.tobytes())
