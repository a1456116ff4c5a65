"""A PACS that speaks PS3.8 by hand, and does to a sender whatever a test wants done."""

import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress

from stranger import COMMAND, LAST, command, item, pdu, pdv, ui, us

Script = Callable[["Talk"], None]
WITHOUT_DATA_SET = 0x0101


class Talk:
    """One association as its acceptor, one step at a time."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.contexts: dict[int, tuple[str, str]] = {}
        """By context ID what was proposed: SOP class and transfer syntax."""
        self._fragments: list[tuple[int, int, bytes]] = []

    def send(self, data: bytes) -> None:
        self.connection.sendall(data)

    def next_pdu(self) -> tuple[int, bytes]:
        kind, length = struct.unpack(">BxI", self._exactly(6))
        return kind, self._exactly(length)

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            part = self.connection.recv(size - len(data))
            if not part:
                raise EOFError
            data += part
        return data

    def hear_request(self) -> None:
        """Read an A-ASSOCIATE-RQ."""
        kind, body = self.next_pdu()
        assert kind == 1
        for outer, value in _items(body[68:]):
            if outer == 0x20:
                inner = dict(_items(value[4:]))
                self.contexts[value[0]] = (inner[0x30].decode(), inner[0x40].decode())

    def accept(self, *, result: int = 0, max_pdu: int = 16384, syntax: str | None = None) -> None:
        """Answer a request: each context with the same result."""
        self.hear_request()
        body = struct.pack(">Hxx", 1) + bytes(64)
        body += item(0x10, b"1.2.840.10008.3.1.1.1")
        for number, (_sop_class, proposed) in self.contexts.items():
            chosen = item(0x40, (syntax or proposed).encode())
            body += item(0x21, bytes((number, 0, result, 0)) + chosen)
        user = item(0x51, struct.pack(">I", max_pdu)) + item(0x52, b"1.2.3.4")
        self.send(pdu(2, body + item(0x50, user)))

    def reject(self, result: int, source: int, reason: int) -> None:
        self.hear_request()
        self.send(pdu(3, bytes((0, result, source, reason))))

    def hear_store(self) -> tuple[int, int, str] | None:
        """Read a C-STORE whole: context ID, message ID, SOP Instance UID; None where a release is asked."""
        whole = b""
        while True:
            while not self._fragments:
                kind, body = self.next_pdu()
                if kind == 5:
                    return None
                assert kind == 4, f"PDU type {kind}"
                while body:
                    (size,) = struct.unpack(">I", body[:4])
                    self._fragments.append((body[4], body[5], body[6 : 4 + size]))
                    body = body[4 + size :]
            context_id, control, data = self._fragments.pop(0)
            if control & COMMAND:
                whole += data
            elif control & LAST:
                values = _elements(whole)
                uid = values[0x1000].rstrip(b"\0").decode()
                return context_id, struct.unpack("<H", values[0x0110])[0], uid

    def answer(
        self, context_id: int, message_id: int, uid: str, status: int, *, field: int = 0x8001
    ) -> bytes:
        """Encode a response's command set."""
        return pdu(4, pdv(context_id, COMMAND | LAST, response(message_id, uid, status, field=field)))

    def serve(self, status: Callable[[str], int] = lambda _uid: 0) -> None:
        """Take everything, and release in good order."""
        while (heard := self.hear_store()) is not None:
            context_id, message_id, uid = heard
            self.send(self.answer(context_id, message_id, uid, status(uid)))
        self.send(pdu(6, bytes(4)))


def response(message_id: int, uid: str, status: int, *, field: int = 0x8001) -> bytes:
    return command(
        ui(0x0002, "1.2.840.10008.5.1.4.1.1.2"),
        us(0x0100, field),
        us(0x0120, message_id),
        us(0x0800, WITHOUT_DATA_SET),
        us(0x0900, status),
        ui(0x1000, uid),
    )


def _items(data: bytes) -> list[tuple[int, bytes]]:
    found = []
    while data:
        kind, length = struct.unpack(">BxH", data[:4])
        found.append((kind, data[4 : 4 + length]))
        data = data[4 + length :]
    return found


def _elements(data: bytes) -> dict[int, bytes]:
    found = {}
    while data:
        _group, number, length = struct.unpack("<HHI", data[:8])
        found[number] = data[8 : 8 + length]
        data = data[8 + length :]
    return found


class HandPeer:
    """Listens, and plays a script on each connection; `script` may be exchanged while it runs."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.connections = 0
        self.stopping = threading.Event()
        """Set at the end: a script that waits for ever waits for this."""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._threads: list[threading.Thread] = []
        self._open: list[socket.socket] = []
        self._accepting = threading.Thread(target=self._accept)
        self._accepting.start()

    def _accept(self) -> None:
        while not self.stopping.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(connection)
            thread = threading.Thread(target=self._play, args=(connection,))
            self._threads.append(thread)
            thread.start()

    def _play(self, connection: socket.socket) -> None:
        with connection, suppress(EOFError, OSError):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.script(Talk(connection))

    def close(self) -> None:
        self.stopping.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._open:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in (self._accepting, *self._threads):
            thread.join(10)
