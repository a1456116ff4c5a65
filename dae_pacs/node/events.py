"""What the receiving process and a worker say to each other: plain values that cross a pipe.

The worker never sees the ledger. It is told which files to read, and tells back what became of each; the
receiving process writes it down. A worker that dies therefore leaves nothing half recorded.
"""

from dataclasses import dataclass, field
from pathlib import Path

from dae_pacs.denoise.protocol import DeviceState, ModelIdentity
from dae_pacs.spool.states import Compression, Kind


@dataclass(frozen=True)
class Source:
    """One stored object of a series."""

    instance_id: int
    path: Path
    digest: str
    """SHA-256 of the data set as it was received; part of the derived UID."""
    size_bytes: int = 0
    """Of its file; how long a worker may be silent over it depends on that."""


@dataclass(frozen=True)
class SeriesTask:
    """One series, to be denoised under one rule."""

    job_id: int
    sources: tuple[Source, ...]
    model: str
    strength: float | None
    """0..1, or None for the bundle's own default."""
    description: str
    """Template of the derived Series Description."""
    series_number: int
    ae_title: str
    noise: str | None = None
    """What an earlier part of this series was measured to be, so that a late image is treated alike."""
    kind: Kind = "denoised"
    compression: Compression = "uncompressed"


@dataclass(frozen=True)
class Loaded:
    """How a worker stands: said when its model is loaded or can't be, and after each task."""

    model: str
    identity: ModelIdentity | None
    """Of the model that the node was started with; None where it can't be loaded."""
    device: DeviceState | None
    reason: str = ""
    """Why there is no model."""


@dataclass(frozen=True)
class Pause:
    """To the worker: leave a task after the image in work, something more urgent is waiting."""

    job_id: int


@dataclass(frozen=True)
class Calibrated:
    """The noise of the series was measured."""

    noise: str
    """The noise model as JSON."""


@dataclass(frozen=True)
class Derived:
    """One source became one derived object, flushed to the disk."""

    instance_id: int
    SOPClassUID: str
    SOPInstanceUID: str
    SeriesInstanceUID: str
    SeriesDescription: str
    SeriesNumber: int
    transfer_syntax_uid: str
    digest: str
    path: Path
    size_bytes: int


@dataclass(frozen=True)
class Rejected:
    """One source can't be denoised; the reason goes into the ledger."""

    instance_id: int
    reason: str


@dataclass(frozen=True)
class Finished:
    """Every source of the task was dealt with."""

    stage_seconds: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Paused:
    """The worker left the task between two images, as it was asked to; the others are still to do."""


@dataclass(frozen=True)
class Failed:
    """The task could not go on; it is tried again, or given up after a few attempts."""

    reason: str


@dataclass(frozen=True)
class Postponed:
    """The task can't go on now, through no fault of its own: the cluster is away. It is tried again later."""

    reason: str


@dataclass(frozen=True)
class Underway:
    """Some frames of an object with many were denoised, or a cluster is waited for: a sign of life."""


Event = Loaded | Calibrated | Derived | Rejected | Underway | Finished | Paused | Failed | Postponed
