"""`dae-pacs echo`: ask a peer whether it is there."""

from pathlib import Path

from rich.console import Console

from dae_pacs.cli.failures import OK
from dae_pacs.cli.peers import resolve, shown
from dae_pacs.config.load import load
from dae_pacs.dimse import scu


def run(peer: str, *, config: Path | None) -> int:
    """Send one C-ECHO, and say how long the answer took.

    Raises:
        PeerError: the peer is unknown, can't be reached, or refuses.
    """
    settings = load(config)
    address = resolve(peer, settings)
    seconds = scu.echo(address, calling_ae=settings.node.ae_title)
    Console(soft_wrap=True, highlight=False).print(
        f"{shown(peer, address)} answers after {seconds * 1000:.0f} ms.", markup=False
    )
    return OK
