"""TLS handshakes with strangers who say nothing, or the wrong thing, and with those who do it right."""

import asyncio
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from authority import Authority

from dae_pacs.config.web import WebSettings
from dae_pacs.web.connections import share_of
from dae_pacs.web.doorstep import doorstep_of

PATIENCE_S = 30.0
WEB = WebSettings(request_timeout_s=1.5, max_connections=24)


class Echo(asyncio.Protocol):
    """What goes on inside: says back what it hears."""

    def __init__(self, greeting: bytes) -> None:
        self._greeting = greeting

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._transport.write(self._greeting + data)


@dataclass
class House:
    """A server with a doorstep, and those who were at it."""

    port: int
    trust: ssl.SSLContext
    faults: list[str]
    visitors: list[socket.socket] = field(default_factory=list)

    def visit(self) -> socket.socket:
        visitor = socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_S)
        self.visitors.append(visitor)
        return visitor

    def answer(self) -> bytes:
        with self.trust.wrap_socket(self.visit(), server_hostname="localhost") as secured:
            secured.sendall(b"it is me")
            return secured.recv(100)


@pytest.fixture(params=[True, False], ids=["bounded", "unbounded"])
def is_bounded(request) -> bool:
    return request.param


@pytest.fixture
def house(tmp_path, is_bounded) -> Iterator[House]:
    authority = Authority(tmp_path)
    issued = authority.issue("console")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(issued.certificate, issued.key)
    loop = asyncio.new_event_loop()
    faults: list[str] = []
    loop.set_exception_handler(lambda _loop, told: faults.append(str(told)))
    doorstep = doorstep_of(WEB, context, Echo, is_bounded=lambda _address, _proxies: is_bounded)
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    loop.run_until_complete(loop.create_server(lambda: doorstep(greeting=b"hello, "), sock=listener))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    trust = ssl.create_default_context(cafile=str(authority.certificate))
    house = House(listener.getsockname()[1], trust, faults)
    yield house
    for visitor in house.visitors:
        visitor.close()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    for task in asyncio.all_tasks(loop):
        task.cancel()
    listener.close()
    loop.run_until_complete(asyncio.sleep(0.1))
    loop.close()
    assert not faults


def is_closed(visitor: socket.socket, timeout_s: float = PATIENCE_S) -> bool:
    visitor.settimeout(timeout_s)
    try:
        return visitor.recv(1000) == b""
    except TimeoutError:
        return False
    except ConnectionResetError:
        return True


def test_who_shakes_hands_gets_in(house):
    assert house.answer() == b"hello, it is me"


def test_who_says_nothing_is_shown_out_in_seconds(house):
    silent = [house.visit() for _ in range(5)]
    assert house.answer() == b"hello, it is me"  # meanwhile
    assert not is_closed(silent[0], 0.2)
    assert all(is_closed(one) for one in silent)


def test_half_a_handshake_and_no_tls_are_shown_out(house):
    half, plain = house.visit(), house.visit()
    half.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")  # the head of a ClientHello, RFC 8446 4
    plain.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    plain.settimeout(PATIENCE_S)
    while plain.recv(1000):  # an alert, perhaps
        pass
    assert is_closed(half)


def test_one_address_holds_its_share_of_handshakes_and_gets_its_places_back(house, is_bounded):
    most = share_of(WEB) if is_bounded else WEB.max_connections
    silent = [house.visit() for _ in range(most + 1)]
    assert is_closed(silent[-1])
    with pytest.raises((ConnectionResetError, ssl.SSLError, BrokenPipeError)):
        house.answer()
    for one in silent[:most]:
        one.close()
    assert until_answered(house) == b"hello, it is me"


def until_answered(house: House) -> bytes:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            return house.answer()
        except (ConnectionResetError, ssl.SSLError, BrokenPipeError):
            assert time.monotonic() < deadline
            time.sleep(0.1)
