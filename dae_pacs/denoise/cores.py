"""The processor's cores, shared by passes beside each other."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch


class Cores:
    """Lets as many threads compute at a time as each of them allows, on an even share of the cores.

    Args:
        count: of all cores.
    """

    def __init__(self, count: int) -> None:
        self.count = max(count, 1)
        self._busy = 0
        self._one_left = threading.Condition()

    @contextmanager
    def share(self, beside: int) -> Iterator[None]:
        """Wait until fewer than `beside` threads compute, and be one of them.

        Args:
            beside: at least 1.
        """
        with self._one_left:
            self._one_left.wait_for(lambda: self._busy < beside)
            self._busy += 1
        try:
            cores = max(self.count // beside, 1)
            if torch.get_num_threads() != cores:  # of this thread: torch counts for each
                torch.set_num_threads(cores)
            yield
        finally:
            with self._one_left:
                self._busy -= 1
                self._one_left.notify_all()
