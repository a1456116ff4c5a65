"""A-ASSOCIATE PDUs as their requestor writes and reads them (PS3.8 9.3.2 to 9.3.4, PS3.7 D.3.3).

Each presentation context is proposed with one transfer syntax, so that the answer says of each pair of SOP
class and transfer syntax whether the peer takes it.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from dae_pacs.dimse import pdus
from dae_pacs.errors import ProtocolError
from dae_pacs.identity import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME

Context = tuple[str, str]
"""A SOP class UID and a transfer syntax UID: one presentation context as we propose it."""

MAX_ANSWER_BYTES: Final = 65536
"""128 contexts with a transfer syntax each have 10,000 bytes; what is far longer is no answer."""

_APPLICATION_CONTEXT: Final = "1.2.840.10008.3.1.1.1"  # PS3.7 A.2.1
_VERSION_1: Final = 0x0001  # PS3.8 9.3.2, bit 0 of Protocol-version
_FIXED_BYTES: Final = 68
"""What precedes the items: version, reserved, both AE titles, reserved (PS3.8 Tables 9-11 and 9-17)."""
_ITEM: Final = struct.Struct(">BxH")
_PEER_DEFAULT_PDU_BYTES: Final = 16384  # for a peer that names no maximum (PS3.7 D.3.3.1 makes it mandatory)

# PS3.8 9.3.2 and 9.3.3, PS3.7 D.3.3: item types
_APPLICATION_CONTEXT_ITEM: Final = 0x10
_CONTEXT_RQ: Final = 0x20
_CONTEXT_AC: Final = 0x21
_ABSTRACT_SYNTAX: Final = 0x30
_TRANSFER_SYNTAX: Final = 0x40
_USER_INFORMATION: Final = 0x50
_MAXIMUM_LENGTH: Final = 0x51
_IMPLEMENTATION_CLASS: Final = 0x52
_ROLES: Final = 0x54
_IMPLEMENTATION_VERSION: Final = 0x55

ACCEPTED: Final = 0  # PS3.8 Table 9-18
ANOTHER_SYNTAX: Final = -1
"""Our own: the peer accepted, in a transfer syntax that was not proposed."""
UNANSWERED: Final = -2
"""Our own: the peer's answer leaves the context out."""


@dataclass(frozen=True)
class Verdicts:
    """What the acceptor answered."""

    results: dict[Context, int]
    """For each proposed context its result of PS3.8 Table 9-18, or one of our own."""
    ids: dict[Context, int]
    """The context IDs of those that were accepted."""
    max_pdu_bytes: int
    """The longest P-DATA-TF PDU that the peer takes; 0 for any."""


@dataclass(frozen=True)
class Refusal:
    """An A-ASSOCIATE-RJ: result, source and reason of PS3.8 Table 9-21."""

    result: int
    source: int
    reason: int


def request(
    contexts: Sequence[Context],
    *,
    called_ae: str,
    calling_ae: str,
    max_pdu_bytes: int,
    storing: Sequence[str] = (),
) -> bytes:
    """Write an A-ASSOCIATE-RQ PDU with the contexts numbered 1, 3, 5... (PS3.8 9.3.2.2).

    Args:
        contexts: what is proposed.
        called_ae: the peer's AE title.
        calling_ae: ours.
        max_pdu_bytes: the longest P-DATA-TF PDU that we take.
        storing: SOP classes whose objects the peer is to send us on this association, as C-GET needs it: we
            propose ourselves as SCP, and not as SCU (PS3.7 D.3.3.4).
    """
    user = (
        _item(_MAXIMUM_LENGTH, struct.pack(">I", max_pdu_bytes))
        + _item(_IMPLEMENTATION_CLASS, IMPLEMENTATION_CLASS_UID.encode("ascii"))
        + b"".join(_item(_ROLES, _role(sop_class)) for sop_class in storing)
        + _item(_IMPLEMENTATION_VERSION, IMPLEMENTATION_VERSION_NAME.encode("ascii"))
    )
    body = b"".join(
        (
            struct.pack(">Hxx", _VERSION_1),
            called_ae.encode("ascii").ljust(16),
            calling_ae.encode("ascii").ljust(16),
            bytes(32),
            _item(_APPLICATION_CONTEXT_ITEM, _APPLICATION_CONTEXT.encode("ascii")),
            *(_context(number, context) for number, context in enumerate(contexts)),
            _item(_USER_INFORMATION, user),
        )
    )
    return pdus.HEAD.pack(pdus.A_ASSOCIATE_RQ, len(body)) + body


