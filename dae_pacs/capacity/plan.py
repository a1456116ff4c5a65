"""What a workload asks of each station of the way, and how many of it there must be.

A station is loaded by what reaches it in the busiest hour. It is given enough servers that each is busy for
`MOST_BUSY` of that hour: above it, waiting grows without bounds (Kleinrock, Queueing Systems I, 3.2).
"""

import math
from dataclasses import dataclass
from typing import Final

from dae_pacs.capacity.measured import Measured
from dae_pacs.capacity.workload import Workload

HOUR_S: Final = 3600.0
MOST_BUSY: Final = 0.7
"""Of the busiest hour. At 0.7 one server with Poisson arrivals and services of even length has a mean wait of
1.2 services."""


@dataclass(frozen=True)
class Station:
    """One step of the way, in the busiest hour."""

    name: str
    unit: str
    """What one more of it is."""
    busy_s: float
    """Seconds of one server's work that arrive in the busiest hour."""
    servers: int

    @property
    def load(self) -> float:
        """How much of the busiest hour each server works; above 1 the work is never done."""
        return self.busy_s / (HOUR_S * self.servers)

    @property
    def headroom(self) -> float:
        """How many times the workload this station would bear, at `MOST_BUSY`."""
        return MOST_BUSY / self.load if self.load else math.inf


@dataclass(frozen=True)
class Plan:
    """The whole answer."""

    stations: tuple[Station, ...]
    in_mb_a_second: float
    """Into the nodes in the busiest hour; as much comes out for each output and destination."""
    out_mb_a_second: float
    spool_gb: float
    """In all spools together, after `keep_hours`."""

    @property
    def bottleneck(self) -> Station:
        """The station that fills up first as the workload grows."""
        return min(self.stations, key=lambda station: station.headroom)


def needed(workload: Workload, measured: Measured, *, workers: int | None = None) -> Plan:
    """Say what a workload needs.

    Args:
        workload: on average; its peak is applied here.
        measured: the machine's constants.
        workers: how many there are; without it, as many as are needed.
    """
    busy = busy_seconds(workload, measured)
    units = {"receive": "node", "compute": "worker", "deliver": "association to each archive"}
    given = {"compute": workers}
    stations = tuple(
        Station(name, units[name], seconds, given.get(name) or enough(seconds))
        for name, seconds in busy.items()
    )
    megabytes = workload.per_hour_of("megabytes")
    peak_mb_a_second = megabytes * workload.peak / HOUR_S
    return Plan(
        stations=stations,
        in_mb_a_second=peak_mb_a_second,
        out_mb_a_second=peak_mb_a_second * workload.outputs * workload.destinations,
        spool_gb=megabytes * (1 + workload.outputs) * workload.keep_hours / 1000,
    )


def busy_seconds(workload: Workload, measured: Measured) -> dict[str, float]:
    """Sum the work of each station that arrives in the busiest hour, in seconds of one server."""
    receive = compute = deliver = 0.0
    for kind, rate in workload.per_hour:
        receive += rate * measured.receive_s(kind.images, kind.megabytes)
        compute += rate * workload.outputs * measured.compute_s(kind.images, kind.megapixels)
        deliver += rate * workload.outputs * measured.send_s(kind.images, kind.megabytes)
    return {
        name: seconds * workload.peak
        for name, seconds in {"receive": receive, "compute": compute, "deliver": deliver}.items()
    }


def enough(busy_s: float) -> int:
    """Say how many servers keep each at or below `MOST_BUSY` of an hour."""
    return max(1, math.ceil(busy_s / (HOUR_S * MOST_BUSY)))


@dataclass(frozen=True)
class Archive:
    """What it takes to run an archive through once."""

    hours: float
    """With the workers given."""
    workers: int
    nodes: int
    terabytes: float
    """Of originals; as much again is made for each output."""
    in_mb_a_second: float


def archive(
    workload: Workload, measured: Measured, *, instances: float, hours: float | None, workers: int | None
) -> Archive:
    """Say what it takes to process an archive of so many instances, mixed as the workload is.

    Args:
        workload: only its mixture, its outputs and destinations count.
        measured: the machine's constants.
        instances: of the whole archive.
        hours: within which it must be done; without it, `workers` decide.
        workers: how many there are; without it, as many as `hours` ask for.
    """
    flat = Workload(workload.per_hour, peak=1.0, outputs=workload.outputs)
    busy = busy_seconds(flat, measured)
    repeats = instances / workload.per_hour_of("images")
    work_h = {name: seconds * repeats / HOUR_S for name, seconds in busy.items()}
    if workers is None:
        workers = max(1, math.ceil(work_h["compute"] / (hours or work_h["compute"])))
    took = work_h["compute"] / workers
    megabytes = workload.per_hour_of("megabytes") * repeats
    return Archive(
        hours=took,
        workers=workers,
        nodes=max(1, math.ceil(work_h["receive"] / (took * MOST_BUSY))),
        terabytes=megabytes / 1e6,
        in_mb_a_second=megabytes / (took * HOUR_S),
    )
