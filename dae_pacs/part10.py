"""The file meta information around a data set's raw bytes (PS3.10 7.1), written and read without pydicom.

Receiving and sending never decode a data set: what a file holds after its meta is what went over the wire.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import BinaryIO, Final

from dae_pacs.errors import NotDicomError
from dae_pacs.identity import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME

PREAMBLE: Final = bytes(128) + b"DICM"  # PS3.10 7.1
LENGTH_END: Final = len(PREAMBLE) + 12
"""Where a file that begins as PS3.10 7.1 asks has said how long the rest of its file meta group is."""

SOURCE_AE: Final = 0x0016
SENDING_AE: Final = 0x0017
RECEIVING_AE: Final = 0x0018
PRIVATE_CREATOR_UID: Final = 0x0100
PRIVATE_INFORMATION: Final = 0x0102

_GROUP_LENGTH: Final = struct.Struct("<HH2sHI")
_LENGTH_START: Final = _GROUP_LENGTH.pack(0x0002, 0x0000, b"UL", 4, 0)[:8]
_SHORT: Final = struct.Struct("<HH2sH")
_LONG: Final = struct.Struct("<HH2sHI")
_LONG_VRS: Final = frozenset(
    (b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV")
)
_META_LIMIT_BYTES: Final = 1 << 20  # far above any real one; bounds what a broken length makes us read
_LARGEST_GROUP_BYTES: Final = 65536
"""A file meta group beyond this is none; ours are a few hundred bytes."""


@dataclass(frozen=True)
class FileMeta:
    """What a file's meta information says of its data set."""

    SOPClassUID: str
    SOPInstanceUID: str
    transfer_syntax_uid: str


def encode(meta: FileMeta, *, calling_ae: str = "", called_ae: str = "") -> bytes:
    """Write the preamble and the file meta information, ready for the data set to follow.

    Args:
        meta: from the C-STORE command and its presentation context.
        calling_ae: who sent it, for the Source and the Sending Application Entity Title; else left out.
        called_ae: whom it was sent to, for the Receiving Application Entity Title; else left out.
    """
    elements = [
        element(0x0001, b"OB", b"\x00\x01"),
        text_element(0x0002, b"UI", meta.SOPClassUID),
        text_element(0x0003, b"UI", meta.SOPInstanceUID),
        text_element(0x0010, b"UI", meta.transfer_syntax_uid),
        text_element(0x0012, b"UI", IMPLEMENTATION_CLASS_UID),
        text_element(0x0013, b"SH", IMPLEMENTATION_VERSION_NAME),
    ]
    if calling_ae:
        elements += (text_element(number, b"AE", calling_ae) for number in (SOURCE_AE, SENDING_AE))
    if called_ae:
        elements.append(text_element(RECEIVING_AE, b"AE", called_ae))
    return head(b"".join(elements))


def head(elements: bytes) -> bytes:
    """Put the preamble and the group's length before its encoded elements."""
    return PREAMBLE + _GROUP_LENGTH.pack(0x0002, 0x0000, b"UL", 4, len(elements)) + elements


def element(number: int, vr: bytes, value: bytes) -> bytes:
    """Encode one element of group 0002, its value of even length."""
    if vr in _LONG_VRS:
        return _LONG.pack(0x0002, number, vr, 0, len(value)) + value
    return _SHORT.pack(0x0002, number, vr, len(value)) + value


def text_element(number: int, vr: bytes, text: str) -> bytes:
    """Encode one element of group 0002; UIDs are padded with a NUL, text with a space (PS3.5 6.2)."""
    value = text.encode("latin-1")
    if len(value) % 2:
        value += b"\x00" if vr == b"UI" else b" "
    return element(number, vr, value)


def head_size(start: bytes | bytearray) -> int:
    """Say how many bytes lie before the data set, from its first `LENGTH_END`; 0 without a head."""
    if start[128:132] != b"DICM" or start[132:140] != _LENGTH_START:
        return 0
    length = int.from_bytes(start[140:LENGTH_END], "little")
    return LENGTH_END + length if length <= _LARGEST_GROUP_BYTES else 0


def read(file: BinaryIO) -> FileMeta:
    """Read a Part 10 file's meta information and leave the file at the data set's first byte.

    Raises:
        NotDicomError: no preamble, or file meta that is cut off, malformed, or lacks a transfer syntax.
    """
    meta = meta_of(read_values(file))
    if not meta.transfer_syntax_uid:
        raise NotDicomError("file meta information without Transfer Syntax UID (0002,0010)")
    return meta


def read_values(file: BinaryIO) -> dict[int, bytes]:
    """Read the elements of group 0002 by their numbers, and leave the file at the data set's first byte.

    Raises:
        NotDicomError: no preamble, or file meta that is cut off or malformed.
    """
    if file.read(len(PREAMBLE))[128:] != b"DICM":
        raise NotDicomError("no DICOM file: expected the letters DICM after 128 bytes (PS3.10 7.1)")
    values: dict[int, bytes] = {}
    while True:
        start = file.tell()
        found = _next(file)
        if found is None:
            file.seek(start)
            return values
        values[found[0]] = found[1]


def meta_of(values: Mapping[int, bytes]) -> FileMeta:
    """Give what the elements of group 0002 say of the data set; "" for what they leave out."""
    return FileMeta(text_of(values, 0x0002), text_of(values, 0x0003), text_of(values, 0x0010))


def _next(file: BinaryIO) -> tuple[int, bytes] | None:
    """Read one element of group 0002, or None where the group ends. Explicit VR little endian, always."""
    start = file.read(8)
    if len(start) < 8:
        return None
    group, number, vr, length = _SHORT.unpack(start)
    if group != 0x0002:
        return None
    if vr in _LONG_VRS:
        length = int.from_bytes(file.read(4), "little")
    value = file.read(length) if length <= _META_LIMIT_BYTES else b""
    if len(value) != length:
        raise NotDicomError(f"file meta information is cut off in element (0002,{number:04X})")
    return number, value


def text_of(values: Mapping[int, bytes], number: int) -> str:
    """Give an element's text without its padding; "" where it is missing."""
    return values.get(number, b"").strip(b"\x00 ").decode("ascii", errors="replace")
