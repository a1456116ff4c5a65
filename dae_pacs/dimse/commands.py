"""Command sets of DIMSE messages, parsed and written by hand (PS3.7 6.3.1 and Annex E).

A command set is implicit VR little endian, always, and holds group 0000 alone.
"""

import re
import struct
from dataclasses import dataclass
from typing import Final

from dae_pacs.errors import ProtocolError

C_STORE_RQ: Final = 0x0001  # PS3.7 E.1-1, Command Field (0000,0100)
C_GET_RQ: Final = 0x0010
C_FIND_RQ: Final = 0x0020
C_MOVE_RQ: Final = 0x0021
C_ECHO_RQ: Final = 0x0030
C_CANCEL_RQ: Final = 0x0FFF
N_EVENT_REPORT_RQ: Final = 0x0100
N_ACTION_RQ: Final = 0x0130
RESPONSE: Final = 0x8000
"""The bit that makes a request's command field that of its response."""
MAX_BYTES: Final = 16384
"""A real command set has a few hundred bytes: two UIDs, an AE title and some numbers."""

_WITHOUT_DATA_SET: Final = 0x0101  # PS3.7 E.1-1, Command Data Set Type (0000,0800)
_ELEMENT: Final = struct.Struct("<HHI")
_US: Final = struct.Struct("<H")

_AFFECTED_SOP_CLASS_UID: Final = 0x0002
_REQUESTED_SOP_CLASS_UID: Final = 0x0003
_COMMAND_FIELD: Final = 0x0100
_MESSAGE_ID: Final = 0x0110
_MESSAGE_ID_RESPONDED_TO: Final = 0x0120
_DATA_SET_TYPE: Final = 0x0800
_STATUS: Final = 0x0900
_ERROR_COMMENT: Final = 0x0902
_AFFECTED_SOP_INSTANCE_UID: Final = 0x1000
_EVENT_TYPE_ID: Final = 0x1002
_REMAINING: Final = 0x1020  # numbers of sub-operations, of C-MOVE and C-GET
_COMPLETED: Final = 0x1021
_FAILED: Final = 0x1022
_WARNING: Final = 0x1023

_UID: Final = re.compile(r"[0-9]+(\.[0-9]+)+")
_UID_CHARACTERS: Final = 64  # PS3.5 9.1
_LEADING_ZERO: Final = re.compile(r"(^|\.)0[0-9]")
_COMMENT_CHARACTERS: Final = 64  # PS3.7 E.1-1, Error Comment (0000,0902), VR LO


@dataclass(frozen=True)
class Command:
    """What a request's command set says. Texts are "" where the element is missing."""

    field: int
    message_id: int
    sop_class_uid: str
    sop_instance_uid: str
    has_data_set: bool
    event_type_id: int | None = None
    """Of an N-EVENT-REPORT (PS3.7 10.3.1)."""


@dataclass(frozen=True)
class Reply:
    """What a response's command set says."""

    field: int
    message_id: int | None
    """Of the request that it answers."""
    status: int
    comment: str
    counts: "SubOperations | None" = None
    """Where the peer gives any."""


@dataclass(frozen=True)
class SubOperations:
    """How far a C-MOVE or C-GET got (PS3.7 9.1.4.1); a number that the peer leaves out is None."""

    remaining: int | None
    completed: int | None
    failed: int | None
    warning: int | None


def peek(data: bytes) -> tuple[int, bool]:
    """Tell a command set's Command Field, and whether a data set follows.

    Raises:
        ProtocolError: it is none, or does not say.
    """
    values = _elements(data, is_strict=False)
    field, data_set_type = _number(values, _COMMAND_FIELD), _number(values, _DATA_SET_TYPE)
    if field is None or data_set_type is None:
        raise ProtocolError("a command set without Command Field or Command Data Set Type (0000,0100/0800)")
    return field, data_set_type != _WITHOUT_DATA_SET


def parse_reply(data: bytes) -> Reply:
    """Read the command set of a response.

    Raises:
        ProtocolError: it is none.
    """
    values = _elements(data, is_strict=False)
    field = _number(values, _COMMAND_FIELD)
    if field is None or not field & RESPONSE:
        raise ProtocolError("a command set that is no response, where one was due")
    status = _number(values, _STATUS)
    if status is None:
        raise ProtocolError("a response without Status (0000,0900)")
    return Reply(
        field=field,
        message_id=_number(values, _MESSAGE_ID_RESPONDED_TO),
        status=status,
        comment=_text(values, _ERROR_COMMENT),
        counts=_counts(values),
    )


def _counts(values: dict[int, bytes]) -> SubOperations | None:
    numbers = [_number(values, element) for element in (_REMAINING, _COMPLETED, _FAILED, _WARNING)]
    return None if all(number is None for number in numbers) else SubOperations(*numbers)


