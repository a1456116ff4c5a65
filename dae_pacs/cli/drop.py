"""`dae-pacs drop`: owe a destination nothing more."""

import difflib
import time
from pathlib import Path

from rich.console import Console

from dae_pacs.audit.codes import USE_OF_RESTRICTED_FUNCTION
from dae_pacs.cli.auditing import tell
from dae_pacs.cli.failures import FAILED, OK
from dae_pacs.cli.spool import open_ledger
from dae_pacs.config.load import load
from dae_pacs.errors import PeerError
from dae_pacs.spool.destinations import DestinationState


def run(destination: str, *, config: Path | None, is_sure: bool) -> int:
    """Drop what was given up for a destination; for one that is no peer any more, all that is owed to it.

    Raises:
        ConfigError: settings are wrong.
        PeerError: nothing was ever owed to such a destination.
        SpoolError: there is no ledger, or it can't be used.
    """
    settings = load(config)
    is_peer = destination in settings.destinations
    console = Console(soft_wrap=True, highlight=False)
    with open_ledger(settings) as ledger:
        states = ledger.outbox.states(now=time.time(), breaker_after=settings.delivery.breaker_after)
        state = _state_of(destination, states)
        count = state.dead if is_peer else state.dead + state.waiting + state.uncommitted
        what = "deliveries that were given up" if is_peer else "deliveries, all that is owed to it"
        if not count:
            console.print(f"{destination}: there is nothing to drop.", markup=False)
            return OK
        if not is_sure:
            words = (
                f"{destination}: would drop {count} {what}. It will never get them from here, and retention "
                "may delete them. To do it, add --yes; to try them again instead: dae-pacs retry"
            )
            console.print(words, markup=False)
            return FAILED
        dropped = ledger.outbox.drop(destination, only_dead=is_peer)
    tell(settings, USE_OF_RESTRICTED_FUNCTION, f"dae-pacs drop {destination}: dropped {dropped} {what}")
    console.print(f"{destination}: dropped {dropped} {what}.", markup=False)
    return OK


def _state_of(destination: str, states: list[DestinationState]) -> DestinationState:
    for state in states:
        if state.name == destination:
            return state
    names = [state.name for state in states]
    close = difflib.get_close_matches(destination, names, n=1)
    advice = f"Did you mean {close[0]}?" if close else f"There is: {', '.join(names) or 'none'}."
    raise PeerError(f"Destination {destination!r}: nothing was ever owed to it. {advice}")
