"""The node in numbers: what a running node knows of itself, for the metrics and the health checks.

What has happened since its start is counted here; what is still to be done stands in the ledger
(`spool.backlog`). No figure names a patient, a study or an object.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dae_pacs import __version__
from dae_pacs.dimse.attendance import Attended
from dae_pacs.node.cluster_watch import ClusterReport
from dae_pacs.node.delivery import Courier
from dae_pacs.node.dispatch import Dispatcher
from dae_pacs.node.parts import Parts
from dae_pacs.node.processes import Process, process
from dae_pacs.node.tally import Sent, Worked, all_sent
from dae_pacs.spool.files import Room
from dae_pacs.spool.records import Lag


@dataclass(frozen=True)
class Worker:
    """One of the processes that denoise, and the thread that feeds it."""

    name: str
    is_fed: bool
    """Whether the thread that feeds it is alive."""
    is_working: bool
    """Whether the process is."""
    process: Process | None
    """What it takes of the machine; None where that can't be seen."""


@dataclass(frozen=True)
class NodeFigures:
    """A running node in numbers, at one moment."""

    version: str
    started_at: float
    """Seconds since 1970."""
    is_listening: bool
    limit: int
    """Associations that are served at a time."""
    attended: Attended
    uploaded: Attended
    """What came over HTTP; a request counts as an association."""
    lag: Lag
    room: Room
    worked: Worked
    """What its workers did and said, all together and by their names."""
    workers: tuple[Worker, ...]
    cluster: ClusterReport | None
    """None where the node works without a cluster."""
    sent: Mapping[str, Sent]
    """By destination."""
    idle_couriers: tuple[str, ...]
    """Destinations whose courier is not running."""
    certificates: Mapping[str, float]
    """When each of our own certificates, and those of peers, expires, in seconds since 1970."""
    process: Process | None
    """The receiving process."""


def figures_of(parts: Parts) -> NodeFigures:
    """Read all of a node's counters.

    Raises:
        SpoolError: the spool's disk can't be asked for its room.
    """
    return NodeFigures(
        version=__version__,
        started_at=parts.started_at,
        is_listening=parts.scp.is_listening,
        limit=parts.settings.node.max_associations,
        attended=parts.scp.attendance.attended(),
        uploaded=parts.uploads.attendance.attended(),
        lag=parts.ledger.index.lag(),
        room=parts.files.room(),
        worked=parts.dispatchers[0].tally.worked(),
        workers=tuple(_worker(dispatcher) for dispatcher in parts.dispatchers),
        cluster=parts.cluster.report,
        sent=_sent(parts.couriers),
        idle_couriers=tuple(sorted({one.name for one in parts.couriers if not one.is_running})),
        certificates=parts.doors.expiries(),
        process=process(os.getpid()),
    )


def _worker(dispatcher: Dispatcher) -> Worker:
    pid = dispatcher.worker_pid
    return Worker(
        dispatcher.name,
        is_fed=dispatcher.is_running,
        is_working=dispatcher.is_working,
        process=process(pid) if pid is not None else None,
    )


def _sent(couriers: Sequence[Courier]) -> dict[str, Sent]:
    names = dict.fromkeys(courier.name for courier in couriers)
    return {
        name: all_sent([courier.tally.read() for courier in couriers if courier.name == name])
        for name in names
    }
