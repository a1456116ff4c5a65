"""What a stranger may do on the port with TLS, and what then happens to everybody else, on both ports."""

import shutil
import socket
import ssl
import subprocess
import threading
import time
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from authority import Authority, Issued
from stranger import (
    COMMAND,
    LAST,
    Stranger,
    association_request,
    data_set_of,
    pdu,
    pdv,
    small_ct,
    store_command,
)

from dae_pacs.dimse import scu
from dae_pacs.dimse.entrance import Entrance, TlsDoor, TurnedAway
from dae_pacs.dimse.tls import Identity, Reloading, server_context
from dae_pacs.dimse.tls_client import ClientTls

HANDSHAKE, ALERT = 0x16, 0x15
PROTOCOL_VERSION, HANDSHAKE_FAILURE = 70, 40


class Bastion:
    """A node with a port without TLS and one with it, which asks for certificates."""

    def __init__(self, open_gate: Any, authority: Authority, client: Issued, **settings: Any) -> None:
        self.served = authority.issue("bastion", file=f"bastion-{time.monotonic_ns()}")
        identity = Identity(self.served.certificate, self.served.key)
        trust = authority.certificate
        self.context = Reloading((*identity.files, trust), lambda: server_context(identity, trust=trust))
        self.turned_away: list[TurnedAway] = []
        door = TlsDoor(0, self.context.get)
        self.gate = open_gate(Entrance(tls=door, turned_away=self.turned_away.append), **settings)
        self.port = self.gate.scp.tls_port
        self._trust, self._client = trust, client
        self._strangers: list[Stranger] = []

    def dial(self) -> Stranger:
        """Connect to the port with TLS, and say nothing."""
        self._strangers.append(Stranger(self.port))
        return self._strangers[-1]

    def client_context(self, client: Issued | None = None, *, is_known: bool = True) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self._trust))
        if is_known:
            shown = client or self._client
            context.load_cert_chain(shown.certificate, shown.key)
        return context

    def secured(self, context: ssl.SSLContext | None = None) -> Stranger:
        """Connect and shake hands."""
        stranger = self.dial()
        chosen = context or self.client_context()
        stranger.socket = chosen.wrap_socket(stranger.socket, server_hostname="localhost")
        return stranger

    def still_works(self, stored: int = 0) -> None:
        """Check that echoes and good objects are answered on both ports at once, and nothing else is kept."""
        self.gate.still_works()
        started = time.monotonic()
        own = Identity(self._client.certificate, self._client.key)
        tls = ClientTls(own, trust=self._trust)
        peer = scu.PeerAddress("DAE_PACS", "127.0.0.1", self.port, 5.0, 5.0, tls=tls)
        scu.echo(peer, calling_ae="GOOD")
        ds = small_ct()
        stranger = self.secured().associate()
        assert stranger.store(str(ds.SOPInstanceUID), data_set_of(ds)).status == 0
        stranger.release()
        assert time.monotonic() - started < 10
        self.gate.settled(2 + stored)

    def why_turned_away(self) -> str:
        """Wait for the first caller that was not let in, and give the reason."""
        deadline = time.monotonic() + 10
        while not self.turned_away:
            assert time.monotonic() < deadline, "nobody was turned away"
            time.sleep(0.01)
        return self.turned_away[0].words

    def close(self) -> None:
        for stranger in self._strangers:
            stranger.close()


@pytest.fixture
def open_bastion(open_gate: Any, authority: Authority, client: Issued) -> Any:
    """Open a node with TLS: `open_bastion(max_associations=1)`."""
    opened: list[Bastion] = []

    def start(**settings: Any) -> Bastion:
        opened.append(Bastion(open_gate, authority, client, **settings))
        return opened[-1]

    yield start
    for bastion in opened:
        bastion.close()


@pytest.fixture(scope="session")
def client(authority: Authority) -> Issued:
    return authority.issue("good-client")


@pytest.fixture
def bastion(open_bastion: Any) -> Bastion:
    return open_bastion()


