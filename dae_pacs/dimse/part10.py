"""The file meta information around a data set's raw bytes (PS3.10 7.1), written and read without pydicom.

Receiving and sending never decode a data set: what a file holds after its meta is what went over the wire.
"""

import struct
from dataclasses import dataclass
from typing import BinaryIO

from dae_pacs.errors import NotDicomError
from dae_pacs.identity import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME

PREAMBLE = bytes(128) + b"DICM"  # PS3.10 7.1

_LONG_VRS = frozenset(
    (b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV")
)
_META_LIMIT_BYTES = 1 << 20  # far above any real one; bounds what a broken length makes us read


@dataclass(frozen=True)
class FileMeta:
    """What a file's meta information says of its data set."""

    SOPClassUID: str
    SOPInstanceUID: str
    transfer_syntax_uid: str


def encode(meta: FileMeta, *, calling_ae: str = "") -> bytes:
    """Write the preamble and the file meta information, ready for the data set to follow.

    Args:
        meta: from the C-STORE command and its presentation context.
        calling_ae: who sent it, for Source Application Entity Title (0002,0016); left out when empty.
    """
    elements = [
        struct.pack("<HH2sHI", 0x0002, 0x0001, b"OB", 0, 2) + b"\x00\x01",
        _short(0x0002, b"UI", meta.SOPClassUID),
        _short(0x0003, b"UI", meta.SOPInstanceUID),
        _short(0x0010, b"UI", meta.transfer_syntax_uid),
        _short(0x0012, b"UI", IMPLEMENTATION_CLASS_UID),
        _short(0x0013, b"SH", IMPLEMENTATION_VERSION_NAME),
    ]
    if calling_ae:
        elements.append(_short(0x0016, b"AE", calling_ae))
    body = b"".join(elements)
    return PREAMBLE + struct.pack("<HH2sHI", 0x0002, 0x0000, b"UL", 4, len(body)) + body


def _short(element: int, vr: bytes, text: str) -> bytes:
    value = text.encode("ascii")
    if len(value) % 2:
        value += b"\x00" if vr == b"UI" else b" "  # PS3.5 6.2: UIDs are padded with a NUL, text with a space
    return struct.pack("<HH2sH", 0x0002, element, vr, len(value)) + value


def read(file: BinaryIO) -> FileMeta:
    """Read a Part 10 file's meta information and leave the file at the data set's first byte.

    Raises:
        NotDicomError: no preamble, or file meta that is cut off, malformed, or lacks a transfer syntax.
    """
    if file.read(len(PREAMBLE))[128:] != b"DICM":
        raise NotDicomError("no DICOM file: expected the letters DICM after 128 bytes (PS3.10 7.1)")
    values: dict[int, bytes] = {}
    while True:
        start = file.tell()
        element = _next(file)
        if element is None:
            file.seek(start)
            break
        values[element[0]] = element[1]
    meta = FileMeta(_text(values, 0x0002), _text(values, 0x0003), _text(values, 0x0010))
    if not meta.transfer_syntax_uid:
        raise NotDicomError("file meta information without Transfer Syntax UID (0002,0010)")
    return meta


def _next(file: BinaryIO) -> tuple[int, bytes] | None:
    """Read one element of group 0002, or None where the group ends. Explicit VR little endian, always."""
    head = file.read(8)
    if len(head) < 8:
        return None
    group, element, vr, length = struct.unpack("<HH2sH", head)
    if group != 0x0002:
        return None
    if vr in _LONG_VRS:
        length = int.from_bytes(file.read(4), "little")
    value = file.read(length) if length <= _META_LIMIT_BYTES else b""
    if len(value) != length:
        raise NotDicomError(f"file meta information is cut off in element (0002,{element:04X})")
    return element, value


def _text(values: dict[int, bytes], element: int) -> str:
    return values.get(element, b"").rstrip(b"\x00 ").decode("ascii", errors="replace")
