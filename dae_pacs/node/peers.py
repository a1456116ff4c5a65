"""Where the peers of the configuration are."""

from dae_pacs.config.model import Peer, Settings
from dae_pacs.dimse.scu import PeerAddress
from dae_pacs.node.commitment import Asking
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


def askings_of(settings: Settings) -> list[Asking]:
    """List the peers that are asked for storage commitment."""
    delivery = settings.delivery
    return [
        Asking(
            name=name,
            peer=address_of(peer),
            calling_ae=settings.node.ae_title,
            batch=delivery.commitment_batch,
            wait_s=delivery.commitment_wait_s,
            report_s=delivery.commitment_report_s,
        )
        for name, peer in settings.peers.items()
        if peer.commitment
    ]
