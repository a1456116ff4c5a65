"""What an instance, an image of a job, a job, a delivery and a pull can be, and how each may change.

`TRANSITIONS` is the one table of legal changes. The ledger loads it into the database, where a trigger on
each status column refuses everything else, so that no statement, however written, gets around it.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final, Literal

from dae_pacs.errors import TransitionError

Action = Literal["denoise", "forward", "keep", "pass_over", "own"]
Priority = Literal["STAT", "HIGH", "MEDIUM", "LOW"]
Kind = Literal["denoised", "removed"]
Compression = Literal["uncompressed", "jpeg2000", "jpegls", "rle"]

PRIORITY_RANK: Final[Mapping[Priority, int]] = {"STAT": 0, "HIGH": 1, "MEDIUM": 2, "LOW": 3}
"""The order in which jobs are claimed; the words are those of PS3.3 C.4.11 and DICOM's worklists."""


class Origin(StrEnum):
    """Where an instance came from."""

    RECEIVED = "received"
    DERIVED = "derived"


class InstanceStatus(StrEnum):
    """What became of an instance's file."""

    KEPT = "kept"
    """On disk, for a job, a delivery or a person."""
    PASSED_OVER = "passed_over"
    """On disk, and not to be denoised; the reason stands beside it."""
    QUARANTINED = "quarantined"
    """Set apart for a person: other bytes under a SOP Instance UID that was already kept."""
    REMOVED = "removed"
    """Deleted by retention, when nothing was owed for it any more."""
    MISSING = "missing"
    """The ledger has it and the disk has not; seen at start-up. Sending it again repairs it."""


class ImageStatus(StrEnum):
    """How far one instance got in one job."""

    PENDING = "pending"
    DERIVED = "derived"
    REJECTED = "rejected"


class JobStatus(StrEnum):
    """How far a job, one series under one rule, got."""

    COLLECTING = "collecting"
    READY = "ready"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


class DeliveryStatus(StrEnum):
    """How far one instance got on its way to one destination."""

    WAITING = "waiting"
    SENDING = "sending"
    UNCOMMITTED = "uncommitted"
    """The destination said success, and has not promised yet to keep the instance (PS3.4 Annex J)."""
    DELIVERED = "delivered"
    """The destination has it; committed, where that is asked for."""
    DEAD = "dead"
    """Given up until a person retries or drops it."""
    DROPPED = "dropped"
    """A person said that the destination need not have it."""


class PullStatus(StrEnum):
    """How far a series got that a peer is asked for."""

    WAITING = "waiting"
    PULLED = "pulled"
    """All that the peer announced is here."""
    FAILED = "failed"
    """Given up until the peer has more of it, or a person fetches it."""


TRANSITIONS: Final[Mapping[str, Mapping[str, frozenset[str]]]] = {
    "instance": {
        InstanceStatus.KEPT: frozenset({InstanceStatus.REMOVED, InstanceStatus.MISSING}),
        InstanceStatus.PASSED_OVER: frozenset({InstanceStatus.REMOVED, InstanceStatus.MISSING}),
        InstanceStatus.QUARANTINED: frozenset(),
        InstanceStatus.REMOVED: frozenset({InstanceStatus.KEPT, InstanceStatus.PASSED_OVER}),
        InstanceStatus.MISSING: frozenset({InstanceStatus.KEPT, InstanceStatus.PASSED_OVER}),
    },
    "image": {
        ImageStatus.PENDING: frozenset({ImageStatus.DERIVED, ImageStatus.REJECTED}),
        ImageStatus.DERIVED: frozenset({ImageStatus.PENDING}),
        ImageStatus.REJECTED: frozenset({ImageStatus.PENDING}),
    },
    "job": {
        JobStatus.COLLECTING: frozenset({JobStatus.READY}),
        JobStatus.READY: frozenset({JobStatus.RUNNING}),
        JobStatus.RUNNING: frozenset({JobStatus.READY, JobStatus.DONE, JobStatus.FAILED}),
        JobStatus.DONE: frozenset({JobStatus.COLLECTING, JobStatus.READY}),
        JobStatus.FAILED: frozenset({JobStatus.COLLECTING, JobStatus.READY}),
    },
    "delivery": {
        DeliveryStatus.WAITING: frozenset(
            {DeliveryStatus.SENDING, DeliveryStatus.DEAD, DeliveryStatus.DROPPED}
        ),
        DeliveryStatus.SENDING: frozenset(
            {
                DeliveryStatus.WAITING,
                DeliveryStatus.UNCOMMITTED,
                DeliveryStatus.DELIVERED,
                DeliveryStatus.DEAD,
            }
        ),
        DeliveryStatus.UNCOMMITTED: frozenset(
            {
                DeliveryStatus.WAITING,
                DeliveryStatus.DELIVERED,
                DeliveryStatus.DEAD,
                DeliveryStatus.DROPPED,
            }
        ),
        DeliveryStatus.DELIVERED: frozenset(),
        DeliveryStatus.DEAD: frozenset({DeliveryStatus.WAITING, DeliveryStatus.DROPPED}),
        DeliveryStatus.DROPPED: frozenset(),
    },
    "pull": {
        PullStatus.WAITING: frozenset({PullStatus.PULLED, PullStatus.FAILED}),
        PullStatus.PULLED: frozenset({PullStatus.WAITING}),
        PullStatus.FAILED: frozenset({PullStatus.WAITING, PullStatus.PULLED}),
    },
}


def check_transition(kind: str, row_id: int, *, current: str, target: str) -> None:
    """Refuse a change that the table does not allow; staying as it is is always allowed.

    Raises:
        TransitionError: the change is not in the table.
    """
    if current == target or target in TRANSITIONS[kind][current]:
        return
    allowed = ", ".join(sorted(TRANSITIONS[kind][current])) or "nothing"
    raise TransitionError(
        f"{kind} {row_id} is {current} and can't become {target}; from there it may become {allowed}. "
        "Its state changed meanwhile: read it again before going on."
    )