def client_hello() -> bytes:
    """Give the first flight of a TLS client."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    half = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        half.do_handshake()
    return outgoing.read()


def alert_of(stranger: Stranger) -> int | None:
    """Give the description of a plain-text TLS alert, None where the connection ends without one."""
    try:
        head = stranger.exactly(5)
        body = stranger.exactly(int.from_bytes(head[3:5], "big"))
    except (EOFError, ConnectionError):
        return None
    return body[1] if head[0] == ALERT else -1


def test_twelve_half_handshakes_lock_nobody_out(bastion: Bastion) -> None:
    hello = client_hello()
    strangers = [bastion.dial().send(hello[: 20 + number]) for number in range(12)]
    bastion.still_works()
    assert all(stranger.is_closed() for stranger in strangers)


def test_handshakes_that_stop_after_the_servers_flight_lock_nobody_out(bastion: Bastion) -> None:
    strangers = [bastion.dial().send(client_hello()) for _ in range(12)]
    assert all(stranger.exactly(5)[0] == HANDSHAKE for stranger in strangers)
    bastion.still_works()


def test_two_hundred_silent_sockets_lock_nobody_out(open_bastion: Any) -> None:
    bastion = open_bastion(association_timeout_s=30.0)
    strangers = [bastion.dial() for _ in range(200)]
    bastion.still_works()
    assert strangers[0].is_closed(), "the oldest make room"


def test_handshake_a_byte_at_a_time_is_dropped_at_its_deadline(bastion: Bastion) -> None:
    hello = client_hello()
    single = [hello[number : number + 1] for number in range(len(hello))]
    assert bastion.dial().trickle(*single, pause_s=0.05) < 4
    bastion.still_works()


def test_handshake_and_silence_are_dropped_at_the_deadline_of_both(bastion: Bastion) -> None:
    started = time.monotonic()
    assert bastion.secured().is_closed()
    assert time.monotonic() - started < 3
    bastion.still_works()


@pytest.mark.parametrize(
    "rubbish",
    [
        bytes(600),
        b"\xff" * 600,
        b"GET / HTTP/1.1\r\nHost: pacs\r\n\r\n",
        b"\x16\x03\x01\xff\xff" + bytes(600),
    ],
    ids=["zeros", "ones", "web browser", "record longer than any"],
)
def test_rubbish_in_place_of_a_handshake_ends_the_connection(bastion: Bastion, rubbish: bytes) -> None:
    stranger = bastion.dial().send(rubbish)
    assert alert_of(stranger) != -1
    assert bastion.why_turned_away().startswith("no TLS: ")
    bastion.still_works()


def test_connections_that_say_nothing_are_no_matter_of_security(bastion: Bastion) -> None:
    for _ in range(20):
        bastion.dial().close()
    bastion.still_works()
    assert bastion.turned_away == []


def test_three_hundred_failed_handshakes_leave_no_socket_and_no_thread(bastion: Bastion) -> None:
    bastion.still_works()
    before = len(list(Path("/proc/self/fd").iterdir())), threading.active_count()
    for number in range(300):
        stranger = bastion.dial().send(b"GET / HTTP/1.1\r\n\r\n" if number % 2 else client_hello()[:50])
        if number % 2:
            alert_of(stranger)
        stranger.close()
    deadline = time.monotonic() + 20
    while (len(list(Path("/proc/self/fd").iterdir())), threading.active_count()) > before:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_association_request_in_plain_text_gets_no_pdu(bastion: Bastion) -> None:
    stranger = bastion.dial().send(association_request())
    assert alert_of(stranger) != -1
    assert stranger.is_closed()
    assert bastion.why_turned_away() == "no TLS: what came is not TLS: it speaks plain text on this port"
    bastion.still_works()


def test_tls_handshake_on_the_plain_port_is_aborted_at_once(bastion: Bastion) -> None:
    stranger = bastion.gate.dial().send(client_hello())
    assert stranger.abort_source_and_reason() == (0, 0)
    bastion.still_works()


@pytest.mark.parametrize("version", ["TLSv1", "TLSv1_1"])
def test_old_versions_of_tls_are_refused(bastion: Bastion, version: str) -> None:
    context = bastion.client_context()
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # that it is old is the point
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion[version]
    with pytest.raises(ssl.SSLError, match="alert protocol version"):
        bastion.secured(context)
    assert "TLS 1.1 or older alone" in bastion.why_turned_away()
    bastion.still_works()


@pytest.mark.parametrize(
    "suite", ["AES128-SHA", "AES256-GCM-SHA384", "ECDHE-ECDSA-AES128-SHA", "ECDHE-ECDSA-CHACHA20-POLY1305"]
)
def test_cipher_suites_outside_the_profile_are_refused(bastion: Bastion, suite: str) -> None:
    context = bastion.client_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(suite)
    with pytest.raises(ssl.SSLError, match="handshake failure"):
        bastion.secured(context)
    assert "no cipher suite of PS3.15 B.12" in bastion.why_turned_away()
    bastion.still_works()


def refused(bastion: Bastion, context: ssl.SSLContext) -> str:
    """Shake hands and ask for an association; give the alert that comes in place of an answer."""
    with pytest.raises((ssl.SSLError, EOFError, ConnectionError)) as caught:
        bastion.secured(context).send(association_request()).next_pdu()
    return str(caught.value)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_caller_without_a_certificate_is_refused(bastion: Bastion, version: ssl.TLSVersion) -> None:
    context = bastion.client_context(is_known=False)
    context.minimum_version = context.maximum_version = version
    assert "alert" in refused(bastion, context)
    assert "shows no certificate" in bastion.why_turned_away()
    bastion.still_works()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_callers_certificate_of_a_strange_authority_is_refused(
    bastion: Bastion, stranger_authority: Authority, version: ssl.TLSVersion
) -> None:
    context = bastion.client_context(stranger_authority.issue("intruder"))
    context.minimum_version = context.maximum_version = version
    assert "unknown ca" in refused(bastion, context)
    assert "is signed by an authority that is not among the trusted" in bastion.why_turned_away()
    bastion.still_works()


def test_callers_expired_certificate_is_refused(bastion: Bastion, authority: Authority) -> None:
    assert "expired" in refused(bastion, bastion.client_context(authority.issue("late", days=-1)))
    assert "its certificate has expired" in bastion.why_turned_away()
    bastion.still_works()


def test_certificate_of_the_authority_that_was_made_to_look_alike_is_refused(
    bastion: Bastion, tmp_path: Path
) -> None:
    impostor = Authority(tmp_path / "impostor", "Hospital CA")
    assert "alert" in refused(bastion, bastion.client_context(impostor.issue("good-client")))
    assert "was not signed by the authority that it names" in bastion.why_turned_away()
    bastion.still_works()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_object_arrives_whole_in_records_of_one_byte(bastion: Bastion, version: ssl.TLSVersion) -> None:
    context = bastion.client_context()
    context.minimum_version = context.maximum_version = version
    stranger = bastion.secured(context).associate()
    ds = small_ct()
    data = data_set_of(ds)
    message = pdu(4, pdv(1, COMMAND | LAST, store_command(str(ds.SOPInstanceUID)))) + pdu(
        4, pdv(1, LAST, data)
    )
    for number in range(1000):
        stranger.send(message[number : number + 1])
    stranger.send(message[1000:])
    assert stranger.reply().status == 0
    stranger.release()
    (kept,) = bastion.gate.settled(1)
    assert kept.read_bytes().endswith(data)
    bastion.still_works(1)


def begun_object(bastion: Bastion) -> Stranger:
    """Send the first half of an object."""
    stranger = bastion.secured().associate()
    data = data_set_of(small_ct())
    stranger.data(pdv(1, COMMAND | LAST, store_command("1.2.3.4"))).data(pdv(1, 0, data[: len(data) // 2]))
    deadline = time.monotonic() + 5
    while not list(bastion.gate.files.incoming.iterdir()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return stranger


def raw(stranger: Stranger) -> socket.socket:
    """Take the encryption off a connection, so that what is written is not TLS."""
    return socket.socket(fileno=stranger.socket.detach())


def test_close_without_goodbye_in_the_middle_of_an_object_leaves_nothing(bastion: Bastion) -> None:
    stranger = begun_object(bastion)
    raw(stranger).close()
    bastion.still_works()


def test_goodbye_in_the_middle_of_an_object_leaves_nothing(bastion: Bastion) -> None:
    stranger = begun_object(bastion)
    stranger.socket.settimeout(5)
    with suppress(OSError):  # in place of a goodbye comes the node's A-ABORT
        stranger.socket.unwrap()
    bastion.still_works()


def test_reset_in_the_middle_of_an_object_leaves_nothing(bastion: Bastion) -> None:
    connection = raw(begun_object(bastion))
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
    connection.close()
    bastion.still_works()


@pytest.mark.parametrize("forged", [b"\x17\x03\x03\x00\x40" + bytes(64), association_request(), bytes(100)])
def test_forged_bytes_in_the_middle_of_an_object_leave_nothing(bastion: Bastion, forged: bytes) -> None:
    connection = raw(begun_object(bastion))
    with connection:
        connection.sendall(forged)
        connection.settimeout(10)
        with suppress(ConnectionError):
            while connection.recv(65536):
                pass
    bastion.still_works()


def test_plain_text_after_the_handshake_leaves_nothing(bastion: Bastion) -> None:
    connection = raw(bastion.secured())
    with connection:
        connection.sendall(association_request())
        connection.settimeout(10)
        answer = b""
        with suppress(ConnectionError):
            while part := connection.recv(65536):
                answer += part
    assert b"DAE_PACS" not in answer
    bastion.still_works()


def test_association_outlives_its_certificate_and_the_next_one_gets_the_new(
    bastion: Bastion, authority: Authority
) -> None:
    stranger = begun_object(bastion)
    authority.issue("renewed", file=bastion.served.certificate.stem)
    shown = bastion.secured().socket.getpeercert()
    assert shown["subject"] == ((("commonName", "renewed"),),)
    data = data_set_of(small_ct())
    stranger.data(pdv(1, LAST, data[len(data) // 2 :]))
    assert stranger.reply().status != 0, "its UID is not its command's, which was read to the end"
    stranger.release()
    bastion.still_works()


def test_key_replaced_by_rubbish_changes_nothing_for_callers(bastion: Bastion) -> None:
    bastion.served.key.write_text("rubbish")
    bastion.still_works()
    assert "can't be used" in bastion.context.problem


def test_limit_of_associations_holds_over_tls(open_bastion: Any) -> None:
    bastion = open_bastion(max_associations=2, network_timeout_s=5.0)
    held = [bastion.secured().associate() for _ in range(2)]
    kind, body = bastion.secured().send(association_request()).next_pdu()
    assert (kind, body[1:]) == (0x03, bytes((2, 3, 2)))
    plain_kind, plain_body = bastion.gate.dial().send(association_request()).next_pdu()
    assert (plain_kind, plain_body[1:]) == (0x03, bytes((2, 3, 2)))
    for stranger in held:
        stranger.release()
    time.sleep(0.1)
    bastion.still_works()


def test_limit_of_an_address_holds_over_tls(open_bastion: Any) -> None:
    bastion = open_bastion(max_associations=9, max_associations_per_address=1, network_timeout_s=5.0)
    held = bastion.secured().associate()
    kind, body = bastion.secured().send(association_request()).next_pdu()
    assert (kind, body[1:]) == (0x03, bytes((2, 3, 2)))
    held.release()
    time.sleep(0.1)
    bastion.still_works()


def test_no_ticket_lets_a_caller_come_back_without_its_certificate(bastion: Bastion) -> None:
    stranger = bastion.secured().associate()
    session = stranger.socket.session
    assert session is None or not session.has_ticket
    stranger.release()
    bastion.still_works()


def s_client(bastion: Bastion, client: Issued, *options: str, say: bytes = b"Q\n") -> str:
    """Let OpenSSL's own client try."""
    program = shutil.which("openssl")
    if program is None:
        pytest.skip("openssl is not installed")
    where = [
        "-connect",
        f"127.0.0.1:{bastion.port}",
        "-cert",
        str(client.certificate),
        "-key",
        str(client.key),
    ]
    command = [program, "s_client", *where, *options]
    ran = subprocess.run(command, input=say, capture_output=True, timeout=30, check=False)
    return (ran.stdout + ran.stderr).decode(errors="replace")


