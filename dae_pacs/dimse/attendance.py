"""Associations and what came over them, in numbers.

Each association counts in a tally of its own, which no other thread writes, so that an object costs no lock.
What associations brought that are over is added up when they end.
"""

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from dae_pacs.dimse import statuses


@dataclass(eq=False)
class Tally:
    """What one association brought; written by its thread alone."""

    objects: int = 0
    """Objects that were answered with success."""
    size_bytes: int = 0
    """Of their data sets."""
    answers: dict[int, int] = field(default_factory=dict)
    """C-STORE responses by their status."""

    def answered(self, status: int, size_bytes: int) -> None:
        """Count one C-STORE response."""
        self.answers[status] = self.answers.get(status, 0) + 1
        if status == statuses.SUCCESS:
            self.objects += 1
            self.size_bytes += size_bytes


@dataclass(frozen=True)
class Attended:
    """What all associations brought since the start."""

    objects: int
    size_bytes: int
    answers: Mapping[int, int]
    accepted: int
    under_way: int
    endings: Mapping[str, int]
    """How associations ended: released, aborted, aborted by us, broken."""
    rejections: Mapping[str, int]
    """Why association requests were rejected: words of ours, of which there are few."""


class Attendance:
    """Adds up tallies; for any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._under_way: set[Tally] = set()
        self._objects = self._size_bytes = self._accepted = 0
        self._answers: Counter[int] = Counter()
        self._endings: Counter[str] = Counter()
        self._rejections: Counter[str] = Counter()

    def begin(self) -> Tally:
        """Open the tally of an association."""
        tally = Tally()
        with self._lock:
            self._accepted += 1
            self._under_way.add(tally)
        return tally

    def end(self, tally: Tally, how: str) -> None:
        """Add up what an association brought."""
        with self._lock:
            self._under_way.discard(tally)
            self._endings[how] += 1
            self._objects += tally.objects
            self._size_bytes += tally.size_bytes
            self._answers.update(tally.answers)

    def rejected(self, words: str) -> None:
        """Count an association request that was rejected."""
        with self._lock:
            self._rejections[words] += 1

    def attended(self) -> Attended:
        """Tell the sums, with what associations under way have brought so far."""
        with self._lock:
            answers = Counter(self._answers)
            for tally in self._under_way:
                answers.update(dict(tally.answers))  # copied in one step, while its thread goes on
            return Attended(
                objects=self._objects + sum(tally.objects for tally in self._under_way),
                size_bytes=self._size_bytes + sum(tally.size_bytes for tally in self._under_way),
                answers=dict(answers),
                accepted=self._accepted,
                under_way=len(self._under_way),
                endings=dict(self._endings),
                rejections=dict(self._rejections),
            )
