"""The settings of who may talk to the node, and of TLS."""

import ipaddress
import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from dae_pacs.config.fields import AbsolutePath, AETitle, Count, alone_or_many, fault

_STRICT = ConfigDict(frozen=True, extra="forbid", validate_default=True)

TLS_PORT = 2762
"""Registered with IANA for DICOM over TLS (dicom-tls; PS3.15 B.12)."""
_HOST = re.compile(r"(?!.*\.\.)[A-Za-z0-9_][A-Za-z0-9_.-]{0,252}")
_NUMBERS = re.compile(r"[0-9.*/]+")
_FINGERPRINT = re.compile(r"(SHA-?256[:=]? ?)?([0-9A-F]{2}:?){31}[0-9A-F]{2}", re.IGNORECASE)


def _address(value: str) -> str:
    text = value.strip()
    try:
        ipaddress.ip_network(text)
    except ValueError as error:
        if "/" in text and "host bits" in str(error):
            right = f"write the network itself: {ipaddress.ip_network(text, strict=False)}"
            raise fault("is an address within a network, with that network's length", right) from error
        if _NUMBERS.fullmatch(text) or ":" in text or not _HOST.fullmatch(text):
            right = "give an address (10.1.2.3), a network (10.1.2.0/24) or a host name (ct1.hospital)"
            raise fault("is neither an address, nor a network, nor a host name", right) from error
    return text


def _fingerprint(value: str) -> str:
    if not _FINGERPRINT.fullmatch(value.strip()):
        raise fault(
            "is no SHA-256 fingerprint",
            "give the 64 hexadecimal digits that `dae-pacs tls check` shows",
        )
    return value.strip()


Addresses = Annotated[tuple[Annotated[str, AfterValidator(_address)], ...], BeforeValidator(alone_or_many)]
AETitles = Annotated[tuple[AETitle, ...], BeforeValidator(alone_or_many), Field(min_length=1)]
Fingerprint = Annotated[str, AfterValidator(_fingerprint)]


class Sender(BaseModel):
    """Who may send to the node, and is not sent to: a modality, say. Peers need no entry here."""

    model_config = _STRICT

    ae_title: AETitles = Field(
        description="Its AE title, or several; `*` stands for any characters, `?` for one.",
        examples=["CT1"],
    )
    addresses: Addresses = Field(
        min_length=1,
        description="Where it calls from: addresses, networks such as 10.1.2.0/24, host names. From "
        "anywhere: 0.0.0.0/0 and ::/0.",
        examples=[["10.1.2.3"]],
    )


class TlsSettings(BaseModel):
    """TLS 1.2 and 1.3 (PS3.15 B.12, BCP 195). Files are PEM, and read again when they are replaced."""

    model_config = _STRICT

    port: Count | None = Field(
        default=None,
        ge=0,
        le=65535,
        description=f"Listen here with TLS ({TLS_PORT} is DICOM's own); without it, TLS is for calling peers "
        "alone.",
        examples=[TLS_PORT],
    )
    also_plain: bool = Field(
        default=False,
        description="Listen on `node.port` without TLS, too. Otherwise `tls.port` closes `node.port`.",
    )
    certificate: AbsolutePath | None = Field(
        default=None,
        description="The node's own certificate, followed by those between it and its root.",
    )
    key: AbsolutePath | None = Field(
        default=None, description="Its private key, in a file that other users can't read."
    )
    key_password_file: AbsolutePath | None = Field(
        default=None, description="A file with the password of an encrypted key, and nothing else."
    )
    trust: AbsolutePath | None = Field(
        default=None,
        description="Certificates of the authorities whose signature is believed, of callers and of peers.",
    )
    clients: Literal["certificate", "anyone"] = Field(
        default="certificate",
        description="`certificate`: whoever calls must show one that `trust` believes. `anyone`: the call is "
        "encrypted, but the caller proves nothing.",
    )
    minimum: Literal["1.2", "1.3"] = Field(
        default="1.2", description="The oldest version of TLS that is taken."
    )
    warn_days: Count = Field(
        default=30,
        ge=0,
        le=3650,
        description="A certificate that expires within so many days is warned of, each day.",
    )
