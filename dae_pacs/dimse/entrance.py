"""What stands between a connection and an association: TLS, the guest list, and who hears of a refusal."""

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from dae_pacs.dimse import access
from dae_pacs.dimse.certificates import Certificate
from dae_pacs.dimse.pdus import Rejection


class Admit(Protocol):
    """Decides on a call."""

    def __call__(self, *, calling_ae: str, called_ae: str, address: str) -> Rejection | None:
        """Say why a call is not taken; None when it is."""
        ...


@dataclass(frozen=True)
class TurnedAway:
    """A caller that was not let in."""

    address: str
    calling_ae: str
    """As it called itself; empty where it did not come so far."""
    words: str
    is_for_now: bool = False
    """It may come again: there was no place left, which is no matter of security."""


@dataclass(frozen=True)
class TlsDoor:
    """A listener with TLS."""

    port: int
    context: Callable[[], ssl.SSLContext]
    """Gives the context for the next handshake."""


@dataclass(frozen=True)
class Entrance:
    """How callers come in; by default whoever comes, and without TLS."""

    admit: Admit = access.anyone
    tls: TlsDoor | None = None
    is_plain: bool = True
    """Whether there is a listener without TLS."""
    turned_away: Callable[[TurnedAway], None] = lambda _who: None
    """Told of each caller that is not let in, in its thread."""
    certificate_seen: Callable[[str, Certificate], None] = lambda _address, _certificate: None
    """Told of each certificate that a caller showed and that was believed, with the caller's address."""
