"""Re-encode an object from explicit to implicit VR little endian, every value byte for byte (PS3.5 7.1, A.1).

For the archive that takes nothing but DICOM's default transfer syntax. The file is passed through element by
element, so that memory stays constant; sequences and items go out with delimiters instead of lengths, since
their lengths change.
"""

import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from dae_pacs import part10
from dae_pacs.errors import NotDicomError, UnsupportedImageError

_ITEM: Final = (0xFFFE, 0xE000)
_ITEM_END: Final = (0xFFFE, 0xE00D)
_SEQUENCE_END: Final = (0xFFFE, 0xE0DD)
_UNDEFINED: Final = 0xFFFFFFFF
_HEAD: Final = struct.Struct("<HHI")
_LONG_VRS: Final = frozenset(
    (b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV")
)
_CHUNK_BYTES: Final = 1 << 20
_DEEPEST: Final = 64


def implicit_copy(source: Path, target: Path) -> None:
    """Write an object of explicit VR little endian as implicit VR little endian.

    Raises:
        InputError: the source is none, or is cut off.
        OSError: it can't be read, or the disk refuses.
    """
    with source.open("rb") as file, target.open("wb") as copy:
        meta = part10.read(file)
        if meta.transfer_syntax_uid != ExplicitVRLittleEndian:
            raise UnsupportedImageError("only explicit VR little endian is re-encoded as implicit VR")
        new = part10.FileMeta(meta.SOPClassUID, meta.SOPInstanceUID, str(ImplicitVRLittleEndian))
        copy.write(part10.encode(new))
        _Walk(file, copy, end=os.fstat(file.fileno()).st_size).run()


@dataclass(frozen=True)
class _Level:
    """A sequence or an item that is open; what is in it up to `end`, or up to its delimiter."""

    is_item: bool
    end: int
    is_delimited: bool
    is_implicit: bool
    """Inside a UN of undefined length all is implicit VR already (PS3.5 6.2.2 note 2)."""


class _Walk:
    def __init__(self, file: BinaryIO, copy: BinaryIO, *, end: int) -> None:
        self._file = file
        self._copy = copy
        self._position = file.tell()
        self._levels = [_Level(is_item=True, end=end, is_delimited=False, is_implicit=False)]

    def run(self) -> None:
        """Pass everything on."""
        while True:
            level = self._levels[-1]
            if self._position == level.end and not level.is_delimited:
                if len(self._levels) == 1:
                    return
                self._close(level)
                continue
            tag, vr, length = self._head(level)
            if tag in {_ITEM_END, _SEQUENCE_END}:
                if not level.is_delimited or level.is_item is not (tag == _ITEM_END):
                    raise NotDicomError("a delimiter where nothing is to be ended")
                self._close(level)
            elif tag == _ITEM:
                if level.is_item:
                    raise NotDicomError("an item outside a sequence")
                self._open(tag, length, is_item=True, is_implicit=level.is_implicit)
            elif not level.is_item:
                raise NotDicomError("a sequence with something that is no item")
            elif vr == b"SQ" or length == _UNDEFINED:
                if vr not in {b"SQ", b"UN", b""}:
                    raise NotDicomError(f"a value of VR {vr.decode('ascii')} without a length")
                self._open(tag, length, is_item=False, is_implicit=level.is_implicit or vr == b"UN")
            else:
                self._pass(tag, length, level)

    def _open(self, tag: tuple[int, int], length: int, *, is_item: bool, is_implicit: bool) -> None:
        outer = self._levels[-1].end
        is_delimited = length == _UNDEFINED
        end = outer if is_delimited else self._position + length
        if end > outer or len(self._levels) > _DEEPEST:
            raise NotDicomError("a sequence or item longer, or deeper, than what holds it")
        self._copy.write(_HEAD.pack(*tag, _UNDEFINED))
        self._levels.append(_Level(is_item, end, is_delimited, is_implicit))

    def _close(self, level: _Level) -> None:
        self._levels.pop()
        self._copy.write(_HEAD.pack(*(_ITEM_END if level.is_item else _SEQUENCE_END), 0))

    def _head(self, level: _Level) -> tuple[tuple[int, int], bytes, int]:
        group, element, length = _HEAD.unpack(self._exactly(_HEAD.size, level))
        if group == _ITEM[0] or level.is_implicit:
            return (group, element), b"", length
        vr = (length & 0xFFFF).to_bytes(2, "little")
        if not vr.isalpha() or not vr.isupper():
            raise NotDicomError("an element without a value representation")
        if vr in _LONG_VRS:
            return (group, element), vr, int.from_bytes(self._exactly(4, level), "little")
        return (group, element), vr, length >> 16

    def _pass(self, tag: tuple[int, int], length: int, level: _Level) -> None:
        self._copy.write(_HEAD.pack(*tag, length))
        while length:
            part = self._exactly(min(length, _CHUNK_BYTES), level)
            self._copy.write(part)
            length -= len(part)

    def _exactly(self, size: int, level: _Level) -> bytes:
        data = self._file.read(size) if self._position + size <= level.end else b""
        if len(data) != size:
            raise NotDicomError("an object that is cut off, or an element longer than what holds it")
        self._position += size
        return data
