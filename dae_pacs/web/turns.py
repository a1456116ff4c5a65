"""Work of which little may go on at a time: a few wait for their turn, the others are asked to come again."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from starlette.exceptions import HTTPException

AGAIN_S: Final = 10
"""When those come again who found the line full."""


class Turns:
    """Lets a few at a time work; for any thread."""

    def __init__(self, *, at_once: int, waiting: int, patience_s: float) -> None:
        """Set up.

        Args:
            at_once: how many work at a time.
            waiting: how many more wait, each in a thread that nobody else has meanwhile.
            patience_s: how long these wait.
        """
        self._free = threading.BoundedSemaphore(at_once)
        self._line = threading.BoundedSemaphore(waiting)
        self._patience_s = patience_s

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Take a turn, and give it back.

        Raises:
            HTTPException: 503, too many are at it.
        """
        if not self._free.acquire(blocking=False):
            self._wait()
        try:
            yield
        finally:
            self._free.release()

    def _wait(self) -> None:
        if not self._line.acquire(blocking=False):
            raise busy()
        try:
            if not self._free.acquire(timeout=self._patience_s):
                raise busy()
        finally:
            self._line.release()


def busy() -> HTTPException:
    """Make the answer to one too many."""
    words = f"As many others are at this as at a time; try again in {AGAIN_S} s."
    return HTTPException(503, words, headers={"Retry-After": str(AGAIN_S)})
