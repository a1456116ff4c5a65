"""A real syslog receiver's certificates, and one that speaks RFC 5425 by hand."""

import socket
import ssl
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from dae_pacs.audit.entry import Entry

sys.path.insert(0, str(Path(__file__).parents[1]))  # for the tests' own modules

from authority import Authority


@dataclass(frozen=True)
class Certificates:
    """Files in PEM: an authority, and a server's certificate that it signed for a name."""

    authority: Path
    certificate: Path
    key: Path


MakeCertificates = Callable[[str], Certificates]


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> MakeCertificates:
    """Make an authority and what it signs for a name: `certificates("127.0.0.1")`."""

    def make(name: str) -> Certificates:
        authority = Authority(tmp_path_factory.mktemp("certificates"))
        issued = authority.issue("syslog", names=(name,))
        return Certificates(authority.certificate, issued.certificate, issued.key)

    return make


class Receiver:
    """Takes syslog messages by octet counting (RFC 5425 4.3.1), parsed here and nowhere else."""

    def __init__(self, certificates: Certificates | None, *, port: int = 0) -> None:
        self.messages: list[bytes] = []
        self.failures: list[str] = []
        self._arrived = threading.Condition()
        self._context: ssl.SSLContext | None = None
        if certificates is not None:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(certificates.certificate, certificates.key)
        self._socket = socket.create_server(("127.0.0.1", port), reuse_port=True)
        self.port = int(self._socket.getsockname()[1])
        self._connections: list[socket.socket] = []
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def wait_for(self, count: int, timeout_s: float = 20) -> list[bytes]:
        with self._arrived:
            assert self._arrived.wait_for(lambda: len(self.messages) >= count, timeout_s), self.messages
            return list(self.messages)

    def close(self) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for connection in self._connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()
        self._thread.join()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                threading.Thread(target=self._read, args=(connection,), daemon=True).start()

    def _read(self, connection: socket.socket) -> None:
        try:
            if self._context is not None:
                connection = self._context.wrap_socket(connection, server_side=True)
            self._connections.append(connection)
            with connection.makefile("rb") as stream:
                while digits := _until_space(stream):
                    message = stream.read(int(digits))
                    assert len(message) == int(digits)
                    with self._arrived:
                        self.messages.append(message)
                        self._arrived.notify_all()
            if isinstance(connection, ssl.SSLSocket):
                connection.unwrap()
            connection.close()
        except (OSError, ValueError) as error:
            self.failures.append(str(error))
            connection.close()


def _until_space(stream) -> bytes:
    digits = b""
    while (mark := stream.read(1)) and mark != b" ":
        digits += mark
    return digits


@pytest.fixture
def receivers() -> Iterator[Callable[..., Receiver]]:
    """Open receivers: `receivers(certificates)`, or without certificates for plain TCP."""
    with ExitStack() as stack:

        def start(certificates: Certificates | None = None, *, port: int = 0) -> Receiver:
            receiver = Receiver(certificates, port=port)
            stack.callback(receiver.close)
            return receiver

        yield start


@pytest.fixture
def entry() -> Callable[[int], Entry]:
    """Make entries that tell themselves apart: `entry(3)`."""
    return lambda number: Entry(1_700_000_000_000_000_000 + number, b'<AuditMessage number="%d"/>' % number)
