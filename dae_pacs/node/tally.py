"""What jobs and deliveries came to since the node started, in numbers, for the metrics."""

import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from dae_pacs.dimse.outgoing import SendResult
from dae_pacs.dimse.statuses import Outcome
from dae_pacs.node.events import Loaded

JOB_BOUNDS_S: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0)
"""Upper ends of a histogram's buckets: a small radiograph's decoding takes 50 ms, a long CT some minutes."""
SEND_BOUNDS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""For one object and its answer: a millisecond to an idle archive, seconds to a sick one."""


@dataclass(frozen=True)
class Distribution:
    """A histogram as it was read: how many lie at or below each bound."""

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    """By bucket, not summed up; one more than there are bounds."""
    sum: float


class Histogram:
    """Counts seconds by bucket; written by one thread, or under its owner's lock."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def add(self, seconds: float) -> None:
        """Count one value."""
        self._counts[bisect_left(self._bounds, seconds)] += 1
        self._sum += seconds

    def read(self) -> Distribution:
        """Tell what was counted."""
        return Distribution(self._bounds, tuple(self._counts), self._sum)


def added(parts: list[Distribution], bounds: tuple[float, ...]) -> Distribution:
    """Add up histograms of the same bounds."""
    counts = [sum(column) for column in zip(*(part.counts for part in parts), strict=True)]
    return Distribution(bounds, tuple(counts or [0] * (len(bounds) + 1)), sum(part.sum for part in parts))


@dataclass(frozen=True)
class Worked:
    """What the worker did."""

    jobs: Mapping[str, int]
    """By how their runs ended: done, failed, given back."""
    images: Mapping[str, int]
    """Derived and rejected."""
    stages: Mapping[str, Distribution]
    """Seconds of a job by stage, and `whole` from its claim to its end."""
    waited: Distribution
    """Seconds from a series' last image to its claim by a worker."""
    starts: int
    """Of worker processes."""
    loaded: Loaded | None
    """What a worker last said of its model and device; None while there is none that has spoken."""
    spoken: Mapping[str, Loaded]
    """What each worker last said, by its name; without those that have not spoken yet."""


class WorkTally:
    """Counts jobs; for any thread, since jobs are few."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._jobs: Counter[str] = Counter()
        self._images: Counter[str] = Counter()
        self._stages: dict[str, Histogram] = {}
        self._waited = Histogram(JOB_BOUNDS_S)
        self._starts = 0
        self._loaded: dict[str, Loaded] = {}
        """By worker: several dispatchers share one tally where a cluster does the work."""

    def worker_started(self, owner: str) -> None:
        """Count a new worker process, which has not spoken yet."""
        with self._lock:
            self._starts += 1
            self._loaded.pop(owner, None)

    def worker_lost(self, owner: str) -> None:
        """Note that there is no worker of that name for now."""
        with self._lock:
            self._loaded.pop(owner, None)

    def worker_spoke(self, owner: str, loaded: Loaded) -> None:
        """Note what a worker says of its model and its device."""
        with self._lock:
            self._loaded[owner] = loaded

    def image_done(self, outcome: str) -> None:
        """Count an image of a job: derived or rejected."""
        with self._lock:
            self._images[outcome] += 1

    def job_claimed(self, waited_s: float) -> None:
        """Count how long a complete series waited for a worker."""
        with self._lock:
            self._waited.add(max(waited_s, 0.0))

    def job_ended(self, how: str, stages: Mapping[str, float]) -> None:
        """Count a run of a job: done, failed or given back; with its seconds by stage, where known."""
        with self._lock:
            self._jobs[how] += 1
            for stage, seconds in stages.items():
                self._stages.setdefault(stage, Histogram(JOB_BOUNDS_S)).add(seconds)

    def worked(self) -> Worked:
        """Tell the sums."""
        with self._lock:
            return Worked(
                jobs=dict(self._jobs),
                images=dict(self._images),
                stages={stage: seconds.read() for stage, seconds in self._stages.items()},
                waited=self._waited.read(),
                starts=self._starts,
                loaded=_best(self._loaded.values()),
                spoken=dict(self._loaded),
            )


def _best(spoken: Iterable[Loaded]) -> Loaded | None:
    """Choose who speaks for all workers: one that has its model, if there is one."""
    return max(spoken, key=lambda loaded: loaded.identity is not None, default=None)


@dataclass(frozen=True)
class Sent:
    """What was sent to one destination."""

    outcomes: Mapping[str, int]
    """Objects by what became of a try: sent, warning, retry, dead."""
    size_bytes: int
    """Of the data sets that it took."""
    seconds: Distribution
    """From an object's first byte to its answer."""
    failures: int
    """Associations that could not be made, or came to a bad end."""


@dataclass(eq=False)
class SendTally:
    """What one courier sent; written by its thread alone, so that an object costs no lock."""

    outcomes: dict[Outcome, int] = field(default_factory=dict)
    size_bytes: int = 0
    failures: int = 0
    _seconds: Histogram = field(default_factory=lambda: Histogram(SEND_BOUNDS_S))

    def note(self, result: SendResult) -> None:
        """Count one object that had its turn."""
        if not result.was_tried:
            return
        self.outcomes[result.outcome] = self.outcomes.get(result.outcome, 0) + 1
        if result.seconds:
            self._seconds.add(result.seconds)
        if result.outcome in {Outcome.SENT, Outcome.WARNING}:
            self.size_bytes += result.size_bytes

    def read(self) -> Sent:
        """Tell what was counted."""
        outcomes = {str(outcome): count for outcome, count in dict(self.outcomes).items()}
        return Sent(outcomes, self.size_bytes, self._seconds.read(), self.failures)


def all_sent(parts: list[Sent]) -> Sent:
    """Add up what the couriers of one destination sent."""
    outcomes: Counter[str] = Counter()
    for part in parts:
        outcomes.update(part.outcomes)
    return Sent(
        dict(outcomes),
        sum(part.size_bytes for part in parts),
        added([part.seconds for part in parts], SEND_BOUNDS_S),
        sum(part.failures for part in parts),
    )
