"""What is still to be done, and how old the oldest of it is: the ledger's part of the metrics.

Partial indexes hold all that is asked here, so that it costs what is waiting, not what was ever done.
"""

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass

from dae_pacs.spool.database import Database
from dae_pacs.spool.destinations import Breaker, breaker_of


@dataclass(frozen=True)
class Owed:
    """What one destination is owed, in objects."""

    waiting: int = 0
    sending: int = 0
    uncommitted: int = 0
    dead: int = 0
    oldest_at: float | None = None
    """When the oldest of those waiting was made, in seconds since 1970."""
    breaker: Breaker = Breaker.CLOSED
    failures: int = 0
    """In a row."""
    commitments: int = 0
    """Transactions of storage commitment without an answer."""


@dataclass(frozen=True)
class Backlog:
    """What is still to be done."""

    jobs: Mapping[str, int]
    """Collecting, ready, running and failed ones."""
    oldest_job_at: float | None
    """When the oldest job was made that is ready and has no worker, in seconds since 1970."""
    owed: Mapping[str, Owed]
    """By destination."""
    quarantined: int
    held: int
    """Objects on the disk that may be deleted, or are owed: kept and passed over."""


def backlog(database: Database, *, now: float, breaker_after: int) -> Backlog:
    """Tell what is still to be done."""
    with database.reading() as connection:
        jobs = {
            status: _number(connection, f"SELECT count(*) FROM jobs WHERE status = '{status}'")  # noqa: S608
            for status in ("collecting", "ready", "running", "failed")
        }
        (oldest,) = connection.execute("SELECT min(created_at) FROM jobs WHERE status = 'ready'").fetchone()
        return Backlog(
            jobs=jobs,
            oldest_job_at=oldest,
            owed=_owed(connection, now=now, breaker_after=breaker_after),
            quarantined=_number(connection, "SELECT count(*) FROM instances WHERE status = 'quarantined'"),
            held=_number(
                connection, "SELECT count(*) FROM instances WHERE status IN ('kept', 'passed_over')"
            ),
        )


def _number(connection: sqlite3.Connection, query: str) -> int:
    (number,) = connection.execute(query).fetchone()
    return int(number)


def _owed(connection: sqlite3.Connection, *, now: float, breaker_after: int) -> dict[str, Owed]:
    counted = {
        status: dict(
            connection.execute(
                f"SELECT destination, count(*) FROM deliveries WHERE status = '{status}'"  # noqa: S608
                " GROUP BY destination"
            ).fetchall()
        )
        for status in ("waiting", "sending", "uncommitted", "dead")
    }
    asked = dict(
        connection.execute(
            "SELECT destination, count(*) FROM commitments WHERE status = 'asked' GROUP BY destination"
        ).fetchall()
    )
    failing = {
        str(row["name"]): row
        for row in connection.execute("SELECT name, failures, next_try_at FROM destinations")
    }
    names = sorted({*failing, *asked, *(name for found in counted.values() for name in found)})
    return {
        name: Owed(
            **{status: int(found.get(name, 0)) for status, found in counted.items()},
            oldest_at=_oldest_at(connection, name) if name in counted["waiting"] else None,
            breaker=_breaker(failing.get(name), now=now, breaker_after=breaker_after),
            failures=int(failing[name]["failures"]) if name in failing else 0,
            commitments=int(asked.get(name, 0)),
        )
        for name in names
    }


def _oldest_at(connection: sqlite3.Connection, destination: str) -> float | None:
    row = connection.execute(
        "SELECT created_at FROM deliveries WHERE id ="
        " (SELECT min(id) FROM deliveries WHERE status = 'waiting' AND destination = ?)",
        (destination,),
    ).fetchone()
    return None if row is None else float(row["created_at"])


def _breaker(row: sqlite3.Row | None, *, now: float, breaker_after: int) -> Breaker:
    if row is None:
        return Breaker.CLOSED
    return breaker_of(int(row["failures"]), float(row["next_try_at"]), now=now, breaker_after=breaker_after)
