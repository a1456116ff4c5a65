"""The small data sets of DIMSE-N messages, read and written by hand: little endian, explicit or implicit VR.

They come off the wire from whoever asks for an association. So nothing here converts a value, warns, or
nests deeper than the standard's own data sets do; a data set is the bytes of its elements, or a refusal.
"""

import struct
from collections.abc import Mapping, Sequence
from typing import Final

from dae_pacs.errors import ProtocolError

Value = bytes | list["DataSet"]
"""An element's bytes; or, of a sequence, its items."""
DataSet = dict[int, Value]
"""Elements by tag, group and element in one number: 0x00081195."""

_ITEM: Final = 0xFFFEE000
_ITEM_END: Final = 0xFFFEE00D
_SEQUENCE_END: Final = 0xFFFEE0DD
_UNDEFINED: Final = 0xFFFFFFFF
_TAG_AND_LENGTH: Final = struct.Struct("<HHI")
_LONG_VRS: Final = frozenset(
    (b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV")
)
_DEEPEST: Final = 8


def read(data: bytes, *, is_explicit: bool, sequences: frozenset[int]) -> DataSet:
    """Take a data set apart.

    Args:
        data: its bytes.
        is_explicit: whether the value representations stand in it (PS3.5 7.1.2), or not (7.1.3).
        sequences: the tags that are sequences of items; with implicit VR nothing else tells.

    Raises:
        ProtocolError: it is cut off, or none.
    """
    reader = _Reader(data, is_explicit=is_explicit, sequences=sequences)
    elements = reader.elements(len(data), depth=0)
    if reader.position != len(data):
        raise ProtocolError("a data set with something after its end")
    return elements


class _Reader:
    def __init__(self, data: bytes, *, is_explicit: bool, sequences: frozenset[int]) -> None:
        self._data = data
        self._is_explicit = is_explicit
        self._sequences = sequences
        self.position = 0

    def elements(self, end: int, *, depth: int) -> DataSet:
        """Read up to an end, or up to the delimiter of an item of undefined length."""
        if depth > _DEEPEST:
            raise ProtocolError("a data set nested deeper than any real one")
        found: DataSet = {}
        while self.position < end:
            tag, vr, length = self._head(end)
            if tag == _ITEM_END:
                break
            if vr == b"SQ" or tag in self._sequences or length == _UNDEFINED:
                found.setdefault(tag, self._items(end, length, depth=depth))
            else:
                found.setdefault(tag, self._bytes(end, length))
        return found

    def _items(self, end: int, length: int, *, depth: int) -> list[DataSet]:
        if length != _UNDEFINED:
            if length > end - self.position:
                raise ProtocolError("a sequence longer than its data set")
            end = self.position + length
        items: list[DataSet] = []
        while self.position < end:
            tag, _vr, size = self._head(end)
            if tag == _SEQUENCE_END and length == _UNDEFINED:
                return items
            if tag != _ITEM:
                raise ProtocolError("a sequence with something that is no item")
            if size == _UNDEFINED:
                items.append(self.elements(end, depth=depth + 1))
                continue
            if size > end - self.position:
                raise ProtocolError("an item longer than its sequence")
            items.append(self.elements(self.position + size, depth=depth + 1))
        if length == _UNDEFINED:
            raise ProtocolError("a sequence without its end")
        return items

    def _head(self, end: int) -> tuple[int, bytes, int]:
        group, element, length = _TAG_AND_LENGTH.unpack(self._bytes(end, _TAG_AND_LENGTH.size))
        tag = group << 16 | element
        if group == _ITEM >> 16 or not self._is_explicit:
            return tag, b"", length
        vr = self._data[self.position - 4 : self.position - 2]
        if not vr.isalpha() or not vr.isupper():
            raise ProtocolError("an element without a value representation")
        if vr in _LONG_VRS:
            return tag, vr, int.from_bytes(self._bytes(end, 4), "little")
        return tag, vr, length >> 16

    def _bytes(self, end: int, size: int) -> bytes:
        if size > end - self.position:
            raise ProtocolError("an element longer than its data set")
        start = self.position
        self.position = start + size
        return self._data[start : self.position]


def text(elements: Mapping[int, Value], tag: int) -> str:
    """Give the text of an element without its padding; "" where it is missing or a sequence."""
    value = elements.get(tag, b"")
    return value.rstrip(b"\x00 ").decode("latin-1") if isinstance(value, bytes) else ""


def number(elements: Mapping[int, Value], tag: int) -> int | None:
    """Give an element of VR US; None where it is none."""
    value = elements.get(tag, b"")
    return int.from_bytes(value, "little") if isinstance(value, bytes) and len(value) == 2 else None


def items(elements: Mapping[int, Value], tag: int) -> list[DataSet]:
    """Give a sequence's items; none where it is missing."""
    value = elements.get(tag, [])
    return value if isinstance(value, list) else []


def write_uid(tag: int, uid: str, *, is_explicit: bool) -> bytes:
    """Write an element of VR UI."""
    value = uid.encode("ascii")
    value += bytes(len(value) % 2)
    if is_explicit:
        return struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, b"UI", len(value)) + value
    return _TAG_AND_LENGTH.pack(tag >> 16, tag & 0xFFFF, len(value)) + value


def write_sequence(tag: int, contents: Sequence[bytes], *, is_explicit: bool) -> bytes:
    """Write a sequence from its items' encoded contents."""
    body = b"".join(
        _TAG_AND_LENGTH.pack(_ITEM >> 16, _ITEM & 0xFFFF, len(content)) + content for content in contents
    )
    if is_explicit:
        return struct.pack("<HH2sHI", tag >> 16, tag & 0xFFFF, b"SQ", 0, len(body)) + body
    return _TAG_AND_LENGTH.pack(tag >> 16, tag & 0xFFFF, len(body)) + body
