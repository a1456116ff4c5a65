"""How a node is, in three words: does it receive, compute, deliver? Reasons name no patient and no peer."""

import time
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from dae_pacs.config.model import Settings
from dae_pacs.node.cluster_watch import ClusterReport
from dae_pacs.node.figures import NodeFigures, Worker
from dae_pacs.node.tally import Worked
from dae_pacs.spool.backlog import Backlog
from dae_pacs.spool.destinations import Breaker


class State(StrEnum):
    """How one part is, from good to bad."""

    READY = "ready"
    STARTING = "starting"
    DEGRADED = "degraded"
    """It works, and a person should look."""
    DOWN = "down"


@dataclass(frozen=True)
class Part:
    """How one part of the node is, and why."""

    state: State
    reason: str


@dataclass(frozen=True)
class Health:
    """The three parts of a node."""

    receive: Part
    compute: Part
    deliver: Part

    @property
    def parts(self) -> dict[str, Part]:
        """The parts by their names."""
        return {"receive": self.receive, "compute": self.compute, "deliver": self.deliver}

    @property
    def state(self) -> State:
        """The worst of the three."""
        return max((part.state for part in self.parts.values()), key=list(State).index)


_SILENT: Final = Part(State.DOWN, "the node's process does not answer the console")
_NO_WORKER: Final = Part(State.STARTING, "no worker process runs; one is being started")
UNREACHABLE: Final = Health(_SILENT, _SILENT, _SILENT)
"""Where the node does not answer."""


def health_of(figures: NodeFigures, backlog: Backlog | None, settings: Settings) -> Health:
    """Judge a node by its figures.

    Args:
        figures: what it says of itself.
        backlog: what its ledger says; None where that can't be read.
        settings: its own.
    """
    return Health(_receive(figures, settings), _compute(figures), _deliver(figures, backlog))


def _receive(figures: NodeFigures, settings: Settings) -> Part:
    free_mb = figures.room.free_bytes / 1e6
    if not figures.is_listening:
        return Part(State.DOWN, "no port is served")
    if figures.lag.failure:
        return Part(State.DOWN, "the ledger can't be written; objects are refused until it can")
    if free_mb < settings.node.minimum_free_mb:
        return Part(State.DOWN, "the spool's disk is full (node.minimum_free_mb); objects are refused")
    if free_mb < settings.retention.make_room_below_mb:
        return Part(State.DEGRADED, "the spool's disk is nearly full (retention.make_room_below_mb)")
    if figures.attended.under_way >= figures.limit:
        return Part(State.DEGRADED, f"all {figures.limit} associations are taken (node.max_associations)")
    return Part(State.READY, f"listening, {figures.attended.under_way} associations open")


def _compute(figures: NodeFigures) -> Part:
    if figures.cluster is not None and figures.cluster.unreachable_since is not None:
        return Part(State.DOWN, _of_cluster(figures.cluster, figures.cluster.unreachable_since))
    lacks = {worker.name: lack for worker in figures.workers if (lack := _lack(worker, figures.worked))}
    loaded = figures.worked.loaded
    if len(lacks) < len(figures.workers) and loaded is not None and loaded.identity is not None:
        device = loaded.device.name if loaded.device is not None else "an unknown device"
        model = f"{loaded.identity.name} {loaded.identity.version} on {device}"
        if not lacks:
            return Part(State.READY, model)
        worst = max((lack.state for lack in lacks.values()), key=list(State).index)
        named = "; ".join(f"{name}: {lack.reason}" for name, lack in lacks.items())
        ready = len(figures.workers) - len(lacks)
        state = State.READY if worst is State.STARTING else State.DEGRADED
        return Part(state, f"{model}; {ready} of {len(figures.workers)} workers have it. {named}")
    # Who will be there in a moment speaks for those that will not.
    return min(lacks.values(), key=lambda lack: list(State).index(lack.state), default=_NO_WORKER)


def _lack(worker: Worker, worked: Worked) -> Part | None:
    """Say what keeps one worker from its work; None where nothing does."""
    loaded = worked.spoken.get(worker.name)
    if not worker.is_fed:
        return Part(State.DOWN, "the dispatcher does not run; it is being started again")
    if not worker.is_working:
        return _NO_WORKER
    if loaded is None:
        return Part(State.STARTING, "the worker is loading its model")
    if loaded.identity is None:
        return Part(State.DOWN, "the model can't be loaded; the node's log says why")
    return None


def _of_cluster(report: ClusterReport, since: float) -> str:
    """Say since when and why it is away; its address, which the words begin with, is not for everybody."""
    moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(since))
    why = report.why.removeprefix(f"Cluster {report.address}: ").replace(report.address, "compute.address")
    return f"the cluster is away since {moment}, work waits for it: {why}"


def _deliver(figures: NodeFigures, backlog: Backlog | None) -> Part:
    if figures.idle_couriers:
        return Part(State.DOWN, "a courier does not run; it is being started again")
    if backlog is None:
        return Part(State.DEGRADED, "the ledger can't be read, so that nobody knows what waits")
    failing = [one for one in backlog.owed.values() if one.breaker is not Breaker.CLOSED]
    if failing:
        return Part(State.DEGRADED, f"{len(failing)} of {len(backlog.owed)} destinations do not take objects")
    dead = sum(one.deliveries.get("dead", 0) for one in backlog.owed.values())
    if dead:
        return Part(State.DEGRADED, f"{dead} deliveries were given up; dae-pacs status lists them")
    waiting = sum(one.deliveries.get("waiting", 0) for one in backlog.owed.values())
    return Part(State.READY, f"{waiting} objects wait for their turn")
