"""Put a message onto the socket: its command and its first data in one write, its file by the kernel.

On a plain connection a data set goes from the page cache into the socket (sendfile), with nothing but the
PDUs' heads written by us; over TLS, and in the small PDUs that many peers ask for, through one buffer.
"""

import io
import os
import select
import socket
import ssl
import time
from typing import BinaryIO, Final

from dae_pacs.dimse import messages

_LEAST_SENDFILE_BYTES: Final = 32768
"""In PDUs shorter than this, two system calls for each cost more than copying."""


class Outlet:
    """The writing side of one connection; one thread writes."""

    def __init__(self, connection: socket.socket, *, timeout_s: float, max_pdu_bytes: int) -> None:
        """Wrap a connection.

        Args:
            connection: its time-out is set to `timeout_s`.
            timeout_s: how long the peer may take to read one block of ours, at most a PDU and 256 KiB.
            max_pdu_bytes: what the peer takes; 0 for any.
        """
        self._connection = connection
        self._timeout_s = timeout_s
        self._max_pdu_bytes = max_pdu_bytes
        self._is_plain = not isinstance(connection, ssl.SSLSocket)

    def command(self, command: bytes, *, context_id: int) -> None:
        """Send a message that has no data set.

        Raises:
            OSError: the peer does not read it in time, or is gone.
        """
        self._all(messages.command_pdus(command, context_id=context_id, max_pdu_bytes=self._max_pdu_bytes))

    def small_message(self, command: bytes, data_set: bytes, *, context_id: int) -> None:
        """Send a message whose data set is in memory.

        Raises:
            OSError: the peer does not read it in time, or is gone.
        """
        limit = self._max_pdu_bytes
        first = messages.command_pdus(command, context_id=context_id, max_pdu_bytes=limit)
        file = io.BytesIO(data_set)
        for block in messages.data_set_blocks(
            file, len(data_set), context_id=context_id, max_pdu_bytes=limit, first=first
        ):
            self._all(block)

    def message(self, command: bytes, file: BinaryIO, size_bytes: int, *, context_id: int) -> None:
        """Send a message with a data set.

        Args:
            command: its command set.
            file: unbuffered, at the data set's first byte.
            size_bytes: the data set's, at least 1.
            context_id: of the accepted presentation context.

        Raises:
            OSError: the peer does not read it in time, or is gone, or the file ends before its size.
        """
        limit = self._max_pdu_bytes
        first = messages.command_pdus(command, context_id=context_id, max_pdu_bytes=limit)
        if self._is_plain and messages.payload_bytes(limit) >= _LEAST_SENDFILE_BYTES:
            self._by_kernel(first, file, size_bytes, context_id=context_id)
            return
        blocks = messages.data_set_blocks(
            file, size_bytes, context_id=context_id, max_pdu_bytes=limit, first=first
        )
        for block in blocks:
            self._all(block)

    def _all(self, data: bytes | memoryview) -> None:
        self._connection.settimeout(self._timeout_s)
        self._connection.sendall(data)

    def _by_kernel(self, first: bytes, file: BinaryIO, size_bytes: int, *, context_id: int) -> None:
        connection, source = self._connection, file.fileno()
        payload = messages.payload_bytes(self._max_pdu_bytes)
        position = file.tell()
        connection.settimeout(self._timeout_s)
        while size_bytes:
            size = min(payload, size_bytes)
            size_bytes -= size
            head = messages.data_head(size, context_id=context_id, is_last=not size_bytes)
            connection.sendall(first + head, socket.MSG_MORE)
            first = b""
            position = self._file_part(source, position, size)

    def _file_part(self, source: int, position: int, size: int) -> int:
        """Send a part of the file, and give where it ends; the time-out is for the whole part."""
        target, deadline = self._connection.fileno(), time.monotonic() + self._timeout_s
        end = position + size
        while position < end:
            try:
                sent = os.sendfile(target, source, position, end - position)
            except BlockingIOError:
                _await_room(target, deadline)
                continue
            if not sent:
                raise OSError("the file became shorter while it was being sent")
            position += sent
            if position < end and time.monotonic() > deadline:
                raise TimeoutError("timed out")
        return position


def _await_room(target: int, deadline: float) -> None:
    left_s = deadline - time.monotonic()
    poll = select.poll()
    poll.register(target, select.POLLOUT)
    if left_s <= 0 or not poll.poll(left_s * 1000):
        raise TimeoutError("timed out")
