"""Read one connection through one buffer, each wait under a deadline: memory and time are bounded here.

Nothing that a peer announces makes room: a PDU of four gigabytes passes through the same buffer as an echo.
"""

import socket
import ssl
import struct
import time
from contextlib import suppress
from typing import Final

from dae_pacs.dimse import tls_words
from dae_pacs.errors import PeerGoneError, ProtocolError

_BUFFER_BYTES: Final = 262144
"""Two PDUs of the size that we ask for: one system call fetches what has arrived meanwhile."""
_BULK_BYTES: Final = 16384
"""From here on the rest of a PDU is read in one call, with nothing ahead of it."""
_HEADS_BYTES: Final = 12
"""The head of a PDU and that of its first value (PS3.8 9.3.1 and 9.3.5)."""
_SLICE: Final = struct.pack("@ll", 0, 200_000)
"""How long such a call waits for nothing before the deadline is looked at: a timeval, 0.2 s."""
_LINGER_S: Final = 1.0
"""How long we wait for a peer to read our last words: an unread byte at close() would destroy them."""


class Wire:
    """One connection and its buffer; one thread reads it, any thread may interrupt it."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._buffer = bytearray(_BUFFER_BYTES)
        self._view = memoryview(self._buffer)
        self._start = 0
        self._end = 0
        self._most_ahead = _BUFFER_BYTES
        """How much is read beyond what was asked for: little while large PDUs come, one call for each."""
        self._is_plain = not isinstance(connection, ssl.SSLSocket)
        """Whether bytes come off the socket as they are; what encrypts them takes no flags."""
        self._deadline = 0.0
        self.is_interrupted = False
        self.is_associated = False
        """Whether an association stands; until then the connection makes room where there are many."""
        # A response is small, and the sender waits for it: Nagle would hold it back for an ACK.
        with suppress(OSError):  # not TCP, or gone already; the next read tells
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _SLICE)

    def expect_by(self, deadline: float) -> None:
        """Set when the reads from here on must have been answered, on the monotonic clock."""
        self._deadline = deadline

    def secure(self, context: ssl.SSLContext) -> None:
        """Shake hands as the server of a TLS connection, before the deadline.

        Raises:
            PeerGoneError: the connection ended, or the deadline passed.
            ProtocolError: what came is not TLS, or not the one that we take; the message says why, in words.
        """
        self._is_plain = False
        try:
            self._connection = secured = context.wrap_socket(
                self._connection, server_side=True, do_handshake_on_connect=False
            )
            if self.is_interrupted:
                raise PeerGoneError("the node is stopping")
            secured.settimeout(max(0.001, self._deadline - time.monotonic()))
            secured.do_handshake()
        except ssl.SSLEOFError as error:
            raise PeerGoneError("the peer closed the connection within the handshake") from error
        except ssl.SSLError as error:
            raise ProtocolError(tls_words.of_handshake(error)) from error
        except OSError as error:
            raise PeerGoneError(tls_words.of_handshake(error)) from error

    def peer_certificate(self) -> bytes | None:
        """Give the certificate that a TLS client showed, in DER; None where it need not show one."""
        return (
            self._connection.getpeercert(binary_form=True)
            if isinstance(self._connection, ssl.SSLSocket)
            else None
        )

    def fill(self, size: int) -> None:
        """Have at least so many bytes in the buffer; `size` is small.

        Raises:
            PeerGoneError: the connection ended first, or the deadline passed, or we were interrupted.
        """
        while self._end - self._start < size:
            self._receive()

    def unpack(self, layout: struct.Struct) -> tuple[int, ...]:
        """Read one record of numbers; raises what `fill` does."""
        if self._end - self._start < layout.size:
            self.fill(layout.size)
        start = self._start
        self._start = start + layout.size
        return layout.unpack_from(self._buffer, start)

    def some(self, limit: int) -> memoryview:
        """Give 1 to `limit` bytes of what has arrived, valid until the next read; raises what `fill` does."""
        start = self._start
        if start == self._end:
            if limit >= _BULK_BYTES and self._is_plain:
                return self._bulk(limit)
            self._most_ahead = _BUFFER_BYTES
            self._receive()
            start = self._start
        self._start = min(self._end, start + limit)
        return self._view[start : self._start]

    def _bulk(self, limit: int) -> memoryview:
        """Read a large piece in one call, which ends when all of it is there or nothing comes for a while."""
        self._start = self._end = 0
        self._most_ahead = _HEADS_BYTES
        view = self._view[: min(limit, _BUFFER_BYTES)]
        while True:
            self._check_patience()
            try:
                self._connection.settimeout(None)
                count = self._connection.recv_into(view, 0, socket.MSG_WAITALL)
            except BlockingIOError:
                continue
            except OSError as error:
                raise PeerGoneError(f"the connection broke: {error.strerror or error}") from error
            if not count:
                raise PeerGoneError("the peer closed the connection")
            return view[:count]

    def exactly(self, size: int) -> bytes:
        """Read so many bytes, whose number the caller has bounded; raises what `fill` does."""
        parts: list[bytes] = []
        while size:
            part = bytes(self.some(size))
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def _receive(self) -> None:
        start, end = self._start, self._end
        if start == end:
            self._start = start = end = 0
        elif start:
            self._buffer[: end - start] = self._buffer[start:end]
            self._start, end = 0, end - start
            self._end = end
        left_s = self._check_patience()
        try:
            self._connection.settimeout(left_s)
            count = self._connection.recv_into(self._view[end : end + self._most_ahead])
        except TimeoutError as error:
            raise PeerGoneError("the peer was silent for longer than we wait") from error
        except OSError as error:
            raise PeerGoneError(f"the connection broke: {error.strerror or error}") from error
        if not count:
            raise PeerGoneError("the peer closed the connection")
        self._end = end + count

    def _check_patience(self) -> float:
        """Say for how long we still wait; raises what `fill` does when that is over."""
        if self.is_interrupted:
            raise PeerGoneError("the node is stopping")
        left_s = self._deadline - time.monotonic()
        if left_s <= 0:
            raise PeerGoneError("the peer was silent, or slow, for longer than we wait")
        return left_s

    def send(self, data: bytes, *, timeout_s: float) -> None:
        """Send everything.

        Raises:
            PeerGoneError: the peer does not read it in time, or is gone.
        """
        try:
            self._connection.settimeout(timeout_s)
            self._connection.sendall(data)
        except OSError as error:
            raise PeerGoneError("the peer does not take our answer") from error

    def interrupt(self) -> None:
        """End the reading thread's wait, now and from here on; it can still send. For other threads."""
        self.is_interrupted = True
        with suppress(OSError):
            # Not SSLSocket.shutdown, which would take the encryption off the connection.
            socket.socket.shutdown(self._connection, socket.SHUT_RD)

    def cut(self) -> None:
        """End every wait of the connection's thread, a send too. For other threads."""
        self.is_interrupted = True
        with suppress(OSError):
            socket.socket.shutdown(self._connection, socket.SHUT_RDWR)

    def say_last(self, data: bytes) -> None:
        """Send our last PDU, if any, and nothing after it; a peer that is gone is no error."""
        with suppress(PeerGoneError, OSError):
            if data:
                self.send(data, timeout_s=_LINGER_S)
            self._say_goodbye()
            socket.socket.shutdown(self._connection, socket.SHUT_WR)

    def _say_goodbye(self) -> None:
        """End a TLS connection as TLS asks for (RFC 8446 6.1): the peer knows that nothing is missing."""
        if isinstance(self._connection, ssl.SSLSocket):
            with suppress(OSError, ValueError):
                self._connection.settimeout(0)  # the peer's own goodbye is not waited for
                self._connection.unwrap()

    def linger(self) -> None:
        """Give the peer a moment to take our last words and to close (PS3.8 9.2, state 13)."""
        deadline = time.monotonic() + _LINGER_S
        with suppress(OSError):
            while (left_s := deadline - time.monotonic()) > 0 and not self.is_interrupted:
                self._connection.settimeout(left_s)
                # What comes is not read, only waited for; under TLS it need not be decrypted.
                if not socket.socket.recv_into(self._connection, self._view):
                    break

    def close(self) -> None:
        """Close the connection."""
        with suppress(OSError):
            self._connection.close()
