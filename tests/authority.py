"""A certificate authority for tests: it signs what a test asks for, good or bad."""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@dataclass(frozen=True)
class Issued:
    """A certificate and its key, in two PEM files."""

    certificate: Path
    key: Path


class Authority:
    """Signs certificates, and writes them and itself into a folder."""

    def __init__(self, folder: Path, name: str = "Hospital CA") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name(name)
        self.certificate = folder / "ca.pem"
        """What those who trust the authority are given."""
        signed = _builder(self._name, self._name, self._key, days=3650, age_days=2)
        signed = signed.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        self.certificate.write_bytes(_pem(signed.sign(self._key, hashes.SHA256())))

    def issue(
        self,
        name: str,
        *,
        names: Sequence[str] = ("localhost", "127.0.0.1"),
        days: float = 365,
        rsa_bits: int | None = None,
        password: bytes | None = None,
        file: str | None = None,
    ) -> Issued:
        """Sign a certificate that expires in so many days; below zero it has expired.

        Args:
            name: its common name.
            names: its alternative names, DNS names or addresses.
            days: until it expires.
            rsa_bits: an RSA key of that length instead of one on P-256.
            password: encrypts the key.
            file: stem of both files; the name where it is None.
        """
        key: Key = (
            rsa.generate_private_key(65537, rsa_bits) if rsa_bits else ec.generate_private_key(ec.SECP256R1())
        )
        builder = _builder(_name(name), self._name, key, days=days, age_days=2 if days > 0 else 400)
        if names:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([_alternative(text) for text in names]), critical=False
            )
        stem = self._folder / (file or name)
        issued = Issued(stem.with_suffix(".pem"), stem.with_suffix(".key"))
        issued.certificate.write_bytes(_pem(builder.sign(self._key, hashes.SHA256())))
        write_key(key, issued.key, password=password)
        return issued


def write_key(key: Key, path: Path, *, password: bytes | None = None) -> None:
    """Write a private key for its owner alone."""
    encryption = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    path.touch(mode=0o600)
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, key: Key, *, days: float, age_days: float
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=age_days))
        .not_valid_after(now + timedelta(days=days))
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _alternative(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
