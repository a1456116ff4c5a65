"""What is still to be done, and how old the oldest of it is: the ledger's part of the metrics.

The ledger counts itself (the table `totals`), and partial indexes hold what waits, so that this costs the
same at a thousand instances as at a million.
"""

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field

from dae_pacs.spool.database import Database
from dae_pacs.spool.destinations import Breaker, breaker_of


@dataclass(frozen=True)
class Held:
    """Objects of one origin and status."""

    objects: int
    size_bytes: int


@dataclass(frozen=True)
class Owed:
    """How one destination stands."""

    deliveries: Mapping[str, int] = field(default_factory=dict)
    """Objects by the status of their delivery."""
    oldest_at: float | None = None
    """When the oldest delivery was made that waits, in seconds since 1970."""
    breaker: Breaker = Breaker.CLOSED
    failures: int = 0
    """In a row."""
    commitments: int = 0
    """Transactions of storage commitment without an answer."""


@dataclass(frozen=True)
class Backlog:
    """What is still to be done."""

    jobs: Mapping[str, int]
    """By status."""
    oldest_job_at: float | None
    """When the last image of that ready job came that waits longest for a worker, in seconds since 1970."""
    owed: Mapping[str, Owed]
    """By destination."""
    instances: Mapping[tuple[str, str], Held]
    """By origin and status."""


def backlog(database: Database, *, now: float, breaker_after: int) -> Backlog:
    """Tell what is still to be done."""
    with database.reading() as connection:
        totals = connection.execute("SELECT kind, name, status, objects, bytes FROM totals").fetchall()
        (oldest,) = connection.execute(
            "SELECT min(last_image_at) FROM jobs WHERE status = 'ready'"
        ).fetchone()
        return Backlog(
            jobs={row["status"]: row["objects"] for row in totals if row["kind"] == "job"},
            oldest_job_at=oldest,
            owed=_owed(connection, totals, now=now, breaker_after=breaker_after),
            instances={
                (row["name"], row["status"]): Held(row["objects"], row["bytes"])
                for row in totals
                if row["kind"] == "instance"
            },
        )


def _owed(
    connection: sqlite3.Connection, totals: list[sqlite3.Row], *, now: float, breaker_after: int
) -> dict[str, Owed]:
    counted: dict[str, dict[str, int]] = {}
    for row in totals:
        if row["kind"] == "delivery":
            counted.setdefault(row["name"], {})[row["status"]] = row["objects"]
    asked = {
        str(row["destination"]): int(row["number"])
        for row in connection.execute(
            "SELECT destination, count(*) AS number FROM commitments WHERE status = 'asked'"
            " GROUP BY destination"
        )
    }
    failing = {
        str(row["name"]): row
        for row in connection.execute("SELECT name, failures, next_try_at FROM destinations")
    }
    return {
        name: Owed(
            deliveries=counted.get(name, {}),
            oldest_at=_oldest_at(connection, name),
            breaker=_breaker(failing.get(name), now=now, breaker_after=breaker_after),
            failures=int(failing[name]["failures"]) if name in failing else 0,
            commitments=asked.get(name, 0),
        )
        for name in sorted({*counted, *asked, *failing})
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