def parse(data: bytes) -> Command:
    """Read a command set.

    Raises:
        ProtocolError: it is none, or lacks the elements without which it can't be answered.
    """
    values = _elements(data)
    field, message_id = _number(values, _COMMAND_FIELD), _number(values, _MESSAGE_ID)
    if field is None:
        raise ProtocolError("a command set without Command Field (0000,0100)")
    if field & RESPONSE:
        raise ProtocolError("a response, where nothing was asked")
    if message_id is None and field != C_CANCEL_RQ:
        raise ProtocolError("a request without Message ID (0000,0110), which can't be answered")
    data_set_type = _number(values, _DATA_SET_TYPE)
    if data_set_type is None:
        raise ProtocolError("a command set without Command Data Set Type (0000,0800)")
    return Command(
        field=field,
        message_id=message_id or 0,
        sop_class_uid=_text(values, _AFFECTED_SOP_CLASS_UID) or _text(values, _REQUESTED_SOP_CLASS_UID),
        sop_instance_uid=_text(values, _AFFECTED_SOP_INSTANCE_UID),
        has_data_set=data_set_type != _WITHOUT_DATA_SET,
        event_type_id=_number(values, _EVENT_TYPE_ID),
    )


def _elements(data: bytes, *, is_strict: bool = True) -> dict[int, bytes]:
    """Take a command set apart; a response may hold more: Orthanc puts the UIDs that failed into it."""
    values: dict[int, bytes] = {}
    position = 0
    while position < len(data):
        if position + _ELEMENT.size > len(data):
            raise ProtocolError("a command set that is cut off")
        group, element, length = _ELEMENT.unpack_from(data, position)
        position += _ELEMENT.size
        if group != 0x0000 and is_strict:
            raise ProtocolError("a command set with an element that is not of group 0000")
        if length > len(data) - position:
            raise ProtocolError("a command set with an element longer than itself")
        if group == 0x0000:
            values.setdefault(element, data[position : position + length])
        position += length
    return values


def _number(values: dict[int, bytes], element: int) -> int | None:
    value = values.get(element, b"")
    if not value:
        return None
    if len(value) != _US.size:
        raise ProtocolError(f"a command set whose element (0000,{element:04X}) is no number of two bytes")
    return int(_US.unpack(value)[0])


def _text(values: dict[int, bytes], element: int) -> str:
    # PS3.5 9.1 pads with a NUL; spaces are a common mistake, and harmless.
    return values.get(element, b"").rstrip(b"\x00 ").decode("latin-1")


def uid_fault(uid: str) -> str:
    """Say what is wrong with a UID (PS3.5 9.1); "" when nothing is, leading zeros left aside."""
    if not uid:
        return "missing or empty"
    if len(uid) > _UID_CHARACTERS:
        return f"longer than {_UID_CHARACTERS} characters"
    return "" if _UID.fullmatch(uid) else "malformed"


def has_leading_zero(uid: str) -> bool:
    """Tell whether a component of a UID begins with a zero that is not all of it (PS3.5 9.1 forbids it)."""
    return _LEADING_ZERO.search(uid) is not None


def response(command: Command, *, status: int, comment: str = "") -> bytes:
    """Write the command set of a response: the request's UIDs, the status, a comment for the sender's log."""
    elements = []
    if not uid_fault(command.sop_class_uid):
        elements.append(_uid(_AFFECTED_SOP_CLASS_UID, command.sop_class_uid))
    elements += (
        _number_element(_COMMAND_FIELD, command.field | RESPONSE),
        _number_element(_MESSAGE_ID_RESPONDED_TO, command.message_id),
        _number_element(_DATA_SET_TYPE, _WITHOUT_DATA_SET),
        _number_element(_STATUS, status),
    )
    if comment:
        elements.append(_padded(_ERROR_COMMENT, _plain(comment).encode("ascii"), b" "))
    if not uid_fault(command.sop_instance_uid):
        elements.append(_uid(_AFFECTED_SOP_INSTANCE_UID, command.sop_instance_uid))
    body = b"".join(elements)
    return _ELEMENT.pack(0, 0, 4) + struct.pack("<I", len(body)) + body


def _plain(text: str) -> str:
    """Fit a text to VR LO in the default character repertoire: ASCII, no backslash, 64 characters."""
    plain = "".join(letter if " " <= letter <= "~" and letter != "\\" else "?" for letter in text)
    return plain[:_COMMENT_CHARACTERS].rstrip()


def _number_element(element: int, value: int) -> bytes:
    return _ELEMENT.pack(0, element, _US.size) + _US.pack(value)


def _uid(element: int, uid: str) -> bytes:
    return _padded(element, uid.encode("ascii"), b"\x00")


def _padded(element: int, value: bytes, padding: bytes) -> bytes:
    value += padding * (len(value) % 2)
    return _ELEMENT.pack(0, element, len(value)) + value
