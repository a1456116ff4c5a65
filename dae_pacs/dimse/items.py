"""Items of an association request that we know; those of later editions are passed over (PS3.8 9.3.1)."""

import struct
from collections.abc import Iterator
from typing import Final

_HEAD: Final = struct.Struct(">BxH")
_FIXED_BYTES: Final = 68
"""Before the items of an A-ASSOCIATE-RQ: version, titles and reserved bytes (PS3.8 Table 9-11)."""
_USER_INFORMATION: Final = 0x50
_IN_REQUEST: Final = frozenset((0x10, 0x20, _USER_INFORMATION))
_IN_USER_INFORMATION: Final = frozenset(range(0x51, 0x5A))
"""PS3.7 D.3.3 and PS3.8 D.1: maximum length to user identity."""


def without_unknown(body: bytes) -> bytes:
    """Leave out of an association request, from behind its head on, the items whose type we do not know.

    One whose lengths do not fit comes back as it is, for the decoder to refuse.
    """
    items = list(_items(body, _FIXED_BYTES))
    if all(kind in _IN_REQUEST for kind, _value in items) and not any(
        _has_unknown(value) for kind, value in items if kind == _USER_INFORMATION
    ):
        return body
    kept = [
        (kind, _known(value, _IN_USER_INFORMATION) if kind == _USER_INFORMATION else value)
        for kind, value in items
        if kind in _IN_REQUEST
    ]
    return body[:_FIXED_BYTES] + b"".join(_encoded(kind, value) for kind, value in kept)


def _has_unknown(value: bytes) -> bool:
    return any(kind not in _IN_USER_INFORMATION for kind, _value in _items(value, 0))


def _known(value: bytes, kinds: frozenset[int]) -> bytes:
    items = list(_items(value, 0))
    return b"".join(_encoded(kind, inner) for kind, inner in items if kind in kinds) if items else value


def _encoded(kind: int, value: bytes) -> bytes:
    return _HEAD.pack(kind, len(value)) + value


def _items(data: bytes, start: int) -> Iterator[tuple[int, bytes]]:
    """Give each item's type and value; nothing where the lengths do not fit."""
    found = []
    while start < len(data):
        if start + _HEAD.size > len(data):
            return
        kind, length = _HEAD.unpack_from(data, start)
        start += _HEAD.size
        if start + length > len(data):
            return
        found.append((kind, data[start : start + length]))
        start += length
    yield from found
