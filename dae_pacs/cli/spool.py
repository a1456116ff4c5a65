"""Open the ledger of a node that may be running: SQLite lets both at it."""

from dae_pacs.config.model import Settings
from dae_pacs.errors import SpoolError
from dae_pacs.spool.files import LEDGER_NAME
from dae_pacs.spool.ledger import Ledger


def open_ledger(settings: Settings) -> Ledger:
    """Open the ledger of the configured spool, never making one.

    Raises:
        SpoolError: there is none, or it can't be used.
    """
    path = settings.node.spool / LEDGER_NAME
    if not path.is_file():
        raise SpoolError(
            f"Spool {settings.node.spool}: has no ledger, so no node has run on it. "
            "Start one with `dae-pacs serve`, or name its configuration with --config."
        )
    return Ledger(path, verify=False)
