"""What a certificate says: whose it is, who signed it, until when; and whether a key is kept safe."""

import hashlib
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from dae_pacs.errors import ConfigError

# Imports inside functions: eight megabytes that a node without TLS need not hold.
# ruff: noqa: PLC0415

if TYPE_CHECKING:
    from cryptography import x509

_DAY_S: Final = 86400.0


@dataclass(frozen=True)
class Certificate:
    """An X.509 certificate, as far as a person asks about it."""

    subject: str
    issuer: str
    names: tuple[str, ...]
    """DNS names and addresses of its Subject Alternative Name."""
    not_before: datetime
    not_after: datetime
    fingerprint: str
    """SHA-256 of the whole certificate, in hexadecimal with colons."""

    def days_left(self, now: datetime | None = None) -> float:
        """Give the days until it expires; below zero when it has."""
        return (self.not_after - (now or datetime.now(UTC))).total_seconds() / _DAY_S


def read(path: Path) -> Sequence[Certificate]:
    """Read every certificate of a PEM file, in its order.

    Raises:
        ConfigError: it can't be read, or holds none.
    """
    from cryptography import x509

    try:
        return [_described(found) for found in x509.load_pem_x509_certificates(path.read_bytes())]
    except OSError as error:
        raise ConfigError(f"certificate file {path}: can't be read ({error.strerror})") from error
    except ValueError as error:
        raise ConfigError(
            f"certificate file {path}: holds no certificate in PEM form, which begins with "
            "-----BEGIN CERTIFICATE-----"
        ) from error


def of_der(der: bytes) -> Certificate | None:
    """Describe a certificate as a TLS handshake gives it; None where it is too odd to be read."""
    from cryptography import x509

    try:
        return _described(x509.load_der_x509_certificate(der))
    except (ValueError, x509.InvalidVersion):  # OpenSSL is less strict about what it believes
        return None


def fingerprint_of(der: bytes) -> str:
    """Give a certificate's SHA-256, in hexadecimal with colons."""
    return hashlib.sha256(der).digest().hex(":").upper()


def refuse_open_key(path: Path) -> None:
    """Refuse a private key that every user of the machine can read.

    Raises:
        ConfigError: so it is, or it can't be looked at.
    """
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise ConfigError(f"private key {path}: can't be read ({error.strerror})") from error
    if mode & (stat.S_IROTH | stat.S_IWOTH | stat.S_IWGRP):
        raise ConfigError(
            f"private key {path}: others can read or change it (mode {stat.S_IMODE(mode):04o}). "
            f"Keep it for the node's user and group alone: chmod 640 {path}"
        )


def same_fingerprint(one: str, other: str) -> bool:
    """Tell whether two SHA-256 fingerprints are the same, however they are written."""
    return _bare(one) == _bare(other)


def _bare(fingerprint: str) -> str:
    return fingerprint.upper().removeprefix("SHA256").replace(":", "").replace("=", "").replace(" ", "")


def _described(found: "x509.Certificate") -> Certificate:
    from cryptography.hazmat.primitives.serialization import Encoding

    return Certificate(
        subject=found.subject.rfc4514_string(),
        issuer=found.issuer.rfc4514_string(),
        names=_names(found),
        not_before=found.not_valid_before_utc,
        not_after=found.not_valid_after_utc,
        fingerprint=fingerprint_of(found.public_bytes(Encoding.DER)),
    )


def _names(found: "x509.Certificate") -> tuple[str, ...]:
    from cryptography import x509

    try:
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):  # none, or one that can't be read
        return ()
    addresses = [str(address) for address in names.get_values_for_type(x509.IPAddress)]
    return (*names.get_values_for_type(x509.DNSName), *addresses)
