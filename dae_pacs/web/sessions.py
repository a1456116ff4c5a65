"""Sessions: who is logged in. They live in memory: a console that starts anew asks everybody again."""

import hashlib
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from dae_pacs.web.role import Role

MOST_SESSIONS: Final = 2000
MOST_OF_ONE: Final = 20
"""Of one account: the oldest ends for one more."""


@dataclass
class Session:
    """One browser that is logged in."""

    name: str
    role: Role
    stamp: str | None
    """The account's stamp; None where a provider, not an account, vouched for the person."""
    address: str
    csrf: str
    """What forms and scripts must say with whatever changes something."""
    began_at: float
    seen_at: float
    """Both on the clock that only goes forward."""


class Sessions:
    """Keeps sessions under the digest of their token, so that not even memory has what cookies hold."""

    def __init__(self, *, idle_s: float, longest_s: float, clock: Callable[[], float]) -> None:
        self._idle_s = idle_s
        self._longest_s = longest_s
        self._clock = clock
        self._lock = threading.Lock()
        self._sessions: dict[str, Session] = {}

    def begin(self, name: str, role: Role, *, stamp: str | None, address: str) -> str:
        """Begin a session, and give the token that its cookie holds."""
        token, now = secrets.token_urlsafe(32), self._clock()
        session = Session(name, role, stamp, address, secrets.token_urlsafe(24), now, now)
        with self._lock:
            self._sweep(now)
            own = [key for key, one in self._sessions.items() if one.name == name]
            for key in own[: max(0, len(own) - MOST_OF_ONE + 1)]:
                del self._sessions[key]
            while len(self._sessions) >= MOST_SESSIONS:
                del self._sessions[next(iter(self._sessions))]
            self._sessions[_digest(token)] = session
        return token

    def find(self, token: str, *, is_click: bool = True) -> Session | None:
        """Find the session of a token, unless its time is over.

        Args:
            token: what a cookie held.
            is_click: a person does something; a page that refreshes itself keeps no session alive.
        """
        key, now = _digest(token), self._clock()
        with self._lock:
            session = self._sessions.get(key)
            if session is None:
                return None
            if self._is_over(session, now):
                del self._sessions[key]
                return None
            if is_click:
                session.seen_at = now
            return session

    def end(self, token: str) -> None:
        """End a session."""
        with self._lock:
            self._sessions.pop(_digest(token), None)

    def end_all(self, name: str) -> int:
        """End every session of a name, and say how many there were."""
        with self._lock:
            own = [key for key, one in self._sessions.items() if one.name == name]
            for key in own:
                del self._sessions[key]
            return len(own)

    def count(self, name: str) -> int:
        """Count the sessions of a name."""
        with self._lock:
            self._sweep(self._clock())
            return sum(one.name == name for one in self._sessions.values())

    def _sweep(self, now: float) -> None:
        for key in [key for key, one in self._sessions.items() if self._is_over(one, now)]:
            del self._sessions[key]

    def _is_over(self, session: Session, now: float) -> bool:
        return now - session.seen_at > self._idle_s or now - session.began_at > self._longest_s


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
