"""Who may associate with us: by the title called, the title calling, and the address of the caller.

Whoever is not known under its title *at its address* gets the same answer as one whose title nobody knows
(PS3.8 Table 9-21: result 1, source 1, reason 3): a stranger must not learn which titles would do. Our log
says which it was.
"""

import ipaddress
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dae_pacs.dimse import pdus
from dae_pacs.dimse.hosts import Address, Hosts
from dae_pacs.dimse.pdus import Rejection

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True)
class Guest:
    """One who may call."""

    name: str
    """What the configuration calls it."""
    ae_titles: tuple[str, ...]
    """Its titles: `*` stands for any characters, `?` for one."""
    addresses: tuple[str, ...]
    """Addresses, networks (10.1.0.0/16) and host names from which it calls."""


class GuestList:
    """Decides on calls; for any thread."""

    def __init__(self, guests: Sequence[Guest], *, called: Sequence[str], hosts: Hosts | None = None) -> None:
        """Prepare the list.

        Args:
            guests: who may call.
            called: titles under which we may be called, as patterns.
            hosts: what finds addresses by name.
        """
        self._guests = [_Entry(guest) for guest in guests]
        self._called = _patterns(called)
        self._hosts = hosts or Hosts()

    def refusal(self, *, calling_ae: str, called_ae: str, address: str) -> Rejection | None:
        """Say why a call is not taken; None when it is."""
        if not _matches(self._called, called_ae):
            return pdus.CALLED_AE_NOT_RECOGNIZED
        known = [entry for entry in self._guests if _matches(entry.titles, calling_ae)]
        if not known:
            return pdus.CALLING_AE_NOT_RECOGNIZED
        origin = _origin(address)
        if any(origin in network for entry in known for network in entry.networks):
            return None
        names = tuple(name for entry in known for name in entry.names)
        return None if self._hosts.has(names, origin) else pdus.ADDRESS_NOT_LISTED


def anyone(*, calling_ae: str, called_ae: str, address: str) -> Rejection | None:
    """Take every call."""
    return None


class _Entry:
    """A guest, its titles and addresses parsed."""

    def __init__(self, guest: Guest) -> None:
        self.titles = _patterns(guest.ae_titles)
        self.networks = list(_networks(guest.addresses))
        self.names = [text for text in guest.addresses if as_network(text) is None]


def as_network(text: str) -> Network | None:
    """Read an address or a network; None for what is neither, such as a host name."""
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None


def _networks(texts: Sequence[str]) -> Iterator[Network]:
    for text in texts:
        network = as_network(text)
        if network is not None:
            yield network


def _patterns(texts: Sequence[str]) -> list[re.Pattern[str]]:
    return [re.compile(re.escape(text).replace(r"\*", ".*").replace(r"\?", "."), re.DOTALL) for text in texts]


def _matches(patterns: Sequence[re.Pattern[str]], title: str) -> bool:
    return any(pattern.fullmatch(title) for pattern in patterns)


def _origin(address: str) -> Address:
    """Read a socket's peer address: without its scope, and as IPv4 where it is one (RFC 4291 2.5.5.2)."""
    origin = ipaddress.ip_address(address.partition("%")[0])
    mapped = origin.ipv4_mapped if isinstance(origin, ipaddress.IPv6Address) else None
    return mapped or origin
