"""Addresses of host names, looked up when a caller's right to be here hangs on them.

One look-up at a time, and not again within a second, whoever calls: a stranger can't make the node ask the
name server for each of its calls. What the name server said last stays true while it does not answer.
"""

import ipaddress
import logging
import socket
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

logger = logging.getLogger(__name__)

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_STALE_S: Final = 60.0
"""How long an answer is taken without asking again."""
_LEAST_PAUSE_S: Final = 1.0
"""Between two look-ups, also when a caller was not among the last one's addresses."""
_WAIT_S: Final = 5.0
"""How long a caller waits for a look-up of another's."""


class Hosts:
    """Addresses by name, for any thread."""

    def __init__(self, look_up: Callable[[str], Sequence[str]] | None = None) -> None:
        self._look_up = look_up or _system_look_up
        self._lock = threading.Lock()
        self._known: dict[str, frozenset[Address]] = {}
        self._asked_at: dict[str, float] = {}

    def has(self, names: Sequence[str], address: Address) -> bool:
        """Tell whether an address is one of those hosts'."""
        fresh = [name for name in names if self._age_s(name) < _STALE_S]
        if any(address in self._known.get(name, ()) for name in fresh):
            return True
        if not self._lock.acquire(timeout=_WAIT_S):
            return False
        try:
            for name in names:
                if self._age_s(name) >= _LEAST_PAUSE_S:
                    self._ask(name)
        finally:
            self._lock.release()
        return any(address in self._known.get(name, ()) for name in names)

    def _age_s(self, name: str) -> float:
        asked_at = self._asked_at.get(name)
        return float("inf") if asked_at is None else time.monotonic() - asked_at

    def _ask(self, name: str) -> None:
        try:
            found = frozenset(map(ipaddress.ip_address, self._look_up(name)))
        except OSError as error:
            logger.warning(
                "host name of a peer or sender not resolved",
                extra={"host": name, "why": error.strerror or str(error)},
            )
        else:
            self._known[name] = found
        self._asked_at[name] = time.monotonic()


def _system_look_up(name: str) -> Sequence[str]:
    found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    return [str(where[0]).partition("%")[0] for *_kind, where in found]
