"""Who is associated with us, and how many may be: in all, and from one address."""

import threading
from collections import Counter

from dae_pacs.dimse import pdus
from dae_pacs.dimse.pdus import Rejection


class Roster:
    """Counts the associations under way; for any thread."""

    def __init__(self, *, limit: int, limit_per_address: int) -> None:
        self._limit = limit
        self._limit_per_address = limit_per_address
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()

    def enter(self, address: str) -> Rejection | None:
        """Take a place, or say why there is none."""
        with self._lock:
            if self._counts.total() >= self._limit:
                return pdus.LIMIT_EXCEEDED
            if self._counts[address] >= self._limit_per_address:
                return pdus.ADDRESS_LIMIT_EXCEEDED
            self._counts[address] += 1
            return None

    def leave(self, address: str) -> None:
        """Give a place back."""
        with self._lock:
            self._counts[address] -= 1
            self._counts += Counter()  # forget addresses without an association