@pytest.mark.parametrize(
    ("options", "found"),
    [
        (["-tls1_3"], "New, TLSv1.3, Cipher is TLS_AES_256_GCM_SHA384"),
        (["-tls1_2"], "New, TLSv1.2, Cipher is ECDHE-ECDSA-AES256-GCM-SHA384"),
        (["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"], "Cipher is ECDHE-ECDSA-AES128-GCM-SHA256"),
        (["-tls1_2", "-cipher", "AES256-SHA:ECDHE-ECDSA-AES256-SHA"], "handshake failure"),
        (["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"], "alert protocol version"),
        (["-alpn", "dicom"], "ALPN protocol: dicom"),
        (["-tls1_2"], "Compression: NONE"),
    ],
    ids=["1.3", "1.2", "128 bits", "no forward secrecy", "1.1", "alpn", "compression"],
)
def test_openssl_sees_the_profile(bastion: Bastion, client: Issued, options: list[str], found: str) -> None:
    assert found in s_client(bastion, client, *options)
    bastion.still_works()


def test_renegotiation_is_refused(bastion: Bastion, client: Issued) -> None:
    said = s_client(bastion, client, "-tls1_2", say=b"R\n")
    assert "RENEGOTIATING" in said
    assert "no renegotiation" in said
    bastion.still_works()
