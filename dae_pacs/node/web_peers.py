"""The DICOMweb services of the configuration, as the client wants them: verified, and logged in to."""

import base64
import os
import socket
import ssl
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from dae_pacs.config.model import Settings
from dae_pacs.config.security import TlsSettings
from dae_pacs.config.web_peers import WebPeer
from dae_pacs.dicomweb.client import Service, Timeouts
from dae_pacs.dimse import certificates, tls_words
from dae_pacs.dimse.tls import Identity, client_context
from dae_pacs.dimse.tls_client import ANY_NAME
from dae_pacs.errors import ConfigError, PeerError
from dae_pacs.node.peers import identity_of

_MOST_BYTES: Final = 65536
_HTTPS_PORT: Final = 443


def service_of(name: str, peer: WebPeer, tls: TlsSettings) -> Service:
    """Say how a configured service is called.

    Raises:
        ConfigError: a file of its password, token or certificates can't be used.
    """
    authorization = _authorization(name, peer)
    if authorization is not None:
        authorization()
    context = _context(peer, tls) if peer.url.startswith("https://") else None
    if context is not None and peer.tls_fingerprint is None:
        context()
    has_name = peer.tls_name not in {None, ANY_NAME}
    return Service(
        url=peer.url,
        tls=context,
        authorization=authorization,
        timeouts=Timeouts(
            connect_s=peer.connect_timeout_s, write_s=peer.answer_timeout_s, read_s=peer.answer_timeout_s
        ),
        tls_name=str(peer.tls_name) if has_name else "",
    )


def services_of(settings: Settings) -> dict[str, Service]:
    """Give all configured services by their names.

    Raises:
        ConfigError: as in `service_of`.
    """
    return {name: service_of(name, peer, settings.tls) for name, peer in settings.web_peers.items()}


def _authorization(name: str, peer: WebPeer) -> Callable[[], str] | None:
    """Give what makes the Authorization header's value anew each time: a token's file may be replaced."""
    token = _secret(f"web_peers.{name}.token", peer.token_file, peer.token_env)
    if token is not None:
        return lambda: f"Bearer {token()}"
    password = _secret(f"web_peers.{name}.password", peer.password_file, peer.password_env)
    if password is None:
        return None
    return lambda: "Basic " + base64.b64encode(f"{peer.user}:{password()}".encode()).decode("ascii")


def _secret(what: str, file: Path | None, variable: str | None) -> Callable[[], str] | None:
    if file is not None:
        return partial(_of_file, f"{what}_file", file)
    return partial(_of_environment, f"{what}_env", variable) if variable is not None else None


def _of_file(what: str, file: Path) -> str:
    try:
        with file.open("rb") as opened:
            value = opened.read(_MOST_BYTES).decode().strip("\r\n")
    except (OSError, ValueError) as error:
        words = error.strerror if isinstance(error, OSError) else "it is no text"
        raise ConfigError(
            f"{what} = {file}: can't be read: {words}; correct the path or its rights"
        ) from error
    return _checked(what, value)


def _of_environment(what: str, variable: str) -> str:
    return _checked(what, os.environ.get(variable, ""))


def _checked(what: str, value: str) -> str:
    if not value or not value.isprintable():
        raise ConfigError(f"{what}: holds nothing that can be used; put one line of text there")
    return value


def _context(peer: WebPeer, tls: TlsSettings) -> Callable[[], ssl.SSLContext]:
    identity = identity_of(tls)
    if peer.tls_fingerprint is not None:
        return partial(_pinned, peer.url, peer.tls_fingerprint, identity, tls.minimum)
    trust = peer.tls_trust or tls.trust
    if trust is None:
        return partial(_of_system, identity, tls.minimum)
    check_name = peer.tls_name != ANY_NAME
    return partial(client_context, identity, trust=trust, check_name=check_name, minimum=tls.minimum)


def _of_system(identity: Identity | None, minimum: str) -> ssl.SSLContext:
    """Believe the authorities of this machine."""
    context = client_context(identity, trust=None, check_name=False, minimum=minimum)
    context.check_hostname = True
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_default_certs()
    return context


def _pinned(url: str, fingerprint: str, identity: Identity | None, minimum: str) -> ssl.SSLContext:
    """Look at the certificate that is shown, and believe that one alone, if it is the right one.

    Raises:
        PeerError: it can't be reached, speaks no TLS, or shows another certificate.
    """
    parts = urlsplit(url)
    host, port = str(parts.hostname), parts.port or _HTTPS_PORT
    looking = client_context(identity, trust=None, check_name=False, minimum=minimum)
    try:
        with (
            socket.create_connection((host, port), timeout=10) as connection,
            looking.wrap_socket(connection, server_hostname=host) as secured,
        ):
            shown = secured.getpeercert(binary_form=True)
    except ssl.SSLError as error:
        raise PeerError(f"{url}: no TLS with it: {tls_words.of_handshake(error)}") from error
    except OSError as error:
        raise PeerError(f"{url}: can't be reached: {error.strerror or error}") from error
    found = certificates.fingerprint_of(shown or b"")
    if shown is None or not certificates.same_fingerprint(found, fingerprint):
        raise PeerError(
            f"{url}: no TLS with it: its certificate is another than the one of tls_fingerprint; it has "
            f"{found}. Change the setting only if the service's administrator confirms that"
        )
    context = client_context(identity, trust=None, check_name=False, minimum=minimum)
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.load_verify_locations(cadata=shown)
    return context
