"""Where the peers of the configuration are."""

from dae_pacs.config.model import Peer, Settings
from dae_pacs.dimse.scu import PeerAddress
from dae_pacs.node.delivery import Destination


def address_of(peer: Peer) -> PeerAddress:
    """Give a configured peer's address, as the sending side wants it."""
    return PeerAddress(
        ae_title=peer.ae_title,
        host=peer.host,
        port=peer.port,
        connect_timeout_s=peer.connect_timeout_s,
        dimse_timeout_s=peer.dimse_timeout_s,
    )


def destinations_of(settings: Settings) -> list[Destination]:
    """List the configured peers as destinations of deliveries."""
    return [
        Destination(
            name=name,
            peer=address_of(peer),
            associations=peer.associations,
            breaker_after=settings.delivery.breaker_after,
            wants_commitment=peer.commitment,
        )
        for name, peer in settings.peers.items()
    ]
