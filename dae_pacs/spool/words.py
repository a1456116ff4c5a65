"""What states are called when a person reads them: the same words on the command line and in the console."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from dae_pacs.spool.destinations import Breaker
from dae_pacs.spool.report import Study
from dae_pacs.spool.states import DeliveryStatus

DELIVERY_WORDS: Final[Mapping[DeliveryStatus, str]] = MappingProxyType(
    {
        DeliveryStatus.WAITING: "waiting",
        DeliveryStatus.SENDING: "being sent",
        DeliveryStatus.UNCOMMITTED: "awaiting commitment",
        DeliveryStatus.DELIVERED: "delivered",
        DeliveryStatus.DEAD: "given up",
        DeliveryStatus.DROPPED: "dropped",
    }
)


def where(study: Study) -> str:
    """Say where a study stands, trouble first."""
    trouble = [
        (study.failed_jobs, "job(s) failed"),
        (study.dead_deliveries, "deliveries given up"),
        (study.missing, "file(s) missing"),
        (study.quarantined, "object(s) in quarantine"),
        (study.rejected, "image(s) not denoisable"),
    ]
    found = [f"{count} {words}" for count, words in trouble if count]
    if study.open_jobs:
        found.append("being denoised")
    if study.waiting_deliveries:
        found.append(f"{study.waiting_deliveries} on the way")
    if study.uncommitted_deliveries:
        found.append(f"{study.uncommitted_deliveries} awaiting commitment")
    if not found and study.delivered_deliveries:
        return "delivered"
    if not found and study.passed_over:
        return f"kept, {study.passed_over} passed over"
    return ", ".join(found) or "kept"


def is_in_trouble(study: Study) -> bool:
    """Tell whether a study waits for a person."""
    return bool(study.failed_jobs or study.dead_deliveries or study.missing)


def is_under_way(study: Study) -> bool:
    """Tell whether something is still to be done for a study, which the node does by itself."""
    return bool(study.open_jobs or study.waiting_deliveries or study.uncommitted_deliveries)


def duration(seconds: float) -> str:
    """Say how long something takes, in its largest unit."""
    for unit, length_s in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length_s:
            return f"{seconds / length_s:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


def breaker_words(breaker: Breaker, failures: int, *, then: str) -> str:
    """Say whether a destination works; `then` says when it is tried again ("in 5 min")."""
    failed = "failed once" if failures == 1 else f"failed {failures} times"
    return {
        Breaker.CLOSED: "works",
        Breaker.PAUSED: f"failing, tried again {then}",
        Breaker.OPEN: f"{failed}, one object is tried {then}",
        Breaker.HALF_OPEN: f"{failed}, one object is tried now",
    }[breaker]
