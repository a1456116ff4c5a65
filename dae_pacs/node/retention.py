"""Make room: delete what was delivered and is older than the retention time, never what is owed."""

import logging

from dae_pacs.node.auditing import Auditor
from dae_pacs.spool.ledger import Ledger

logger = logging.getLogger(__name__)


def sweep(ledger: Ledger, audit: Auditor, *, keep_hours: float, now: float) -> int:
    """Delete files that nobody waits for any more, oldest first; say how many went."""
    old = ledger.removable(now - keep_hours * 3600.0)
    removed = [instance for instance in old if ledger.remove(instance.id)]
    if removed:
        logger.info("retention removed delivered objects", extra={"count": len(removed)})
        studies = {instance.StudyInstanceUID for instance in removed}
        audit.removed(removed, still_held=[study for study in studies if ledger.holds_any(study)])
    return len(removed)
