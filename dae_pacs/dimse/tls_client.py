"""Calling a peer over TLS: verified before a byte of DICOM is said, and never without."""

import socket
import ssl
from contextlib import suppress
from pathlib import Path
from typing import Final, cast

from dae_pacs.dimse import certificates, tls_words
from dae_pacs.dimse.addresses import PeerAddress
from dae_pacs.dimse.certificates import Certificate
from dae_pacs.dimse.tls import Identity, Reloading, client_context
from dae_pacs.errors import ConfigError, PeerError

ANY_NAME: Final = "any"
"""In place of a name: the certificate may bear any."""
_WRONG_NAME: Final = frozenset({62, 64})  # X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH


class TlsSocket(ssl.SSLSocket):
    """A TLS connection that ends as TLS asks for."""

    def shutdown(self, how: int) -> None:
        """Say goodbye in TLS, then end the connection below; the encryption stays on it to its end."""
        with suppress(OSError, ValueError):
            self.settimeout(0)  # goodbye is said at once, and the peer's is not waited for
            self.unwrap()
        socket.socket.shutdown(self, how)


class ClientTls:
    """How one peer is called over TLS."""

    def __init__(
        self,
        identity: Identity | None,
        *,
        trust: Path | None,
        name: str | None = None,
        fingerprint: str | None = None,
        minimum: str = "1.2",
    ) -> None:
        """Read the files.

        Args:
            identity: our certificate, for a peer that asks for one.
            trust: certificates of those whose signature we believe, or the peer's own.
            name: the name that its certificate must bear; None for the host's, `ANY_NAME` for any.
            fingerprint: SHA-256 of its certificate, which is then the one thing that is asked of it.
            minimum: the least version of TLS.

        Raises:
            ConfigError: a file can't be used, or nothing is given by which to verify the peer.
        """
        if not fingerprint and trust is None:
            raise ConfigError(
                "TLS to a peer: nothing is set by which to verify it; give tls_trust or tls_fingerprint"
            )
        self._name = name
        self._fingerprint = fingerprint or None
        trusted = None if fingerprint else trust
        files = (*(identity.files if identity else ()), *((trusted,) if trusted else ()))
        self._context = Reloading(
            files,
            lambda: client_context(identity, trust=trusted, check_name=name != ANY_NAME, minimum=minimum),
        )
        self.seen: Certificate | None = None
        """The certificate that the peer showed last, once it was believed."""

    @property
    def problem(self) -> str:
        """Why the files that are there now are not in force; empty when they are."""
        return self._context.problem

    def secure(self, connection: socket.socket, *, peer: str, host: str, timeout_s: float) -> TlsSocket:
        """Shake hands, and verify whom with; the connection is closed where that fails.

        Args:
            connection: a connected socket, owned by what is returned.
            peer: how the peer is named in messages.
            host: its host, whose name the certificate must bear where no other was set.
            timeout_s: for the whole handshake.

        Raises:
            PeerError: it is not the one that we want to talk to, or speaks no TLS, or refuses us.
        """
        name = host if self._name in {None, ANY_NAME} else str(self._name)
        context = self._context.get()
        context.sslsocket_class = TlsSocket
        held: socket.socket = connection
        try:
            connection.settimeout(timeout_s)
            secured = cast(
                TlsSocket,
                context.wrap_socket(connection, server_hostname=name, do_handshake_on_connect=False),
            )
            held = secured
            secured.do_handshake()
        except OSError as error:
            held.close()
            raise PeerError(f"{peer}: no TLS with it: {_words(error, name)}") from error
        try:
            self._verify(secured, peer)
        except PeerError:
            held.close()
            raise
        return secured

    def _verify(self, secured: TlsSocket, peer: str) -> None:
        """Note the certificate that was shown, and hold it against the fingerprint, where that counts."""
        der = secured.getpeercert(binary_form=True)
        if der is None:
            raise PeerError(f"{peer}: no TLS with it: it shows no certificate")
        wanted, found = self._fingerprint, certificates.fingerprint_of(der)
        if wanted is not None and not certificates.same_fingerprint(found, wanted):
            raise PeerError(
                f"{peer}: no TLS with it: its certificate is another than the one of tls_fingerprint; it has "
                f"{found}. Change the setting only if the peer's administrator confirms that"
            )
        self.seen = certificates.of_der(der)


def _words(error: OSError, name: str) -> str:
    words = tls_words.of_handshake(error)
    if isinstance(error, ssl.SSLCertVerificationError) and error.verify_code in _WRONG_NAME:
        words += f" ({name}); set tls_name to what it bears, which dae-pacs tls check shows"
    return words


def shown_by(peer: PeerAddress, identity: Identity | None) -> Certificate:
    """Give the certificate that a peer shows, believed or not; nothing of DICOM is said to it.

    Raises:
        PeerError: it can't be reached, or speaks no TLS.
    """
    context = client_context(identity, trust=None, check_name=False)
    with _connected(peer) as connection:
        try:
            with context.wrap_socket(connection, server_hostname=peer.host) as secured:
                der = secured.getpeercert(binary_form=True)
        except OSError as error:
            raise PeerError(f"{peer}: no TLS with it: {tls_words.of_handshake(error)}") from error
    if der is None:
        raise PeerError(f"{peer}: no TLS with it: it shows no certificate")
    certificate = certificates.of_der(der)
    if certificate is None:
        raise PeerError(f"{peer}: the certificate that it shows can't be read")
    return certificate


def verify(peer: PeerAddress) -> None:
    """Shake hands with a peer as configured, and hang up.

    Raises:
        PeerError: it can't be reached, or is not believed.
    """
    if peer.tls is None:
        raise PeerError(f"{peer}: is not called over TLS")
    with _connected(peer) as connection:
        how = {"peer": str(peer), "host": peer.host}
        peer.tls.secure(connection, **how, timeout_s=peer.connect_timeout_s).close()


def _connected(peer: PeerAddress) -> socket.socket:
    try:
        return socket.create_connection((peer.host, peer.port), timeout=peer.connect_timeout_s)
    except OSError as error:
        raise PeerError(f"{peer}: can't be reached: {error.strerror or error}") from error
