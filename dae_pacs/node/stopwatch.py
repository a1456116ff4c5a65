"""Where the seconds of a job went."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


class Stopwatch:
    """Adds up the wall seconds in which any thread was in a named stage.

    A stage within a stage of the same thread counts for itself alone. Stages of different threads run beside
    each other, so that their sum may be more than the time that passed; one stage alone never is.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        """Of each stage that any thread has left."""
        self._lock = threading.Lock()
        self._inside: dict[str, int] = {}
        self._since: dict[str, float] = {}
        self._here = threading.local()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count the block's wall time under `name`, whether or not it fails."""
        outer: str | None = getattr(self._here, "stage", None)
        self._go(outer, name)
        try:
            yield
        finally:
            self._go(name, outer)

    def _go(self, left: str | None, entered: str | None) -> None:
        """Take this thread from one stage to another; None is none."""
        now = time.perf_counter()
        self._here.stage = entered
        with self._lock:
            if left is not None:
                self._inside[left] -= 1
                if self._inside[left] == 0:
                    self.seconds[left] = self.seconds.get(left, 0.0) + now - self._since[left]
            if entered is not None:
                self._inside[entered] = self._inside.get(entered, 0) + 1
                if self._inside[entered] == 1:
                    self._since[entered] = now
