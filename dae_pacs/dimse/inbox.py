"""What a peer says on an association that we asked for: PDUs, put together to messages, bounded in all.

The kernel's delayed ACK is switched off before each read, since it switches itself on again: a peer with
Nagle's algorithm on (DCMTK, Orthanc) holds the second half of its answer back until the first is
acknowledged, which is 40 ms an object.
"""

import select
import socket
import ssl
import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from dae_pacs.dimse import commands, pdus
from dae_pacs.errors import ProtocolError

MAX_PDU_BYTES: Final = 131072
"""The longest P-DATA-TF PDU that we ask for, and take; answers are small."""
MAX_DATA_SET_BYTES: Final = 1 << 20
"""No answer that we wait for has more: a report on a thousand objects has 150,000 bytes."""

_READ_BYTES: Final = 16384
_SLACK_BYTES: Final = pdus.HEAD.size
"""Some peers count a PDU's head into the maximum length, though PS3.8 D.1 does not."""


class EndedError(Exception):
    """The peer ended the association; the message says how. Never leaves `requestor`."""


@dataclass(frozen=True)
class Message:
    """One message of the peer's."""

    context_id: int
    command: bytes
    data_set: bytes


class Inbox:
    """The reading side of one connection; one thread reads."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._buffer = bytearray()
        self._fragments: deque[tuple[int, int, bytes]] = deque()
        """Of a PDU that holds more than one: context ID, control header, value."""

    def pdu(self, deadline: float, *, longest: int = MAX_PDU_BYTES + _SLACK_BYTES) -> tuple[int, bytes]:
        """Read one PDU: its type, and what follows its head.

        Raises:
            TimeoutError: it is not here whole by the deadline, on the monotonic clock.
            OSError: the connection broke.
            EndedError: the peer closed it.
            ProtocolError: it is longer than any that may come.
        """
        kind, length = pdus.HEAD.unpack(self._exactly(pdus.HEAD.size, deadline))
        if kind not in pdus.KNOWN:
            raise ProtocolError("a PDU of unknown type", reason=pdus.UNRECOGNIZED_PDU)
        if length > longest:
            raise ProtocolError("a PDU longer than negotiated", reason=pdus.INVALID_PARAMETER)
        return kind, self._exactly(length, deadline)

    def has_something(self, within_s: float) -> bool:
        """Tell whether the peer says something, or ends the connection, within a time."""
        if self._buffer or self._fragments:
            return True
        if isinstance(self._connection, ssl.SSLSocket) and self._connection.pending():
            return True
        acknowledge_at_once(self._connection)
        poll = select.poll()
        poll.register(self._connection, select.POLLIN)
        return bool(poll.poll(within_s * 1000))

    def message(self, deadline: float) -> Message:
        """Read one message; raises what `pdu` does, EndedError too where the peer aborts or releases."""
        context_id, command = self._part(deadline, pdus.COMMAND, commands.MAX_BYTES)
        _field, has_data_set = commands.peek(command)
        if not has_data_set:
            return Message(context_id, command, b"")
        same_id, data_set = self._part(deadline, 0, MAX_DATA_SET_BYTES)
        if same_id != context_id:
            raise ProtocolError("two contexts in one message", reason=pdus.INVALID_PARAMETER)
        return Message(context_id, command, data_set)

    def _part(self, deadline: float, wanted: int, longest: int) -> tuple[int, bytes]:
        """Put the fragments of a command set, or of a data set, together."""
        parts = bytearray()
        first_id: int | None = None
        while True:
            context_id, control, fragment = self._fragment(deadline)
            if control & pdus.COMMAND != wanted:
                raise ProtocolError(
                    "a command where a data set was due, or the other way round",
                    reason=pdus.INVALID_PARAMETER,
                )
            if first_id not in {None, context_id}:
                raise ProtocolError("two contexts in one message", reason=pdus.INVALID_PARAMETER)
            first_id = context_id
            parts += fragment
            if len(parts) > longest:
                raise ProtocolError("a message longer than any real one", reason=pdus.INVALID_PARAMETER)
            if control & pdus.LAST:
                return context_id, bytes(parts)

    def _fragment(self, deadline: float) -> tuple[int, int, bytes]:
        while not self._fragments:
            kind, body = self.pdu(deadline)
            if kind == pdus.A_ABORT:
                raise EndedError("the peer aborted the association")
            if kind == pdus.A_RELEASE_RQ:
                raise EndedError("the peer released the association instead of answering")
            if kind != pdus.P_DATA_TF:
                raise ProtocolError("a PDU that has no place here", reason=pdus.UNEXPECTED_PDU)
            self._fragments.extend(_fragments_of(body))
        return self._fragments.popleft()

    def _exactly(self, size: int, deadline: float) -> bytes:
        buffer = self._buffer
        while len(buffer) < size:
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                raise TimeoutError("timed out")
            acknowledge_at_once(self._connection)
            self._connection.settimeout(left_s)
            part = self._connection.recv(_READ_BYTES)
            if not part:
                raise EndedError("the peer closed the connection")
            buffer += part
        whole = bytes(buffer[:size])
        del buffer[:size]
        return whole


def _fragments_of(body: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Take a P-DATA-TF PDU apart: context ID, control header and value of each item (PS3.8 9.3.5)."""
    position = 0
    if not body:
        raise ProtocolError("a P-DATA-TF PDU without a value", reason=pdus.INVALID_PARAMETER)
    while position < len(body):
        if len(body) - position < pdus.PDV_HEAD.size:
            raise ProtocolError("a PDU that ends inside a value's head", reason=pdus.INVALID_PARAMETER)
        counted, context_id, control = pdus.PDV_HEAD.unpack_from(body, position)
        position += pdus.PDV_HEAD.size
        size = counted - pdus.PDV_COUNTED
        if not 0 <= size <= len(body) - position:
            raise ProtocolError("a value longer than its PDU", reason=pdus.INVALID_PARAMETER)
        yield context_id, control, body[position : position + size]
        position += size


def acknowledge_at_once(connection: socket.socket) -> None:
    """Switch the kernel's delayed ACK off until it switches it on again, which it does on its own."""
    if hasattr(socket, "TCP_QUICKACK"):
        with suppress(OSError):  # a closed socket is told by whoever uses it next
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
