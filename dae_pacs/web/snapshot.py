"""One look at the node: everything that the first page shows, made once for everybody who looks."""

import time
from dataclasses import dataclass
from datetime import datetime

from dae_pacs.errors import DaePacsError
from dae_pacs.spool.destinations import Breaker
from dae_pacs.spool.overview import Overview
from dae_pacs.spool.search import Found
from dae_pacs.web.context import Context
from dae_pacs.web.seen import Seen, look

PARTS = ("figures", "trouble", "jobs", "destinations", "latest", "machine")
"""The parts of the page that change by themselves: templates of overview/, by the ids of their elements."""
_LATEST = 8


@dataclass(frozen=True)
class Snapshot:
    """What the node holds and does at one moment."""

    overview: Overview
    latest: tuple[Found, ...]
    seen: Seen | None
    """None where the node does not answer."""
    free_mb: float | None
    """On the spool's disk; None where it can't be asked."""
    minimum_free_mb: float

    @property
    def alarms(self) -> tuple[str, ...]:
        """What needs somebody and is of no one study, in words."""
        found = [
            f"{one.name} does not take what it is owed: {one.error or 'no reason is known'}"
            for one in self.overview.destinations
            if one.breaker in (Breaker.OPEN, Breaker.HALF_OPEN) and (one.waiting or one.sending)
        ]
        found += [
            f"{one.name} is owed objects and is not in the configuration. Put it back under peers, or: "
            f"dae-pacs drop {one.name}"
            for one in self.overview.destinations
            if not one.is_configured and (one.waiting or one.uncommitted or one.dead)
        ]
        if self.is_disk_short:
            found.append("The spool's disk is nearly full: below node.minimum_free_mb nothing more is taken.")
        if self.seen is None:
            found.append("The node does not answer the console; it may still receive. See its log.")
        elif self.seen.reason:
            found.append(f"No model is loaded, so nothing is denoised: {self.seen.reason}")
        return tuple(found)

    @property
    def is_disk_short(self) -> bool:
        """Whether the node refuses objects, or will soon."""
        return self.free_mb is not None and self.free_mb < 2 * self.minimum_free_mb


def take(context: Context) -> Snapshot:
    """Look at the ledger, the disk and the worker.

    Raises:
        SpoolError: the ledger can't be read.
    """
    settings, now = context.settings, time.time()
    midnight = datetime.now().astimezone().replace(hour=0, minute=0, second=0, microsecond=0)
    try:
        free_mb = context.files.free_mb()
    except DaePacsError:
        free_mb = None
    return Snapshot(
        overview=context.ledger.views.overview(
            now=now,
            midnight=midnight.timestamp(),
            peers=(*settings.peers, *settings.web_peers),
            breaker_after=settings.delivery.breaker_after,
        ),
        latest=context.ledger.views.latest(limit=_LATEST),
        seen=look(context),
        free_mb=free_mb,
        minimum_free_mb=settings.node.minimum_free_mb,
    )


def rendered(context: Context, snapshot: Snapshot) -> dict[str, str]:
    """Make each part of the page that changes, by the id of its element; the same for every viewer."""
    return {
        part: context.templates.get_template(f"overview/{part}.html.j2").render(
            snapshot=snapshot, overview=snapshot.overview, settings=context.settings
        )
        for part in PARTS
    }


def chart_of(snapshot: Snapshot) -> dict[str, list[float]]:
    """Give the last hour as columns: minutes, objects of each kind, megabytes received."""
    minutes = snapshot.overview.minutes
    return {
        "at": [minute.at for minute in minutes],
        "received": [minute.received.objects for minute in minutes],
        "derived": [minute.derived.objects for minute in minutes],
        "delivered": [minute.delivered.objects for minute in minutes],
        "received_mb": [round(minute.received.size_bytes / 1e6, 3) for minute in minutes],
    }
