"""Wake the threads that wait for work, so that nothing is polled in a hurry."""

import threading


class Bell:
    """A counter that threads wait on: a ring between two looks is never missed."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._rings = 0

    def ring(self) -> None:
        """Wake everyone who waits."""
        with self._changed:
            self._rings += 1
            self._changed.notify_all()

    def heard(self) -> int:
        """Say how often it rang until now; take this before looking for work."""
        with self._changed:
            return self._rings

    def wait(self, since: int, timeout_s: float) -> None:
        """Wait until it has rung after `since`, at most `timeout_s`."""
        with self._changed:
            self._changed.wait_for(lambda: self._rings > since, timeout_s)
