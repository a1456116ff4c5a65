"""What the console's first page asks each second: never more than a page of rows, however full the ledger is.

Sums come from the tables in which the ledger counts itself; lists have limits, and find their rows by an
index.
"""

import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from dae_pacs.spool.destinations import Breaker, breaker_of
from dae_pacs.spool.states import DeliveryStatus, InstanceStatus, JobStatus, Origin

_MOST_LOOKED_AT: Final = 200
"""Rows of each kind of trouble that are looked at; how many there are in all is known from the totals."""
_HOUR: Final = 60


@dataclass(frozen=True)
class Total:
    """How many there are, and their size."""

    objects: int = 0
    size_bytes: int = 0


@dataclass(frozen=True)
class Minute:
    """What happened in one minute."""

    at: int
    """Its beginning, in seconds since 1970."""
    received: Total = Total()
    derived: Total = Total()
    delivered: Total = Total()


@dataclass(frozen=True)
class Today:
    """What happened since midnight."""

    studies: int = 0
    received: Total = Total()
    derived: Total = Total()
    delivered: Total = Total()


@dataclass(frozen=True)
class Trouble:
    """Something of one study that waits for a person."""

    kind: str
    """job, delivery or quarantine."""
    study_id: int
    PatientID: str
    objects: int
    words: str
    """What was said when it went wrong."""
    destination: str
    at: float


@dataclass(frozen=True)
class DestinationLine:
    """One destination in a few figures; counts are objects."""

    name: str
    is_configured: bool
    waiting: int
    sending: int
    uncommitted: int
    delivered: int
    dead: int
    breaker: Breaker
    failures: int
    next_try_at: float | None
    """Of what waits for it, or of the destination itself, whichever is later."""
    worked_at: float | None
    """When it last took something."""
    error: str | None
    failed_at: float | None


@dataclass(frozen=True)
class Overview:
    """Everything that the first page says of the ledger."""

    at: float
    totals: Mapping[tuple[str, str, str], Total]
    """By kind, name and status."""
    today: Today
    minutes: tuple[Minute, ...]
    """The last hour, oldest first, one entry a minute."""
    waiting_since: float | None
    """When the job was made that has been ready for longest."""
    running_since: float | None
    troubles: tuple[Trouble, ...]
    destinations: tuple[DestinationLine, ...]

    def jobs(self, *statuses: JobStatus) -> int:
        """Count jobs."""
        return sum(self._total("job", "", status).objects for status in statuses)

    def deliveries(self, status: DeliveryStatus) -> int:
        """Count deliveries to all destinations."""
        found = (
            total for (kind, _, name), total in self.totals.items() if (kind, name) == ("delivery", status)
        )
        return sum(total.objects for total in found)

    def instances(self, origin: Origin, *statuses: InstanceStatus) -> Total:
        """Count objects and their bytes."""
        found = [self._total("instance", origin, status) for status in statuses]
        return Total(sum(one.objects for one in found), sum(one.size_bytes for one in found))

    def _total(self, kind: str, name: str, status: str) -> Total:
        return self.totals.get((kind, name, status), Total())


def overview(
    connection: sqlite3.Connection,
    *,
    now: float,
    midnight: float,
    peers: Iterable[str],
    breaker_after: int,
) -> Overview:
    """Look at the ledger as the first page does.

    Args:
        connection: to the ledger.
        now: seconds since 1970.
        midnight: when today began where the node stands.
        peers: the destinations of the configuration.
        breaker_after: with so many failures in a row a destination's breaker is open.
    """
    totals = {
        (str(row["kind"]), str(row["name"]), str(row["status"])): Total(row["objects"], row["bytes"])
        for row in connection.execute("SELECT * FROM totals WHERE objects > 0")
    }
    configured = set(peers)
    known = {name for kind, name, status in totals if kind == "delivery" and status != DeliveryStatus.DROPPED}
    return Overview(
        at=now,
        totals=totals,
        today=_today(connection, midnight),
        minutes=_last_hour(connection, now),
        waiting_since=_waiting_since(connection),
        running_since=connection.execute(
            "SELECT min(claimed_at) FROM jobs WHERE status = 'running'"
        ).fetchone()[0],
        troubles=tuple(sorted(_troubles(connection), key=lambda one: -one.at)),
        destinations=tuple(
            _destination(
                connection,
                name,
                totals,
                is_configured=name in configured,
                now=now,
                breaker_after=breaker_after,
            )
            for name in sorted(configured | known)
        ),
    )


