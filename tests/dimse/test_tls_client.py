"""Calling peers over TLS: DCMTK's storescp, and peers that are wrong in one way each."""

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from authority import Authority, Issued

from dae_pacs.dimse import certificates, scu
from dae_pacs.dimse.statuses import Outcome
from dae_pacs.dimse.tls import Identity
from dae_pacs.dimse.tls_client import ANY_NAME, ClientTls
from dae_pacs.errors import ConfigError, PeerError

Sample = Callable[[str], Path]


def identity(issued: Issued) -> Identity:
    return Identity(issued.certificate, issued.key)


def over_tls(peer: scu.PeerAddress, tls: ClientTls) -> scu.PeerAddress:
    return replace(peer, tls=tls)


def options(issued: Issued, authority: Authority, *more: str) -> tuple[str, ...]:
    """Give storescp's options for a TLS server that asks for certificates of the authority."""
    return (
        "+tls",
        str(issued.key),
        str(issued.certificate),
        "+cf",
        str(authority.certificate),
        *more,
    )


@pytest.fixture
def ours(authority: Authority) -> Identity:
    return identity(authority.issue("dae-pacs"))


@pytest.fixture
def tls_storescp(start_storescp: Any, authority: Authority) -> Callable[..., Any]:
    """Start storescps with TLS: `tls_storescp(issued, "-ic")`."""

    def start(issued: Issued | None = None, *more: str) -> Any:
        chosen = issued or authority.issue("storescp")
        return start_storescp(*options(chosen, authority, *more), answers_echo=False)

    return start


