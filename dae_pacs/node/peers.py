"""Where the peers of the configuration are, and how they are called."""

from dae_pacs.config.model import Peer, Settings
from dae_pacs.config.security import TlsSettings
from dae_pacs.dimse import certificates
from dae_pacs.dimse.addresses import PeerAddress
from dae_pacs.dimse.tls import Identity
from dae_pacs.dimse.tls_client import ClientTls
from dae_pacs.node.commitment import Asking
from dae_pacs.node.delivery import Destination


def address_of(peer: Peer, tls: TlsSettings) -> PeerAddress:
    """Give a configured peer's address, as the sending side wants it.

    Raises:
        ConfigError: it is called over TLS, and a file of that can't be used.
    """
    return PeerAddress(
        ae_title=peer.ae_title,
        host=peer.host,
        port=peer.port,
        connect_timeout_s=peer.connect_timeout_s,
        dimse_timeout_s=peer.dimse_timeout_s,
        tls=_tls_of(peer, tls) if peer.tls else None,
    )


def destinations_of(settings: Settings) -> list[Destination]:
    """List the configured peers as destinations of deliveries.

    Raises:
        ConfigError: one is called over TLS, and a file of that can't be used.
    """
    return [
        Destination(
            name=name,
            peer=address_of(peer, settings.tls),
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
            peer=address_of(peer, settings.tls),
            calling_ae=settings.node.ae_title,
            batch=delivery.commitment_batch,
            wait_s=delivery.commitment_wait_s,
            report_s=delivery.commitment_report_s,
        )
        for name, peer in settings.peers.items()
        if peer.commitment
    ]


def own_address(settings: Settings) -> PeerAddress:
    """Give the address at which this machine reaches the configured node itself.

    Raises:
        ConfigError: it listens with TLS, and a file of that can't be used.
    """
    node, tls = settings.node, settings.tls
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(node.bind, node.bind)  # noqa: S104 - what is replaced
    identity = identity_of(tls)
    if tls.port is None or tls.also_plain or identity is None:
        return PeerAddress(node.ae_title, host, node.port)
    own = certificates.read(identity.certificate)[0]
    client = ClientTls(identity, trust=None, fingerprint=own.fingerprint, minimum=tls.minimum)
    return PeerAddress(node.ae_title, host, tls.port, tls=client)


def identity_of(tls: TlsSettings) -> Identity | None:
    """Give the node's own certificate, None where it has none."""
    if tls.certificate is None or tls.key is None:
        return None
    return Identity(tls.certificate, tls.key, tls.key_password_file)


def _tls_of(peer: Peer, tls: TlsSettings) -> ClientTls:
    return ClientTls(
        identity_of(tls),
        trust=peer.tls_trust or tls.trust,
        name=peer.tls_name,
        fingerprint=peer.tls_fingerprint,
        minimum=tls.minimum,
    )
