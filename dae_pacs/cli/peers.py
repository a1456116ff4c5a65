"""Find the peer that a person means: a name of the configuration, or AE@host:port."""

import difflib

from dae_pacs.config.model import Settings
from dae_pacs.dimse.scu import PeerAddress, parse_peer
from dae_pacs.errors import PeerError
from dae_pacs.node.peers import address_of


def resolve(text: str, settings: Settings) -> PeerAddress:
    """Find a peer's address.

    Raises:
        PeerError: the configuration has no peer of that name, or the address can't be read.
    """
    if "@" in text:
        return parse_peer(text)
    if text not in settings.peers:
        close = difflib.get_close_matches(text, settings.peers, n=1)
        if close:
            advice = f"Did you mean {close[0]}?"
        elif settings.peers:
            advice = f"It has: {', '.join(settings.peers)}. Name one of them, or give AE@host:port."
        else:
            advice = f"It has no peers. Add a table [peers.{text}], or give AE@host:port."
        raise PeerError(f"Peer {text!r}: is not in the configuration. {advice}")
    return address_of(settings.peers[text], settings.tls)


def shown(text: str, peer: PeerAddress) -> str:
    """Name a peer as the person did, with its address."""
    address = f"{peer.ae_title}@{peer.host}:{peer.port}"
    return address if "@" in text else f"{text} ({address})"
