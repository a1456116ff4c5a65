"""Make room: delete what was delivered and is older than the retention time, never what is owed."""

import logging

from dae_pacs.spool.ledger import Ledger

logger = logging.getLogger(__name__)


def sweep(ledger: Ledger, *, keep_hours: float, now: float) -> int:
    """Delete files that nobody waits for any more, oldest first; say how many went."""
    removed = sum(ledger.remove(instance.id) for instance in ledger.removable(now - keep_hours * 3600.0))
    if removed:
        logger.info("retention removed delivered objects", extra={"count": removed})
    return removed
