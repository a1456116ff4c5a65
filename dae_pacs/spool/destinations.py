"""How each destination stands: what it has, what it is owed, and whether it works."""

import sqlite3
from dataclasses import dataclass
from enum import StrEnum

from dae_pacs.spool.backoff import is_far
from dae_pacs.spool.database import Database


class Breaker(StrEnum):
    """Whether a destination is being sent to."""

    CLOSED = "closed"
    """It works, as far as is known."""
    PAUSED = "paused"
    """It has failed; it is tried again as before after a pause."""
    OPEN = "open"
    """It has failed several times in a row: nothing is sent for a while."""
    HALF_OPEN = "half open"
    """The while is over: one object is tried."""


@dataclass(frozen=True)
class DestinationState:
    """One line about a destination; counts are objects."""

    name: str
    waiting: int
    sending: int
    uncommitted: int
    """Taken, and not committed yet."""
    delivered: int
    committed: int
    """Of those delivered."""
    dead: int
    dropped: int
    breaker: Breaker
    failures: int
    """In a row."""
    next_try_at: float | None
    error: str | None
    """The last failure of the destination, or of an object that is owed to it, in words."""
    failed_at: float | None

    @property
    def is_owed(self) -> bool:
        """Whether anything is still to be done for it."""
        return bool(self.waiting or self.sending or self.uncommitted or self.dead)


def states(database: Database, *, now: float, breaker_after: int) -> list[DestinationState]:
    """Tell how each destination stands that anything was ever owed to."""
    with database.reading() as connection:
        counts = connection.execute(
            "SELECT destination AS name, coalesce(sum(status = 'waiting'), 0) AS waiting,"
            " coalesce(sum(status = 'sending'), 0) AS sending,"
            " coalesce(sum(status = 'uncommitted'), 0) AS uncommitted,"
            " coalesce(sum(status = 'delivered'), 0) AS delivered,"
            " coalesce(sum(committed_at IS NOT NULL), 0) AS committed,"
            " coalesce(sum(status = 'dead'), 0) AS dead, coalesce(sum(status = 'dropped'), 0) AS dropped"
            " FROM deliveries GROUP BY destination ORDER BY destination"
        ).fetchall()
        return [_state(connection, row, now=now, breaker_after=breaker_after) for row in counts]


def _state(
    connection: sqlite3.Connection, counts: sqlite3.Row, *, now: float, breaker_after: int
) -> DestinationState:
    row = connection.execute("SELECT * FROM destinations WHERE name = ?", (counts["name"],)).fetchone()
    failures = int(row["failures"]) if row is not None else 0
    next_try_at = float(row["next_try_at"]) if row is not None and failures else None
    error, failed_at = (row["error"], row["failed_at"]) if row is not None else (None, None)
    return DestinationState(
        **dict(counts),
        breaker=breaker_of(failures, next_try_at, now=now, breaker_after=breaker_after),
        failures=failures,
        next_try_at=next_try_at,
        error=(error if failures else None) or _last_words(connection, counts["name"]) or error,
        failed_at=failed_at,
    )


def breaker_of(failures: int, next_try_at: float | None, *, now: float, breaker_after: int) -> Breaker:
    """Say whether a destination is sent to, from its failures in a row and when it is tried next."""
    if not failures or next_try_at is None:
        return Breaker.CLOSED
    is_over = next_try_at <= now or is_far(next_try_at, now)
    if failures >= breaker_after:
        return Breaker.HALF_OPEN if is_over else Breaker.OPEN
    return Breaker.CLOSED if is_over else Breaker.PAUSED


def _last_words(connection: sqlite3.Connection, destination: str) -> str | None:
    """Say what was said of an object that is still owed, the latest first."""
    for status in ("dead", "uncommitted", "waiting"):
        row = connection.execute(
            "SELECT error FROM deliveries WHERE destination = ? AND status = ? AND error IS NOT NULL"
            " ORDER BY id DESC LIMIT 1",
            (destination, status),
        ).fetchone()
        if row is not None:
            return str(row["error"])
    return None
