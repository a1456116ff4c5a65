"""Who a peer is and where it listens."""

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dae_pacs.config.masking import masked
from dae_pacs.errors import ConfigError

if TYPE_CHECKING:
    from dae_pacs.dimse.tls_client import ClientTls

_AE = re.compile(
    r"[\x20-\x5b\x5d-\x7e]{1,16}"
)  # PS3.5 Table 6.2-1, VR AE: no backslash, no control characters
_ADDRESS = re.compile(r"(?P<ae>[^@]*)@(?P<host>\[[^\]]+\]|[^:@]+):(?P<port>\d+)")


@dataclass(frozen=True)
class PeerAddress:
    """A remote application entity, and how long we wait for it."""

    ae_title: str
    host: str
    port: int
    connect_timeout_s: float = 10.0
    dimse_timeout_s: float = 15.0
    tls: "ClientTls | None" = field(default=None, compare=False)
    """How it is called over TLS; None where it is called in plain text."""

    def __str__(self) -> str:
        """Return AE@host:port, the form in which a peer is named in every message."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.ae_title}@{host}:{self.port}"


def check_ae_title(text: str) -> str:
    """Return an AE title without its padding.

    Raises:
        ConfigError: it is empty, longer than 16 characters, or holds others than ASCII (PS3.5 6.2, VR AE).
    """
    title = text.strip(" ")
    if not title or not _AE.fullmatch(title):
        raise ConfigError(
            f"AE title {text!r}: expected 1 to 16 printable ASCII characters without a backslash (PS3.5 6.2)"
        )
    return title


def parse_peer(text: str) -> PeerAddress:
    """Read "AE@host:port", with an IPv6 host in square brackets.

    Raises:
        ConfigError: the text has another form, or a part of it is out of range.
    """
    match = _ADDRESS.fullmatch(text.strip())
    if match is None:
        raise ConfigError(f"peer {masked(text)!r}: expected AE@host:port, for example ORTHANC@127.0.0.1:4242")
    port = int(match["port"])
    if not 1 <= port <= 65535:
        raise ConfigError(f"peer {masked(text)!r}: port {port} is not between 1 and 65535")
    return PeerAddress(check_ae_title(match["ae"]), match["host"].strip("[]"), port)