def _today(connection: sqlite3.Connection, midnight: float) -> Today:
    rows = connection.execute(
        "SELECT kind, sum(objects) AS objects, sum(bytes) AS bytes FROM activity WHERE minute >= ?"
        " GROUP BY kind",
        (int(midnight // 60),),
    )
    sums = {str(row["kind"]): Total(row["objects"], row["bytes"]) for row in rows}
    return Today(
        studies=sums.get("study", Total()).objects,
        **{kind: sums.get(kind, Total()) for kind in ("received", "derived", "delivered")},
    )


def _last_hour(connection: sqlite3.Connection, now: float) -> tuple[Minute, ...]:
    last = int(now // 60)
    rows = connection.execute("SELECT * FROM activity WHERE minute > ? AND minute <= ?", (last - _HOUR, last))
    found: dict[int, dict[str, Total]] = {}
    for row in rows:
        found.setdefault(int(row["minute"]), {})[str(row["kind"])] = Total(row["objects"], row["bytes"])
    for kinds in found.values():
        kinds.pop("study", None)
    return tuple(Minute(minute * 60, **found.get(minute, {})) for minute in range(last - _HOUR + 1, last + 1))


def _waiting_since(connection: sqlite3.Connection) -> float | None:
    """Find the oldest ready job; one question a rank, since the index has the rank before the time."""
    query = "SELECT min(created_at) FROM jobs WHERE status = 'ready' AND priority_rank = ?"
    found = [connection.execute(query, (rank,)).fetchone()[0] for rank in range(4)]
    return min((float(one) for one in found if one is not None), default=None)


_FAILED_JOBS: Final = """
    SELECT 'job' AS kind, StudyInstanceUID, image_count AS objects, coalesce(reason, '') AS words,
        '' AS destination, coalesce(finished_at, created_at) AS at
    FROM jobs WHERE status = 'failed' LIMIT ?"""
_DEAD_DELIVERIES: Final = """
    SELECT 'delivery' AS kind, s.StudyInstanceUID, 1 AS objects, coalesce(few.error, '') AS words,
        few.destination, few.next_try_at AS at
    FROM (SELECT * FROM deliveries WHERE status = 'dead' LIMIT ?) AS few
    JOIN instances AS i ON i.id = few.instance_id JOIN series AS s ON s.id = i.series_id"""
_QUARANTINED: Final = """
    SELECT 'quarantine' AS kind, s.StudyInstanceUID, 1 AS objects, coalesce(few.reason, '') AS words,
        '' AS destination, few.received_at AS at
    FROM (SELECT * FROM instances WHERE status = 'quarantined' LIMIT ?) AS few
    JOIN series AS s ON s.id = few.series_id"""


def _troubles(connection: sqlite3.Connection) -> list[Trouble]:
    """List what needs somebody, one entry for each study, kind, destination and wording."""
    groups: dict[tuple[str, str, str, str], tuple[int, float]] = {}
    for query in (_FAILED_JOBS, _DEAD_DELIVERIES, _QUARANTINED):
        for row in connection.execute(query, (_MOST_LOOKED_AT,)):
            key = (row["kind"], row["StudyInstanceUID"], row["words"], row["destination"])
            objects, at = groups.get(key, (0, 0.0))
            groups[key] = (objects + row["objects"], max(at, row["at"]))
    found = []
    for (kind, uid, words, destination), (objects, at) in groups.items():
        study = connection.execute(
            "SELECT id, PatientID FROM studies WHERE StudyInstanceUID = ? LIMIT 1", (uid,)
        ).fetchone()
        found.append(Trouble(kind, study["id"], study["PatientID"], objects, words, destination, at))
    return found


def _destination(
    connection: sqlite3.Connection,
    name: str,
    totals: Mapping[tuple[str, str, str], Total],
    *,
    is_configured: bool,
    now: float,
    breaker_after: int,
) -> DestinationLine:
    row = connection.execute("SELECT * FROM destinations WHERE name = ?", (name,)).fetchone()
    failures = int(row["failures"]) if row is not None else 0
    closed_until = float(row["next_try_at"]) if row is not None and failures else None
    (due,) = connection.execute(
        "SELECT min(next_try_at) FROM deliveries WHERE destination = ? AND status = 'waiting'", (name,)
    ).fetchone()
    counts = {status: totals.get(("delivery", name, status), Total()).objects for status in DeliveryStatus}
    return DestinationLine(
        name=name,
        is_configured=is_configured,
        waiting=counts[DeliveryStatus.WAITING],
        sending=counts[DeliveryStatus.SENDING],
        uncommitted=counts[DeliveryStatus.UNCOMMITTED],
        delivered=counts[DeliveryStatus.DELIVERED],
        dead=counts[DeliveryStatus.DEAD],
        breaker=breaker_of(failures, closed_until, now=now, breaker_after=breaker_after),
        failures=failures,
        next_try_at=None if due is None else max(float(due), closed_until or 0.0),
        worked_at=None if row is None else row["worked_at"],
        error=None if row is None else row["error"],
        failed_at=None if row is None else row["failed_at"],
    )
