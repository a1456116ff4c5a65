"""Where the seconds of a job went."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


class Stopwatch:
    """Adds up the wall seconds spent in each named stage, in all threads together.

    A stage within a stage of the same thread counts for itself alone. Stages of different threads run beside
    each other, so that their sum may be more than the time that passed.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._lock = threading.Lock()
        self._here = threading.local()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count the block's wall time under `name`, whether or not it fails."""
        outer_inner_s: float = getattr(self._here, "inner_s", 0.0)
        self._here.inner_s = 0.0
        start = time.perf_counter()
        try:
            yield
        finally:
            elapsed = time.perf_counter() - start
            own_s = elapsed - self._here.inner_s
            with self._lock:
                self.seconds[name] = self.seconds.get(name, 0.0) + own_s
            self._here.inner_s = outer_inner_s + elapsed
