"""Strangers who are turned away, for the audit trail: told at once, but not each time that one knocks."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

AGAIN_S: Final = 60.0
"""One message in so long for the same caller, address and reason: a scanner must not push everything else out
of a trail that is bounded."""
_MOST: Final = 1000
"""Callers that are told apart; beyond, all new ones count as one."""

_Key = tuple[str, str, str]
_OTHERS: Final = ("", "many addresses", "more callers than are told apart were turned away")


@dataclass
class _Seen:
    next_at: float
    untold: int = 0


class Strangers:
    """Counts those who are turned away; for any thread."""

    def __init__(self, tell: Callable[[str, str, str], None]) -> None:
        """Set up.

        Args:
            tell: records a message: the AE title, the address, and why, in words.
        """
        self._tell = tell
        self._lock = threading.Lock()
        self._seen: dict[_Key, _Seen] = {}

    def turned_away(self, calling_ae: str, address: str, why: str) -> None:
        """Note one, and tell of it unless it was told of a moment ago."""
        now = time.monotonic()
        key = (calling_ae, address, why)
        left: list[tuple[_Key, int]] = []
        with self._lock:
            if key not in self._seen and len(self._seen) >= _MOST:
                left = self._forget(now)
            if key not in self._seen and len(self._seen) >= _MOST:
                key = _OTHERS
            seen = self._seen.get(key)
            is_told = seen is not None and now < seen.next_at
            again = seen.untold if seen is not None else 0
            if seen is not None and is_told:
                seen.untold += 1
            else:
                self._seen[key] = _Seen(now + AGAIN_S)
        for gone, untold in left:
            self._say(gone, untold - 1)
        if not is_told:
            self._say(key, again)

    def close(self) -> None:
        """Tell of those that were counted and not told of."""
        with self._lock:
            left = [(key, seen.untold) for key, seen in self._seen.items() if seen.untold]
            self._seen.clear()
        for key, untold in left:
            self._say(key, untold - 1)

    def _forget(self, now: float) -> list[tuple[_Key, int]]:
        """Let go of those whose time is over; gives those of them that were counted and not told of."""
        gone = {key: seen.untold for key, seen in self._seen.items() if now >= seen.next_at}
        for key in gone:
            del self._seen[key]
        return [(key, untold) for key, untold in gone.items() if untold]

    def _say(self, key: _Key, again: int) -> None:
        calling_ae, address, why = key
        self._tell(calling_ae, address, f"{why}; and {again} more like it" if again > 0 else why)