def _item(kind: int, value: bytes) -> bytes:
    return _ITEM.pack(kind, len(value)) + value


def _role(sop_class: str) -> bytes:
    uid = sop_class.encode("ascii")
    return struct.pack(">H", len(uid)) + uid + b"\x00\x01"  # SCU role no, SCP role yes


def _context(number: int, context: Context) -> bytes:
    sop_class, syntax = context
    value = _item(_ABSTRACT_SYNTAX, sop_class.encode("ascii")) + _item(
        _TRANSFER_SYNTAX, syntax.encode("ascii")
    )
    return _item(_CONTEXT_RQ, bytes((2 * number + 1, 0, 0, 0)) + value)


def verdicts(body: bytes, contexts: Sequence[Context]) -> Verdicts:
    """Read what follows the head of an A-ASSOCIATE-AC PDU.

    Raises:
        ProtocolError: it is none.
    """
    if len(body) < _FIXED_BYTES:
        raise ProtocolError("an A-ASSOCIATE-AC that is cut off", source=pdus.SERVICE_USER)
    answered: dict[int, tuple[int, str]] = {}
    maximum = _PEER_DEFAULT_PDU_BYTES
    for kind, value in _items(body[_FIXED_BYTES:]):
        if kind == _CONTEXT_AC and len(value) >= 4:
            syntaxes = [text for inner, text in _items(value[4:]) if inner == _TRANSFER_SYNTAX]
            answered.setdefault(value[0], (value[2], _uid(syntaxes[0]) if syntaxes else ""))
        elif kind == _USER_INFORMATION:
            for inner, text in _items(value):
                if inner == _MAXIMUM_LENGTH and len(text) == 4:
                    (maximum,) = struct.unpack(">I", text)
    results: dict[Context, int] = {}
    ids: dict[Context, int] = {}
    for number, context in enumerate(contexts):
        result, syntax = answered.get(2 * number + 1, (UNANSWERED, ""))
        if result == ACCEPTED and syntax != context[1]:
            result = ANOTHER_SYNTAX
        if result == ACCEPTED:
            ids[context] = 2 * number + 1
        results[context] = result
    return Verdicts(results, ids, maximum)


def _items(data: bytes) -> Iterator[tuple[int, bytes]]:
    position = 0
    while position < len(data):
        if position + _ITEM.size > len(data):
            raise ProtocolError("an A-ASSOCIATE-AC with an item that is cut off", source=pdus.SERVICE_USER)
        kind, length = _ITEM.unpack_from(data, position)
        position += _ITEM.size
        if length > len(data) - position:
            raise ProtocolError("an A-ASSOCIATE-AC with an item longer than itself", source=pdus.SERVICE_USER)
        yield kind, data[position : position + length]
        position += length


def _uid(value: bytes) -> str:
    return value.rstrip(b"\x00 ").decode("latin-1")


def refusal(body: bytes) -> Refusal:
    """Read what follows the head of an A-ASSOCIATE-RJ PDU (PS3.8 Table 9-21).

    Raises:
        ProtocolError: it is none.
    """
    if len(body) != pdus.CONTROL_BYTES:
        raise ProtocolError("an A-ASSOCIATE-RJ of odd length", source=pdus.SERVICE_USER)
    return Refusal(body[1], body[2], body[3])
