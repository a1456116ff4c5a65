"""The requests that we send, encoded, and their split into P-DATA-TF PDUs.

A command set is implicit VR little endian, always (PS3.7 6.3.1). The data set's bytes go from the file into
the PDUs as they stand.
"""

import struct
from collections.abc import Iterator
from typing import BinaryIO

from dae_pacs.dimse.contexts import VERIFICATION

_C_STORE_RQ = 0x0001  # PS3.7 E.1-1, Command Field (0000,0100)
_C_ECHO_RQ = 0x0030
_N_ACTION_RQ = 0x0130
_C_CANCEL_RQ = 0x0FFF
_MEDIUM_PRIORITY = 0x0000
_LOW_PRIORITY = 0x0002
_WITH_DATA_SET = 0x0001  # PS3.7 E.1-1, Command Data Set Type (0000,0800): anything but 0101H
_WITHOUT_DATA_SET = 0x0101

_PDU_HEAD = struct.Struct(
    ">BxIIBB"
)  # PS3.8 Table 9-22 and 9-23: type, PDU length, item length, context, control
_P_DATA_TF = 0x04
_PDV_OVERHEAD_BYTES = 6  # item length, context ID and message control header, inside the PDU's length
_COMMAND, _LAST = 0x01, 0x02  # PS3.8 E.2, bits of the message control header

_BLOCK_BYTES = (
    262144  # how much goes to the socket at once: several of the 16 KiB PDUs that most peers ask for
)
_LONGEST_PDU_BYTES = 131072  # for a peer that sets no limit (PS3.8 D.1: 0)


def store_request(sop_class_uid: str, sop_instance_uid: str, *, message_id: int) -> bytes:
    """Encode a C-STORE request's command set (PS3.7 9.3.1.1)."""
    return _command_set(
        _uid(0x0002, sop_class_uid),
        _us(0x0100, _C_STORE_RQ),
        _us(0x0110, message_id),
        _us(0x0700, _MEDIUM_PRIORITY),
        _us(0x0800, _WITH_DATA_SET),
        _uid(0x1000, sop_instance_uid),
    )


def echo_request(*, message_id: int) -> bytes:
    """Encode a C-ECHO request's command set (PS3.7 9.3.5.1)."""
    return _command_set(
        _uid(0x0002, VERIFICATION),
        _us(0x0100, _C_ECHO_RQ),
        _us(0x0110, message_id),
        _us(0x0800, _WITHOUT_DATA_SET),
    )


def action_request(sop_class_uid: str, sop_instance_uid: str, *, message_id: int, action_type: int) -> bytes:
    """Encode an N-ACTION request's command set (PS3.7 10.3.5.1)."""
    return _command_set(
        _uid(0x0003, sop_class_uid),
        _us(0x0100, _N_ACTION_RQ),
        _us(0x0110, message_id),
        _us(0x0800, _WITH_DATA_SET),
        _uid(0x1001, sop_instance_uid),
        _us(0x1008, action_type),
    )


def query_request(field: int, sop_class_uid: str, *, message_id: int, destination: str = "") -> bytes:
    """Encode a C-FIND, C-GET or C-MOVE request's command set (PS3.7 9.3.2.1, 9.3.3.1, 9.3.4.1).

    Args:
        field: Command Field (0000,0100), which says what of the three it is.
        sop_class_uid: of the information model.
        message_id: of this request.
        destination: of a C-MOVE: the AE title that gets the objects.
    """
    return _command_set(
        _uid(0x0002, sop_class_uid),
        _us(0x0100, field),
        _us(0x0110, message_id),
        *([_ae(0x0600, destination)] if destination else []),
        _us(0x0700, _LOW_PRIORITY),
        _us(0x0800, _WITH_DATA_SET),
    )


def cancel_request(*, message_id: int) -> bytes:
    """Encode a C-CANCEL request's command set for the operation of that Message ID (PS3.7 9.3.2.3)."""
    return _command_set(_us(0x0100, _C_CANCEL_RQ), _us(0x0120, message_id), _us(0x0800, _WITHOUT_DATA_SET))