@contextmanager
def handshaking(context: ssl.SSLContext) -> Iterator[scu.PeerAddress]:
    """Listen, shake hands with every caller, read, and close."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _address = listener.accept()
                except OSError:
                    return
                with suppress(OSError), context.wrap_socket(connection, server_side=True) as secured:
                    secured.recv(1)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield scu.PeerAddress("PEER", "127.0.0.1", listener.getsockname()[1], 5.0, 5.0)
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(10)


def server_side(issued: Issued) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(issued.certificate, issued.key)
    return context


@contextmanager
def plain_spoken(answer: bytes) -> Iterator[tuple[scu.PeerAddress, list[bytes]]]:
    """Listen in plain text: whatever comes is kept, and answered with the same bytes."""
    heard: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _address = listener.accept()
            with connection:
                connection.settimeout(10)
                heard.append(connection.recv(65536))
                if answer:
                    connection.sendall(answer)
                with suppress(ConnectionError):
                    while part := connection.recv(65536):
                        heard.append(part)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield scu.PeerAddress("PEER", "127.0.0.1", listener.getsockname()[1], 5.0, 5.0), heard
        thread.join(10)


def test_echo_over_tls_tells_whose_certificate_it_was(
    tls_storescp: Any, ours: Identity, authority: Authority
) -> None:
    tls = ClientTls(ours, trust=authority.certificate)
    assert scu.echo(over_tls(tls_storescp().peer, tls), calling_ae="US") > 0
    assert tls.seen is not None
    assert tls.seen.subject == "CN=storescp"
    assert 364 < tls.seen.days_left() < 366


def test_peer_without_tls_is_told_so_and_hears_nothing_but_a_handshake(authority: Authority) -> None:
    abort = bytes((7, 0, 0, 0, 0, 4, 0, 0, 2, 0))
    with plain_spoken(abort) as (peer, heard), pytest.raises(PeerError, match="speaks plain text"):
        scu.echo(over_tls(peer, ClientTls(None, trust=authority.certificate)), calling_ae="US")
    said = b"".join(heard)
    assert said[0] == 0x16, "a TLS handshake record"
    assert b"1.2.840.10008" not in said


def test_association_accepted_in_plain_text_is_no_tls(authority: Authority) -> None:
    accepted = bytes((2, 0, 0, 0, 0, 200)) + bytes(200)
    with plain_spoken(accepted) as (peer, heard), pytest.raises(PeerError, match="speaks plain text"):
        scu.echo(over_tls(peer, ClientTls(None, trust=authority.certificate)), calling_ae="US")
    assert b"US  " not in b"".join(heard)


def test_peer_that_never_answers_the_handshake_costs_its_time_alone(authority: Authority) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        peer = scu.PeerAddress("PEER", "127.0.0.1", silent.getsockname()[1], 0.5, 5.0)
        started = time.monotonic()
        with pytest.raises(PeerError, match="did not finish the handshake in time"):
            scu.echo(over_tls(peer, ClientTls(None, trust=authority.certificate)), calling_ae="US")
        assert time.monotonic() - started < 3


def test_certificate_of_a_stranger_is_refused(
    tls_storescp: Any, ours: Identity, stranger_authority: Authority
) -> None:
    tls = ClientTls(ours, trust=stranger_authority.certificate)
    with pytest.raises(PeerError, match="signed by an authority that is not among the trusted"):
        scu.echo(over_tls(tls_storescp().peer, tls), calling_ae="US")


def test_expired_certificate_is_refused(authority: Authority) -> None:
    expired = server_side(authority.issue("expired", days=-1))
    tls = ClientTls(None, trust=authority.certificate)
    with handshaking(expired) as peer, pytest.raises(PeerError, match="its certificate has expired"):
        scu.echo(over_tls(peer, tls), calling_ae="US")


def test_certificate_of_another_name_is_refused_and_may_be_named(
    tls_storescp: Any, ours: Identity, authority: Authority
) -> None:
    storescp = tls_storescp(authority.issue("other", names=["pacs.hospital.example"]))
    with pytest.raises(PeerError, match="bears another"):
        scu.echo(over_tls(storescp.peer, ClientTls(ours, trust=authority.certificate)), calling_ae="US")
    for name in ("pacs.hospital.example", ANY_NAME):
        named = ClientTls(ours, trust=authority.certificate, name=name)
        assert scu.echo(over_tls(storescp.peer, named), calling_ae="US") > 0


def test_certificate_without_alternative_names_goes_by_its_common_name(
    tls_storescp: Any, ours: Identity, authority: Authority
) -> None:
    storescp = tls_storescp(authority.issue("oldpacs", names=[]))
    named = ClientTls(ours, trust=authority.certificate, name="oldpacs")
    assert scu.echo(over_tls(storescp.peer, named), calling_ae="US") > 0


def test_fingerprint_stands_for_signer_and_name(
    tls_storescp: Any, ours: Identity, stranger_authority: Authority
) -> None:
    issued = stranger_authority.issue("pinned", names=["elsewhere"])
    (certificate,) = certificates.read(issued.certificate)
    pinned = ClientTls(ours, trust=None, fingerprint=certificate.fingerprint.lower().replace(":", ""))
    assert scu.echo(over_tls(tls_storescp(issued).peer, pinned), calling_ae="US") > 0


def test_another_fingerprint_is_refused_before_a_word(authority: Authority) -> None:
    wrong = ClientTls(None, trust=None, fingerprint="00" * 32)
    impostor = server_side(authority.issue("impostor"))
    finding = "another than the one of tls_fingerprint"
    with handshaking(impostor) as peer, pytest.raises(PeerError, match=finding):
        scu.echo(over_tls(peer, wrong), calling_ae="US")


def test_peers_own_certificate_may_be_what_is_trusted(
    tls_storescp: Any, ours: Identity, authority: Authority
) -> None:
    issued = authority.issue("leaf")
    tls = ClientTls(ours, trust=issued.certificate)
    assert scu.echo(over_tls(tls_storescp(issued).peer, tls), calling_ae="US") > 0


def test_old_tls_is_refused(authority: Authority) -> None:
    context = server_side(authority.issue("old"))
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    with handshaking(context) as peer, pytest.raises(PeerError, match="no TLS with it"):
        scu.echo(over_tls(peer, ClientTls(None, trust=authority.certificate)), calling_ae="US")


def test_tls_1_2_is_refused_where_1_3_is_asked_for(tls_storescp: Any, authority: Authority) -> None:
    context = server_side(authority.issue("twelve"))
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    tls = ClientTls(None, trust=authority.certificate, minimum="1.3")
    with handshaking(context) as peer, pytest.raises(PeerError, match="none of our versions"):
        scu.echo(over_tls(peer, tls), calling_ae="US")


def test_key_that_others_can_read_is_refused(authority: Authority) -> None:
    issued = authority.issue("open")
    issued.key.chmod(0o644)
    with pytest.raises(ConfigError, match=r"others can read or change it \(mode 0644\).*chmod 640"):
        ClientTls(identity(issued), trust=authority.certificate)


def test_objects_reach_dcmtk_bit_by_bit(
    tls_storescp: Any, ours: Identity, authority: Authority, sample: Sample, data_set: Any
) -> None:
    storescp = tls_storescp()
    peer = over_tls(storescp.peer, ClientTls(ours, trust=authority.certificate))
    paths = [sample("CT_small.dcm"), sample("MR_small.dcm")]
    results: list[scu.SendResult] = []
    scu.send(peer, [scu.outgoing(path) for path in paths], calling_ae="US", on_result=results.append)
    assert [result.outcome for result in results] == [Outcome.SENT] * 2
    assert sorted(storescp.data_sets()) == sorted(map(data_set, paths))


def test_peer_that_asks_for_our_certificate_is_told_of(tls_storescp: Any, authority: Authority) -> None:
    tls = ClientTls(None, trust=authority.certificate)
    with pytest.raises(PeerError, match="certificate"):
        scu.echo(over_tls(tls_storescp().peer, tls), calling_ae="US")


def test_peer_that_does_not_know_our_signer_says_so(
    tls_storescp: Any, stranger_authority: Authority, authority: Authority
) -> None:
    tls = ClientTls(identity(stranger_authority.issue("unknown")), trust=authority.certificate)
    with pytest.raises(PeerError, match=r"our certificate"):
        scu.echo(over_tls(tls_storescp().peer, tls), calling_ae="US")


def test_peer_that_nothing_verifies_is_never_called() -> None:
    with pytest.raises(ConfigError, match="nothing is set by which to verify it"):
        ClientTls(None, trust=None)
