"""Tell, from a data set's first bytes and its length, what it is and that it is all there.

This stands between an object's last byte and its sender's success, so it makes no element of anything: it
steps from length to length, down into sequences, and leaves whatever is not plain to `parse`.
"""

import re
import struct
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from pydicom.datadict import dictionary_VR
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian
from pydicom.valuerep import EXPLICIT_VR_LENGTH_32, VR

MOST_BYTES: Final = 65536
"""How much of a data set is looked at; a header that is longer is left to `parse`."""

_EXPLICIT: Final = struct.Struct("<I2sH")
_IMPLICIT: Final = struct.Struct("<II")
_LONG: Final = struct.Struct("<I")
_UNDEFINED_LENGTH: Final = 0xFFFFFFFF
# As they stand in the file, group first, read as one little endian number.
_SOP_CLASS_UID: Final = 0x00160008
_SOP_INSTANCE_UID: Final = 0x00180008
_CHARACTER_SET: Final = 0x00050008
_TERMS: Final = re.compile(rb"[A-Z0-9_ \\]*")
"""Defined terms of Specific Character Set have no other characters (PS3.3 C.12.1.1.2)."""
_UIDS: Final = frozenset({_SOP_CLASS_UID, _SOP_INSTANCE_UID})
_PIXEL_TAGS: Final = frozenset({0x00087FE0, 0x00097FE0, 0x00107FE0})
_ITEM: Final = 0xE000FFFE
_ITEM_END: Final = 0xE00DFFFE
_SEQUENCE_END: Final = 0xE0DDFFFE
_DEEPEST: Final = 16
_LONG_VRS: Final = {vr.value.encode(): vr in EXPLICIT_VR_LENGTH_32 for vr in VR if len(vr.value) == 2}
_SEQUENCE, _UNKNOWN = b"SQ", b"UN"


class _NotPlainError(Exception):
    """Something that only `parse` can judge."""


@dataclass(frozen=True)
class Identity:
    """What a whole data set says it is."""

    SOPClassUID: str
    SOPInstanceUID: str


def identify(data: bytes, size_bytes: int, *, transfer_syntax_uid: str) -> Identity | None:
    """Walk a data set.

    Args:
        data: its first bytes; all that lies before the pixel data, or all of it.
        size_bytes: its whole length.
        transfer_syntax_uid: how it is written.

    Returns:
        What it is, if it is plain and ends where it says; None where `parse` must judge.
    """
    if transfer_syntax_uid in (ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian):
        return None
    found: dict[int, bytes] = {}
    try:
        if transfer_syntax_uid == ImplicitVRLittleEndian:
            if data[4:6] in _LONG_VRS:
                return None  # it has value representations all the same
            end = _implicit(data, 0, len(data), depth=0, found=found)
        else:
            end = _explicit(data, 0, len(data), depth=0, found=found)
    except (_NotPlainError, struct.error):
        return None
    if end != size_bytes or not found:
        return None
    return Identity(_text(found, _SOP_CLASS_UID), _text(found, _SOP_INSTANCE_UID))


def _require_terms(value: bytes) -> None:
    """Leave to `parse` what may be no character set: it reads every text behind it by that."""
    if not _TERMS.fullmatch(value):
        raise _NotPlainError


def _text(found: dict[int, bytes], tag: int) -> str:
    return found.get(tag, b"").strip(b"\0 ").decode("latin-1")


def _explicit(data: bytes, position: int, end: int, *, depth: int, found: dict[int, bytes]) -> int:
    """Step over elements with value representations; gives where the last one ends."""
    unpack, unpack_long, vrs = _EXPLICIT.unpack_from, _LONG.unpack_from, _LONG_VRS
    last = -1
    while position < end:
        tag, vr, length = unpack(data, position)
        place = (tag & 0xFFFF) << 16 | tag >> 16
        if place <= last:
            raise _NotPlainError  # out of order, or twice: which of the two counts is for `parse` to say
        last = place
        is_long = vrs.get(vr)
        if is_long:
            (length,) = unpack_long(data, position + 8)
            start = position + 12
            if vr == _SEQUENCE:
                position = _sequence(data, start, length, end, depth=depth, is_implicit=False)
                continue
            if vr == _UNKNOWN and _is_sequence(tag):
                raise _NotPlainError
        elif is_long is None:
            if depth and tag == _ITEM_END:
                return position
            raise _NotPlainError
        else:
            start = position + 8
        if tag == _CHARACTER_SET and vr != b"CS":
            raise _NotPlainError
        if not depth and tag in _UIDS:
            found.setdefault(tag, data[start : start + length])
        elif tag == _CHARACTER_SET:
            _require_terms(data[start : start + length])
        position = start + length
        if position > end and (depth or tag not in _PIXEL_TAGS or length == _UNDEFINED_LENGTH):
            raise _NotPlainError  # only the pixel data may lie beyond what is looked at
    return position


def _implicit(data: bytes, position: int, end: int, *, depth: int, found: dict[int, bytes]) -> int:
    """The same without value representations (PS3.5 7.1.3)."""
    last = -1
    while position < end:
        tag, length = _IMPLICIT.unpack_from(data, position)
        place = (tag & 0xFFFF) << 16 | tag >> 16
        if place <= last:
            raise _NotPlainError
        last = place
        start = position + 8
        if depth and tag == _ITEM_END:
            return position
        if _is_sequence(tag):
            position = _sequence(data, start, length, end, depth=depth, is_implicit=True)
            continue
        if not depth and tag in _UIDS:
            found.setdefault(tag, data[start : start + length])
        elif tag == _CHARACTER_SET:
            _require_terms(data[start : start + length])
        position = start + length
        if position > end and (depth or tag not in _PIXEL_TAGS or length == _UNDEFINED_LENGTH):
            raise _NotPlainError  # only the pixel data may lie beyond what is looked at
    return position


def _sequence(data: bytes, position: int, length: int, end: int, *, depth: int, is_implicit: bool) -> int:
    """Step over a sequence's items (PS3.5 7.5); gives where it ends."""
    if depth >= _DEEPEST:
        raise _NotPlainError
    is_open = length == _UNDEFINED_LENGTH
    stop = end if is_open else position + length
    if stop > end:
        raise _NotPlainError
    walk = _implicit if is_implicit else _explicit
    while position < stop:
        tag, size = _IMPLICIT.unpack_from(data, position)
        position += 8
        if tag == _SEQUENCE_END and is_open and not size:
            return position
        if tag != _ITEM:
            raise _NotPlainError
        item_end = stop if size == _UNDEFINED_LENGTH else position + size
        if item_end > stop:
            raise _NotPlainError
        position = walk(data, position, item_end, depth=depth + 1, found={})
        if size == _UNDEFINED_LENGTH:
            if position >= item_end or _IMPLICIT.unpack_from(data, position) != (_ITEM_END, 0):
                raise _NotPlainError
            position += 8
        elif position != item_end:
            raise _NotPlainError
    if is_open:
        raise _NotPlainError
    return position


@lru_cache(maxsize=8192)
def _is_sequence(tag: int) -> bool:
    try:
        return dictionary_VR((tag & 0xFFFF) << 16 | tag >> 16) == "SQ"
    except KeyError:
        return False
