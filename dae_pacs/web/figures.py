"""What the console learns of its node for metrics and health: by asking it, and by reading its ledger."""

import logging
import time
from typing import Final

from dae_pacs.errors import DaePacsError, SpoolError
from dae_pacs.node.asking import Figures
from dae_pacs.node.figures import NodeFigures
from dae_pacs.spool.backlog import Backlog
from dae_pacs.web.context import Context

logger = logging.getLogger(__name__)

PATIENCE_S: Final = 3.0
"""Well below a scrape's own (10 s by Prometheus' default): a page that says "down" must still come."""


def ask_figures(context: Context) -> NodeFigures | None:
    """Ask the node for its figures; None where it does not answer."""
    try:
        return context.desk.ask(Figures(), timeout_s=PATIENCE_S)
    except DaePacsError as error:
        logger.warning("the node gives no figures", extra={"why": str(error)})
        return None


def read_backlog(context: Context) -> Backlog | None:
    """Read from the ledger what is still to be done; None where it can't be read."""
    try:
        breaker_after = context.settings.delivery.breaker_after
        return context.ledger.backlog(now=time.time(), breaker_after=breaker_after)
    except SpoolError as error:
        logger.warning("the ledger can't be read", extra={"why": str(error)})
        return None
