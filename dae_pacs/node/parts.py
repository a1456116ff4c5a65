"""The parts of a running node that answers to the console are made from."""

from dataclasses import dataclass

from dae_pacs.config.model import Settings
from dae_pacs.dimse.scp import StorageSCP
from dae_pacs.node.auditing import Auditor
from dae_pacs.node.bell import Bell
from dae_pacs.node.cluster_watch import ClusterWatch
from dae_pacs.node.delivery import Courier
from dae_pacs.node.dispatch import Dispatcher
from dae_pacs.node.doors import Doors
from dae_pacs.node.preview import Previewer
from dae_pacs.node.receive import Receiver
from dae_pacs.node.uploads import Uploads
from dae_pacs.spool.files import SpoolFiles
from dae_pacs.spool.ledger import Ledger


@dataclass(frozen=True)
class Parts:
    """What a node is made of."""

    settings: Settings
    ledger: Ledger
    files: SpoolFiles
    scp: StorageSCP
    dispatchers: tuple[Dispatcher, ...]
    """Of which each has a worker; they share one tally."""
    cluster: ClusterWatch
    receiver: Receiver
    couriers: tuple[Courier, ...]
    doors: Doors
    uploads: Uploads
    """Keeps what comes over HTTP."""
    audit: Auditor
    work: Bell
    """Rung when a job may be ready."""
    results: Bell
    """Rung when something may be owed to a destination."""
    started_at: float
    """Seconds since 1970."""
    previews: Previewer
