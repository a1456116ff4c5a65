"""Commands that change what the node does are in its audit trail, too."""

from dae_pacs.audit import events
from dae_pacs.audit.codes import Code
from dae_pacs.audit.trail import open_trail
from dae_pacs.config.model import Settings


def tell(settings: Settings, kind: Code, what: str) -> None:
    """Record that a person used a command; without an audit trail, nothing happens.

    Where it can't be written now, the message waits in the spool for the node.

    Args:
        settings: say where the trail goes.
        kind: which kind of alert it is.
        what: the command and what came of it, in words without a patient's data.

    Raises:
        ConfigError: a certificate of the trail can't be used.
    """
    us = events.this_process(settings.node.ae_title)
    trail = open_trail(settings.audit, us, spool=settings.node.spool)
    if trail is not None:
        trail.record(events.administered(us, kind, what))
        trail.close()
