"""Slow down whoever guesses: after a few failures each further try has to wait, longer and longer.

What is tried during a wait counts for nothing, so that a wait always ends; no wait is longer than minutes, so
that nobody can lock anybody out for good.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

MOST_KEYS: Final = 20_000
FORGOTTEN_S: Final = 3600.0
"""A key that has not failed for so long starts anew."""


@dataclass(frozen=True)
class Patience:
    """How many failures are free, and how long the longest wait is that follows."""

    free: int
    most_s: float


@dataclass
class _Record:
    """The failures of one key."""

    failures: int
    last_at: float
    next_at: float


class Throttle:
    """Counts failures by key, in bounded memory; for any thread."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._records: OrderedDict[str, _Record] = OrderedDict()

    def wait_s(self, *keys: str) -> float:
        """Say how long the next try has to wait; 0 where it may be made now."""
        now = self._clock()
        with self._lock:
            found = [self._records[key].next_at - now for key in keys if key in self._records]
        return max([0.0, *found])

    def failed(self, key: str, patience: Patience) -> None:
        """Count a failure, and set the wait that follows it: 1 s, 2 s, 4 s and so on."""
        now = self._clock()
        with self._lock:
            record = self._records.pop(key, None)
            if record is None or now - record.last_at > FORGOTTEN_S:
                record = _Record(0, now, now)
            record.failures += 1
            record.last_at = now
            over = min(record.failures - patience.free, 30)
            record.next_at = now + min(2.0 ** (over - 1), patience.most_s) if over > 0 else now
            self._records[key] = record
            while len(self._records) > MOST_KEYS:
                self._records.popitem(last=False)

    def forgive(self, *keys: str) -> None:
        """Forget the failures of keys: the right password was said."""
        with self._lock:
            for key in keys:
                self._records.pop(key, None)
