"""What went wrong with TLS, in words and with the remedy: OpenSSL's reasons are for those who know it."""

import ssl
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

# X509_V_ERR_... of OpenSSL's x509_vfy.h, which Python has no names for
_VERIFICATION: Mapping[int, str] = MappingProxyType(
    {
        7: "was not signed by the authority that it names",
        9: "is not valid yet; check the clocks of both machines",
        10: "has expired; it must be renewed there",
        18: "is signed by itself and not among the trusted certificates; trust it, or its authority",
        19: "is signed by an authority that is not among the trusted certificates",
        20: "is signed by an authority that is not among the trusted certificates",
        21: "is signed by an authority that is not among the trusted certificates",
        23: "was revoked",
        26: "was not made for this purpose (its Extended Key Usage)",
        62: "bears another name than the one expected",
        64: "bears another address than the one expected",
        66: "has a key that is too short",
        67: "has a signing authority whose key is too short",
        68: "is signed with a digest that is too weak, such as SHA-1",
    }
)
_NO_TLS = "what came is not TLS: it speaks plain text on this port"
_REASONS: Mapping[str, str] = MappingProxyType(
    {
        "WRONG_VERSION_NUMBER": _NO_TLS,
        "HTTP_REQUEST": _NO_TLS,
        "RECORD_LAYER_FAILURE": _NO_TLS,
        "PACKET_LENGTH_TOO_LONG": _NO_TLS,
        "BAD_RECORD_TYPE": _NO_TLS,
        "UNEXPECTED_MESSAGE": "it breaks the TLS protocol",
        "UNSUPPORTED_PROTOCOL": "it offers TLS 1.1 or older alone, which nobody may use any more (RFC 8996)",
        "NO_SHARED_CIPHER": "it offers no cipher suite of PS3.15 B.12",
        "NO_SUITABLE_SIGNATURE_ALGORITHM": "it can't check a certificate of our kind",
        "PEER_DID_NOT_RETURN_A_CERTIFICATE": "it shows no certificate, and tls.clients asks for one",
        "TLSV13_ALERT_CERTIFICATE_REQUIRED": "it asks for a certificate of ours, and got none: "
        "set tls.certificate and tls.key",
        "SSLV3_ALERT_HANDSHAKE_FAILURE": "it refuses: it may ask for a certificate of ours "
        "(tls.certificate and tls.key), or have no cipher suite in common with us",
        "TLSV1_ALERT_UNKNOWN_CA": "it does not trust the signer of our certificate; give it that authority's",
        "SSLV3_ALERT_BAD_CERTIFICATE": "it does not take our certificate",
        "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE": "our certificate was not made for this purpose, it says",
        "SSLV3_ALERT_CERTIFICATE_EXPIRED": "our certificate has expired, it says",
        "SSLV3_ALERT_CERTIFICATE_REVOKED": "our certificate was revoked, it says",
        "SSLV3_ALERT_CERTIFICATE_UNKNOWN": "it does not take our certificate",
        "TLSV1_ALERT_PROTOCOL_VERSION": "it takes none of our versions of TLS",
        "TLSV1_ALERT_DECRYPT_ERROR": "it can't verify our signature",
        "TLSV1_ALERT_INSUFFICIENT_SECURITY": "it asks for stronger cipher suites",
        "TLSV1_ALERT_ACCESS_DENIED": "it takes our certificate and denies us access",
        "TLSV1_UNRECOGNIZED_NAME": "it does not go by the name that we asked for; set tls_name",
        "UNEXPECTED_EOF_WHILE_READING": "it closed the connection in the middle",
    }
)


def of_handshake(error: OSError) -> str:
    """Say why a handshake failed, or an encrypted connection broke; "it" is the other side."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate {_VERIFICATION.get(error.verify_code, error.verify_message)}"
    if isinstance(error, TimeoutError):
        return "it did not finish the handshake in time"
    if isinstance(error, ssl.SSLError) and error.reason:
        return _REASONS.get(error.reason, f"OpenSSL says {error.reason}")
    if isinstance(error, ssl.SSLEOFError | ConnectionError):
        return "it closed the connection in the middle"
    return error.strerror or str(error)


def of_silence(error: Exception) -> str:
    """Say why a peer ended a TLS connection before it answered anything.

    In TLS 1.3 a server judges our certificate after our handshake is over (RFC 8446 4.4.2), and the alert
    that says so may be lost.
    """
    if isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError):
        return of_handshake(error)
    return (
        "it ended the connection after the handshake; it may not take our certificate, or miss one: check "
        "tls.certificate, and whom the peer trusts"
    )


def of_identity(error: ssl.SSLError, certificate: Path, key: Path, *, is_locked: bool) -> str:
    """Say why our own certificate and key can't be used.

    Args:
        error: what OpenSSL found.
        certificate: the file.
        key: the file.
        is_locked: a password was asked for.
    """
    if is_locked and not error.reason:
        return f"private key {key}: its password is another than that of tls.key_password_file"
    match error.reason:
        case "KEY_VALUES_MISMATCH" | "KEY_TYPE_MISMATCH":
            return f"private key {key}: is not the key of the certificate {certificate}; give the pair"
        case "BAD_DECRYPT" | "BAD_PASSWORD_READ" | "MAYBE_WRONG_PASSWORD":
            return f"private key {key}: its password is another than that of tls.key_password_file"
        case "EE_KEY_TOO_SMALL" | "CA_KEY_TOO_SMALL" | "CA_MD_TOO_WEAK":
            return (
                f"certificate file {certificate}: its key is too short, or its digest too weak (RFC 9325 4.5)"
            )
        case _:
            detail = f" ({error.reason})" if error.reason else ""
            return (
                f"certificate file {certificate} with private key {key}: can't be used{detail}; both must be "
                "PEM, which begins with -----BEGIN"
            )
