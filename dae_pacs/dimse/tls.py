"""TLS by PS3.15 B.12 (BCP 195: RFC 8996 and RFC 9325): TLS 1.2 or 1.3, authenticated, never below.

Contexts are made from files, and made again when the files are replaced. A replacement that is broken changes
nothing: what was in force stays, and the trouble is told until it is mended.
"""

import logging
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dae_pacs.dimse import tls_words
from dae_pacs.dimse.certificates import refuse_open_key
from dae_pacs.errors import ConfigError

logger = logging.getLogger(__name__)

CIPHER_SUITES: Final = (
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
)
"""Of TLS 1.2, as RFC 9325 4.2 recommends them; TLS 1.3 has its own, all of which are good."""
_SECURITY_LEVEL: Final = "@SECLEVEL=2"
"""OpenSSL's: no RSA below 2048 bits, no curve below 224, no SHA-1 (RFC 9325 4.5)."""
_PROTOCOL: Final = "dicom"
"""The name in ALPN (IANA), so that no other protocol's words are taken for ours (RFC 9325 3.7)."""
_AGAIN_S: Final = 60.0
"""How often a broken replacement is tried again without having changed: a disk may have been full."""
VERSIONS: Final = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


@dataclass(frozen=True)
class Identity:
    """Our own certificate and its private key, as PEM files."""

    certificate: Path
    """The certificate, followed by those between it and its root, if any."""
    key: Path
    key_password_file: Path | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        """All files that it stands in."""
        password = () if self.key_password_file is None else (self.key_password_file,)
        return (self.certificate, self.key, *password)


class Reloading:
    """A TLS context that follows its files."""

    def __init__(self, files: Sequence[Path], make: Callable[[], ssl.SSLContext]) -> None:
        """Make the context now.

        Raises:
            ConfigError: the files can't be used; the message names the one.
        """
        self._files = tuple(files)
        self._make = make
        self._lock = threading.Lock()
        self._stamp = stamp(self._files)
        self._context = make()
        self._again_at = 0.0
        self.problem = ""
        """Why the files that are there now are not in force; empty when they are."""

    def get(self) -> ssl.SSLContext:
        """Give the context that is in force, after a look at its files."""
        now = stamp(self._files)
        with self._lock:
            is_due = bool(self.problem) and time.monotonic() >= self._again_at
            if now != self._stamp or is_due:
                self._stamp = now
                self._renew()
            return self._context

    def _renew(self) -> None:
        try:
            self._context = self._make()
        except ConfigError as error:
            self._again_at = time.monotonic() + _AGAIN_S
            if self.problem != str(error):
                self.problem = str(error)
                logger.error(  # noqa: TRY400 - a message of ours says more than its traceback
                    "TLS files were replaced by ones that can't be used; those before stay in force",
                    extra={"why": self.problem},
                )
        else:
            self.problem = ""
            logger.info("TLS files were replaced, and are in force", extra={"certificate": self._files[0]})


def server_context(identity: Identity, *, trust: Path | None, minimum: str = "1.2") -> ssl.SSLContext:
    """Make the context of a listener.

    Args:
        identity: our certificate.
        trust: certificates of those whose signature we believe; a caller must show one. None: it need not.
        minimum: the least version of TLS, one of `VERSIONS`.

    Raises:
        ConfigError: a file can't be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _harden(context, minimum)
    context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
    # Without tickets nobody comes back on the strength of a certificate that is no longer believed.
    context.options |= ssl.OP_NO_TICKET
    context.num_tickets = 0
    _identify(context, identity)
    if trust is not None:
        _believe(context, trust)
        _believe_ourselves(context, identity)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def client_context(
    identity: Identity | None, *, trust: Path | None, check_name: bool, minimum: str = "1.2"
) -> ssl.SSLContext:
    """Make the context for calling a peer.

    Args:
        identity: our certificate, for peers that ask for one.
        trust: certificates of those whose signature we believe, or the peer's own. None where the caller
            holds the peer's certificate against its fingerprint instead.
        check_name: the certificate must bear the name that is asked for.
        minimum: the least version of TLS, one of `VERSIONS`.

    Raises:
        ConfigError: a file can't be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    _harden(context, minimum)
    context.check_hostname = check_name and trust is not None
    if trust is not None:
        _believe(context, trust)
    else:
        context.verify_mode = ssl.CERT_NONE  # its fingerprint is looked at before a byte is said
    if identity is not None:
        _identify(context, identity)
    return context


def _harden(context: ssl.SSLContext, minimum: str) -> None:
    context.minimum_version = VERSIONS[minimum]
    context.set_ciphers(":".join((*CIPHER_SUITES, _SECURITY_LEVEL)))
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols([_PROTOCOL])


def _identify(context: ssl.SSLContext, identity: Identity) -> None:
    refuse_open_key(identity.key)
    is_locked = False

    def password() -> bytes:
        nonlocal is_locked
        is_locked = True
        if identity.key_password_file is None:
            raise ConfigError(
                f"private key {identity.key}: is encrypted; put its password into a file of its own "
                "and name that with tls.key_password_file"
            )
        return _password(identity.key_password_file)

    try:
        context.load_cert_chain(identity.certificate, identity.key, password=password)
    except ssl.SSLError as error:
        words = tls_words.of_identity(error, identity.certificate, identity.key, is_locked=is_locked)
        raise ConfigError(words) from error
    except OSError as error:
        _readable(identity.certificate, "certificate file")
        _readable(identity.key, "private key")
        raise ConfigError(f"certificate file {identity.certificate}: {error.strerror}") from error


def _believe(context: ssl.SSLContext, trust: Path) -> None:
    _readable(trust, "trusted certificates")
    try:
        context.load_verify_locations(trust)
    except (ssl.SSLError, OSError) as error:
        raise ConfigError(
            f"trusted certificates {trust}: holds no certificate in PEM form, which begins with "
            "-----BEGIN CERTIFICATE-----"
        ) from error
    # A peer's own certificate may stand there, too, not just that of a root.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN


def _believe_ourselves(context: ssl.SSLContext, identity: Identity) -> None:
    """Take our own certificate, and no other of its file, from a caller: `dae-pacs echo` on this machine."""
    own, end, _others = identity.certificate.read_text("ascii", errors="replace").partition(ssl.PEM_FOOTER)
    begin = own.find(ssl.PEM_HEADER)
    if end and begin >= 0:
        context.load_verify_locations(cadata=f"{own[begin:]}{end}\n")


def _readable(path: Path, what: str) -> None:
    try:
        path.open("rb").close()
    except OSError as error:
        raise ConfigError(f"{what} {path}: can't be read ({error.strerror})") from error


def _password(path: Path) -> bytes:
    try:
        return path.read_bytes().rstrip(b"\r\n")
    except OSError as error:
        raise ConfigError(f"password file {path}: can't be read ({error.strerror})") from error


def stamp(files: Sequence[Path]) -> tuple[tuple[int, int, int] | None, ...]:
    """Tell files apart from those that they were: time, place on the disk and size."""
    stamps: list[tuple[int, int, int] | None] = []
    for path in files:
        try:
            found = path.stat()
        except OSError:
            stamps.append(None)
        else:
            stamps.append((found.st_mtime_ns, found.st_ino, found.st_size))
    return tuple(stamps)