def _command_set(*elements: bytes) -> bytes:
    body = b"".join(elements)
    return struct.pack("<HHII", 0x0000, 0x0000, 4, len(body)) + body


def _us(element: int, value: int) -> bytes:
    return struct.pack("<HHIH", 0x0000, element, 2, value)


def _uid(element: int, text: str) -> bytes:
    value = text.encode("ascii")
    value += bytes(len(value) % 2)
    return struct.pack("<HHI", 0x0000, element, len(value)) + value


def _ae(element: int, title: str) -> bytes:
    value = title.encode("ascii")
    value += b" " * (len(value) % 2)
    return struct.pack("<HHI", 0x0000, element, len(value)) + value


def command_pdus(command: bytes, *, context_id: int, max_pdu_bytes: int) -> bytes:
    """Wrap a command set into P-DATA-TF PDUs (PS3.8 9.3.5)."""
    payload = payload_bytes(max_pdu_bytes)
    parts: list[bytes] = []
    for start in range(0, len(command), payload):
        piece = command[start : start + payload]
        last = _LAST if start + payload >= len(command) else 0
        parts += (_head(len(piece), context_id, _COMMAND | last), piece)
    return b"".join(parts)


def data_set_blocks(
    file: BinaryIO, size_bytes: int, *, context_id: int, max_pdu_bytes: int, first: bytes = b""
) -> Iterator[memoryview]:
    """Read a data set into P-DATA-TF PDUs, in blocks for the socket; the next block overwrites the last.

    Args:
        file: unbuffered, at the data set's first byte.
        size_bytes: how many bytes are left to send, at least 1.
        context_id: of the accepted presentation context.
        max_pdu_bytes: what the peer takes; 0 for any.
        first: whole PDUs that go ahead of the data set's, in the same block.

    Raises:
        OSError: the file ends before its size.
    """
    payload = payload_bytes(max_pdu_bytes)
    longest = len(first) + size_bytes + (size_bytes // payload + 1) * _PDU_HEAD.size
    least = max(payload + _PDU_HEAD.size, len(first))
    block = memoryview(bytearray(max(min(_BLOCK_BYTES, longest), least)))
    filled = len(first)
    block[:filled] = first
    while size_bytes:
        size = min(payload, size_bytes)
        start, end = filled + _PDU_HEAD.size, filled + _PDU_HEAD.size + size
        if end > len(block):
            yield block[:filled]
            start, end = _PDU_HEAD.size, _PDU_HEAD.size + size
        size_bytes -= size
        block[start - _PDU_HEAD.size : start] = data_head(size, context_id=context_id, is_last=not size_bytes)
        if _fill(file, block[start:end]) != size:
            raise OSError("the file became shorter while it was being sent")
        filled = end
    yield block[:filled]


def _fill(file: BinaryIO, target: memoryview) -> int:
    done = 0
    while done < len(target):
        count: int = file.readinto(target[done:])  # type: ignore[attr-defined] # typeshed's BinaryIO lacks it
        if not count:
            break
        done += count
    return done


def data_head(size: int, *, context_id: int, is_last: bool) -> bytes:
    """Write the head of a P-DATA-TF PDU with one fragment of a data set."""
    return _head(size, context_id, _LAST if is_last else 0)


def _head(size: int, context_id: int, control: int) -> bytes:
    return _PDU_HEAD.pack(_P_DATA_TF, size + _PDV_OVERHEAD_BYTES, size + 2, context_id, control)


def payload_bytes(max_pdu_bytes: int) -> int:
    """Return how much of a message fits into one PDU; even, since fragments are (PS3.8 E.1)."""
    limit = min(max_pdu_bytes or _LONGEST_PDU_BYTES, _LONGEST_PDU_BYTES)
    return max(2, (limit - _PDV_OVERHEAD_BYTES) & ~1)
