"""The node as a line of queues, study by study: how long each waits, and when the last is through.

Receiving takes one study after the other, a worker takes the most urgent complete series, and what a worker
makes is sent while it goes on, so that a delivery ends soon after its series does. Times in seconds.
"""

import heapq
import itertools
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from dae_pacs.capacity.measured import Measured
from dae_pacs.capacity.workload import StudyKind, Workload

HOUR_S: Final = 3600.0


@dataclass(frozen=True)
class Arrival:
    """A study's first byte at the node."""

    at_s: float
    kind: StudyKind
    rank: int = 0
    """The lower, the sooner it is taken: the rule's priority."""


@dataclass(frozen=True)
class Passage:
    """One study's way."""

    arrival: Arrival
    received_s: float
    """Its last byte is kept."""
    started_s: float
    computed_s: float
    delivered_s: float
    """Its last derived object is at the archive."""

    @property
    def wait_s(self) -> float:
        """From complete to a worker."""
        return self.started_s - self.received_s

    @property
    def total_s(self) -> float:
        """From its last byte in to its last derived object at the archive."""
        return self.delivered_s - self.received_s


def poisson(workload: Workload, *, hours: float, seed: int = 0) -> list[Arrival]:
    """Draw the arrivals of the busiest hour, made as long as wanted: independent, at the peak's rate."""
    draw = random.Random(seed)  # noqa: S311  no secret
    arrivals: list[Arrival] = []
    for kind, rate in workload.per_hour:
        at_s = 0.0
        while (at_s := at_s + draw.expovariate(rate * workload.peak / HOUR_S)) < hours * HOUR_S:
            arrivals.append(Arrival(at_s, kind))
    return sorted(arrivals, key=lambda arrival: arrival.at_s)


def run(
    arrivals: Sequence[Arrival], measured: Measured, *, workers: int, outputs: int = 1, associations: int = 1
) -> list[Passage]:
    """Send studies through one node, its workers and one archive, in the order in which they are computed."""
    complete = _receive(arrivals, measured)
    free = [0.0] * associations
    passages = []
    for arrival, received_s, started_s, computed_s in _compute(
        complete, measured, workers=workers, outputs=outputs
    ):
        kind = arrival.kind
        send_s = measured.send_s(kind.images, kind.megabytes) * outputs
        began_s = max(started_s, heapq.heappop(free))
        last_s = send_s / (kind.images * outputs)
        delivered_s = max(began_s + send_s, computed_s + last_s)
        heapq.heappush(free, delivered_s)
        passages.append(Passage(arrival, received_s, started_s, computed_s, delivered_s))
    return passages


def _receive(arrivals: Iterable[Arrival], measured: Measured) -> list[tuple[float, Arrival]]:
    """Give when each study is whole on the disk."""
    free_s = 0.0
    received = []
    for arrival in sorted(arrivals, key=lambda arrival: arrival.at_s):
        free_s = max(free_s, arrival.at_s) + measured.receive_s(arrival.kind.images, arrival.kind.megabytes)
        received.append((free_s, arrival))
    return received


def _compute(
    complete: Sequence[tuple[float, Arrival]], measured: Measured, *, workers: int, outputs: int
) -> Iterator[tuple[Arrival, float, float, float]]:
    """Give each study with when it was received, taken and done, in the order in which they are taken."""
    order = itertools.count()
    coming = iter(complete)
    following = next(coming, None)
    waiting: list[tuple[int, float, int, Arrival]] = []
    free = [0.0] * workers
    while following is not None or waiting:
        now = heapq.heappop(free)
        if not waiting and following is not None:
            now = max(now, following[0] + measured.quiet_s)
        while following is not None and following[0] + measured.quiet_s <= now:
            heapq.heappush(waiting, (following[1].rank, following[0], next(order), following[1]))
            following = next(coming, None)
        _, received_s, _, arrival = heapq.heappop(waiting)
        computed_s = now + outputs * measured.compute_s(arrival.kind.images, arrival.kind.megapixels)
        heapq.heappush(free, computed_s)
        yield arrival, received_s, now, computed_s
