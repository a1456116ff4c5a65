"""What goes into the ledger and what comes out of it: frozen values, no behaviour.

Elements of the data set carry their DICOM keywords; times are seconds since 1970; paths are absolute.
"""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from dae_pacs.spool.states import (
    Action,
    Compression,
    DeliveryStatus,
    InstanceStatus,
    JobStatus,
    Kind,
    Origin,
    Priority,
)

REMOVED_DESCRIPTION = "{source} removed s={strength:.1f}"
"""Series Description of a series that holds what was removed; a rule's template is for denoised ones."""


class KeepOutcome(StrEnum):
    """What keeping a received object came to."""

    NEW = "new"
    AGAIN = "again"
    """Same SOP Instance UID, same bytes: already kept, nothing to do."""
    CONFLICT = "conflict"
    """Same SOP Instance UID, other bytes: the first stays, this one went to quarantine."""


@dataclass(frozen=True)
class NewInstance:
    """A received object whose file is on stable storage."""

    SOPClassUID: str
    SOPInstanceUID: str
    StudyInstanceUID: str
    SeriesInstanceUID: str
    PatientID: str
    AccessionNumber: str
    StudyDate: str
    Modality: str
    SeriesDescription: str
    SeriesNumber: int | None
    transfer_syntax_uid: str
    digest: str
    """SHA-256, in hexadecimal, over the data set's bytes as received."""
    path: Path
    size_bytes: int
    calling_ae: str
    called_ae: str
    address: str
    association: str
    expected_count: int | None
    received_at: float


@dataclass(frozen=True)
class Variant:
    """One output of a rule: what it shows, and at which strength."""

    name: str
    """"" for the output that every rule has; part of the job's key."""
    kind: Kind
    strength: float | None
    description: str


@dataclass(frozen=True)
class Plan:
    """What the rules decided for one object.

    `forward_original` delivers the object as it came, whatever the action (except "own", which is never
    sent anywhere: that is how loops start); "forward" implies it.
    """

    action: Action
    rule: str | None = None
    reason: str | None = None
    model: str = ""
    strength: float | None = None
    destinations: tuple[str, ...] = ()
    forward_original: bool = False
    description: str = ""
    priority: Priority = "MEDIUM"
    strengths: tuple[float, ...] = ()
    """More strengths, each with a derived series of its own."""
    removed: bool = False
    """One more derived series with what was removed at `strength`."""
    compression: Compression = "uncompressed"

    @property
    def variants(self) -> tuple[Variant, ...]:
        """Everything that is made of a series, the plain output first."""
        plain = Variant("", "denoised", self.strength, self.description)
        more = [Variant(f"s={value:.6g}", "denoised", value, self.description) for value in self.strengths]
        if self.removed:
            more.append(Variant("removed", "removed", self.strength, REMOVED_DESCRIPTION))
        return (plain, *more)


@dataclass(frozen=True)
class NewDerived:
    """A derived object whose file is on stable storage; the patient and study are its source's."""

    SOPClassUID: str
    SOPInstanceUID: str
    SeriesInstanceUID: str
    SeriesDescription: str
    SeriesNumber: int | None
    transfer_syntax_uid: str
    digest: str
    path: Path
    size_bytes: int
    created_at: float


@dataclass(frozen=True)
class Instance:
    """One object of the ledger, received or derived."""

    id: int
    SOPClassUID: str
    SOPInstanceUID: str
    StudyInstanceUID: str
    SeriesInstanceUID: str
    PatientID: str
    AccessionNumber: str
    StudyDate: str
    Modality: str
    SeriesDescription: str
    SeriesNumber: int | None
    transfer_syntax_uid: str
    digest: str
    path: Path
    size_bytes: int
    origin: Origin
    status: InstanceStatus
    action: Action
    rule: str | None
    reason: str | None
    received_at: float


@dataclass(frozen=True)
class Job:
    """One output of one series under one rule.

    What to do was fixed when the job was made: late images get the same.
    """

    id: int
    StudyInstanceUID: str
    SeriesInstanceUID: str
    rule: str | None
    variant: str
    kind: Kind
    model: str
    strength: float | None
    compression: Compression
    destinations: tuple[str, ...]
    description: str
    priority: Priority
    status: JobStatus
    attempts: int
    image_count: int
    expected_count: int | None
    noise: str | None
    """The group's noise model as JSON, once measured."""
    series_number: int | None
    reason: str | None
    created_at: float
    last_image_at: float
    claimed_at: float | None
    finished_at: float | None
    stages: dict[str, float]
    """Seconds by stage of the last finished run."""


@dataclass(frozen=True)
class Delivery:
    """One object on its way to one destination."""

    id: int
    instance_id: int
    destination: str
    status: DeliveryStatus
    attempts: int
    next_try_at: float
    error: str | None
    warning: str | None
    delivered_at: float | None
    path: Path
    SOPClassUID: str
    SOPInstanceUID: str
    StudyInstanceUID: str
    PatientID: str
    transfer_syntax_uid: str
    origin: Origin


@dataclass(frozen=True)
class Recovery:
    """What a node that starts took back from the one before it."""

    jobs: int
    deliveries: int
    associations: int


@dataclass(frozen=True)
class Lag:
    """How far the rows are behind what was acknowledged."""

    objects: int
    size_bytes: int
    oldest_s: float
    """How long the oldest of them waits."""
    failure: str
    """Why the ledger can't be written; empty where it can."""


@dataclass(frozen=True)
class Retried:
    """What a retry put back into the queues."""

    jobs: int
    images: int
    deliveries: int
