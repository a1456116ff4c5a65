"""The listening socket: refused in words, never blocked by a stranger, closed with nothing left running.

Each connection has a thread of its own from its first byte on, so that the accepting thread waits for nobody.
Connections that have not yet asked for an association are few: where there are too many, the oldest of the
address that has the most of them makes room. Whoever opens sockets without a word locks out nobody else.
"""

import errno
import logging
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from dae_pacs.dimse.wire import Wire
from dae_pacs.errors import ServiceError
from dae_pacs.failpoints import reach

logger = logging.getLogger(__name__)

_BACKLOG: Final = 128  # a burst of callers would otherwise wait for TCP's retries
_PRIVILEGED_PORTS: Final = 1024
_POLL_S: Final = 0.25  # how soon a stop is noticed; a caller is always noticed at once
_BREATH_S: Final = 0.1  # before accepting again where the system had no socket or thread to give
_PENDING: Final = 64
"""Connections without an association, on top of the associations."""
_CUT_S: Final = 1.0  # for threads to end whose connection was cut


@dataclass
class _Connection:
    wire: Wire
    address: str
    thread: threading.Thread

    @property
    def is_pending(self) -> bool:
        return not (self.wire.is_associated or self.wire.is_interrupted)


class Listener:
    """A listening socket, the thread that accepts, and a thread for each connection."""

    def __init__(
        self,
        address: tuple[str, int],
        *,
        serve: Callable[[Wire, str], None],
        max_associations: int,
        setting: str = "node.port",
    ) -> None:
        """Bind and accept.

        Args:
            address: host and port.
            serve: handles one connection, given with the peer's address, in the connection's thread.
            max_associations: how many connections may be beyond their association request.
            setting: what the port is called in messages.

        Raises:
            ServiceError: the address can't be bound; the message says why and what to do.
        """
        self._serve = serve
        self._most_connections = max_associations + _PENDING
        self._connections: dict[Wire, _Connection] = {}
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        try:
            self._socket = _bind(address)
        except OSError as error:
            raise ServiceError(_why_not(error, address, setting)) from error
        self._socket.settimeout(_POLL_S)
        self._thread = self._start_accepting()

    def keep_running(self) -> None:
        """Start another accepting thread where an error ended the one before."""
        if not self._thread.is_alive() and not self._stopping.is_set():
            logger.critical("listener died, starting another")
            self._thread = self._start_accepting()

    def _start_accepting(self) -> threading.Thread:
        thread = threading.Thread(target=self._accept, name="dimse-accept", daemon=True)
        thread.start()
        return thread

    @property
    def is_running(self) -> bool:
        """Whether connections are being accepted."""
        return self._thread.is_alive() and not self._stopping.is_set()

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return int(self._socket.getsockname()[1])

    def stop(self, *, grace_s: float) -> None:
        """Stop accepting, interrupt every connection, and give their threads the grace to end."""
        self._stopping.set()
        with suppress(OSError):  # where the system does not let it wake accept(), its poll will
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()
        with self._lock:
            connections = list(self._connections.values())
        for connection in connections:
            connection.wire.interrupt()
        _join(connections, grace_s)
        for connection in connections:
            connection.wire.cut()
        _join(connections, _CUT_S)

    def _accept(self) -> None:
        while not self._stopping.is_set():
            reach("thread.accept")
            try:
                connection, address = self._socket.accept()
            except TimeoutError:
                continue
            except OSError as error:  # no file descriptor left, or a caller that was gone again
                if self._stopping.is_set():
                    return
                logger.warning("connection not accepted", extra={"error": error.strerror or str(error)})
                self._stopping.wait(_BREATH_S)
                continue
            self._welcome(connection, str(address[0]))

    def _welcome(self, connection: socket.socket, address: str) -> None:
        wire = Wire(connection)
        thread = threading.Thread(target=self._run, args=(wire, address), name="dimse", daemon=True)
        with self._lock:
            if not self._make_room():
                logger.warning("connection turned away", extra={"address": address})
                wire.close()
                return
            self._connections[wire] = _Connection(wire, address, thread)
        try:
            thread.start()
        except RuntimeError:  # the system has no thread left
            logger.warning("connection turned away, no thread left", extra={"address": address})
            self._forget(wire)
            self._stopping.wait(_BREATH_S)

    def _make_room(self) -> bool:
        """Cut the oldest pending connection of the address that has the most, if there are too many."""
        if len(self._connections) < self._most_connections:
            return True
        pending = [connection for connection in self._connections.values() if connection.is_pending]
        if not pending or len(self._connections) >= 2 * self._most_connections:
            return False
        ((busiest, _count),) = Counter(connection.address for connection in pending).most_common(1)
        victim = next(connection for connection in pending if connection.address == busiest)
        victim.wire.cut()
        logger.warning("connection without an association cut to make room", extra={"address": busiest})
        return True

    def _run(self, wire: Wire, address: str) -> None:
        try:
            self._serve(wire, address)
        finally:
            self._forget(wire)

    def _forget(self, wire: Wire) -> None:
        with self._lock:
            self._connections.pop(wire, None)
        wire.close()


def _bind(address: tuple[str, int]) -> socket.socket:
    found = socket.getaddrinfo(*address, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, _type, _protocol, _name, where = found[0]
    return socket.create_server((str(where[0]), int(where[1])), family=family, backlog=_BACKLOG)


def _why_not(error: OSError, address: tuple[str, int], setting: str) -> str:
    host, port = address
    where = f"can't listen on {host}:{port}"
    if error.errno == errno.EADDRINUSE:
        return f"{where}: another program has the port; stop it, or choose another with {setting}"
    if error.errno == errno.EACCES:
        return f"{where}: ports below {_PRIVILEGED_PORTS} need privileges; choose a higher one with {setting}"
    if error.errno == errno.EADDRNOTAVAIL or isinstance(error, socket.gaierror):
        return f"{where}: this machine has no such address; set node.bind to one of its own, or to 0.0.0.0"
    return f"{where}: {error.strerror or error}"


def _join(connections: list[_Connection], grace_s: float) -> None:
    deadline = time.monotonic() + grace_s
    for connection in connections:
        if connection.thread.ident is not None:
            connection.thread.join(max(0.0, deadline - time.monotonic()))
