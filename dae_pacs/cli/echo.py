"""`dae-pacs echo`: ask a peer whether it is there."""

from pathlib import Path

from rich.console import Console

from dae_pacs.cli.failures import OK
from dae_pacs.cli.peers import resolve, shown
from dae_pacs.config.load import load
from dae_pacs.dimse import scu
from dae_pacs.node.peers import own_address


def run(peer: str | None, *, config: Path | None) -> int:
    """Send one C-ECHO to a peer, or to the node itself, and say how long the answer took.

    Raises:
        PeerError: the peer is unknown, can't be reached, or refuses.
    """
    settings = load(config)
    address = own_address(settings) if peer is None else resolve(peer, settings)
    name = f"this node ({address})" if peer is None else shown(peer, address)
    seconds = scu.echo(address, calling_ae=settings.node.ae_title)
    Console(soft_wrap=True, highlight=False).print(
        f"{name} answers after {seconds * 1000:.0f} ms.", markup=False
    )
    return OK
