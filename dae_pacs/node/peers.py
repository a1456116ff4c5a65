"""Where the peers of the configuration are."""

from dae_pacs.config.model import Peer
from dae_pacs.dimse.scu import PeerAddress


def address_of(peer: Peer) -> PeerAddress:
    """Give a configured peer's address, as the sending side wants it."""
    return PeerAddress(
        ae_title=peer.ae_title,
        host=peer.host,
        port=peer.port,
        connect_timeout_s=peer.connect_timeout_s,
        dimse_timeout_s=peer.dimse_timeout_s,
    )
