"""What the senders of one destination take and tell, each in one transaction.

A destination has a breaker. After so many failures in a row it is open: nothing is taken until its time has
come, and then one object, whose fate decides. That an object of it is being sent is all that is remembered of
the probe, so that whoever dies with it leaves no destination shut.
"""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from dae_pacs.spool import deliveries, destinations
from dae_pacs.spool.backoff import LONGEST_BACKOFF_S, backoff_s, is_far
from dae_pacs.spool.database import Database
from dae_pacs.spool.destinations import DestinationState
from dae_pacs.spool.records import Delivery
from dae_pacs.spool.rows import DELIVERY_COLUMNS, delivery_of
from dae_pacs.spool.states import DeliveryStatus

_PROBES: Final = 500
"""Among so many the probe is chosen: more than there are objects that break associations."""


class Fate(Enum):
    """What came of one delivery that was taken."""

    TAKEN = "taken by the destination"
    TRY_AGAIN = "may succeed later"
    UNTRIED = "not sent at all"
    HOPELESS = "will fail again"


@dataclass(frozen=True)
class Told:
    """What a sender tells of one delivery."""

    delivery_id: int
    fate: Fate
    words: str | None = None
    """What the destination said, where it is worth keeping."""


class Outbox:
    """The ledger's deliveries as senders see them; for any thread."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def recall_delivered(self, delivered: Sequence[tuple[str, str, float]]) -> int:
        """Take originals for delivered that an earlier ledger knew to be: UID, destination, time of each."""
        count = 0
        with self._database.writing() as connection:
            for uid, destination, at in delivered:
                owed = connection.execute(
                    "SELECT d.id FROM instances AS i JOIN deliveries AS d ON d.instance_id = i.id"
                    " WHERE i.SOPInstanceUID = ? AND i.origin = 'received' AND i.status <> 'quarantined'"
                    " AND d.destination = ? AND d.status = 'waiting'",
                    (uid, destination),
                ).fetchone()
                if owed is not None:
                    connection.execute("UPDATE deliveries SET status = 'sending' WHERE id = ?", (owed["id"],))
                    connection.execute(
                        "UPDATE deliveries SET status = 'delivered', delivered_at = ? WHERE id = ?",
                        (at, owed["id"]),
                    )
                    count += 1
        return count

    def claim(self, destination: str, *, now: float, limit: int, breaker_after: int) -> list[Delivery]:
        """Take what may go to a destination now, longest due first; it is being sent from here on.

        Args:
            destination: its name.
            now: seconds since 1970.
            limit: at most so many.
            breaker_after: with so many failures in a row the breaker is open, and one object is the probe.
        """
        with self._database.reading() as connection:
            if not _may_claim(connection, destination, now=now, breaker_after=breaker_after):
                return []
        with self._database.writing() as connection:
            if not _may_claim(connection, destination, now=now, breaker_after=breaker_after):
                return []
            if _failures(connection, destination) >= breaker_after:
                found = _probe(connection, destination, now=now)
            else:
                found = _due(connection, destination, now=now, limit=limit)
            connection.executemany(
                "UPDATE deliveries SET status = 'sending', attempts = attempts + 1 WHERE id = ?",
                [(row["id"],) for row in found],
            )
            return [delivery_of(row, self._database.root) for row in found]

    def tell(self, told: Sequence[Told], *, now: float, wants_commitment: bool = False) -> None:
        """Record what came of deliveries that were taken.

        Args:
            told: of each delivery its fate.
            now: seconds since 1970.
            wants_commitment: what the destination took stays owed until it has committed itself to keep it.
        """
        if not told:
            return
        with self._database.writing() as connection:
            for one in told:
                _record(connection, one, now=now, wants_commitment=wants_commitment)

    def give_back(self, ids: Sequence[int], *, now: float) -> int:
        """Let deliveries wait again that a dead sender had taken; the others of these stay as they are."""
        if not ids:
            return 0
        with self._database.writing() as connection:
            return sum(
                connection.execute(
                    "UPDATE deliveries SET status = 'waiting', next_try_at = ?"
                    " WHERE id = ? AND status = 'sending'",
                    (now, delivery_id),
                ).rowcount
                for delivery_id in ids
            )

    def states(self, *, now: float, breaker_after: int) -> list[DestinationState]:
        """Tell how each destination stands that anything was ever owed to."""
        return destinations.states(self._database, now=now, breaker_after=breaker_after)

    def drop(self, destination: str, *, only_dead: bool) -> int:
        """Owe a destination nothing more, because a person says so; gives how many deliveries that ends.

        Args:
            destination: its name.
            only_dead: drop what was given up and nothing else; otherwise all that is owed to it, save what is
                being sent.
        """
        statuses = "('dead')" if only_dead else "('dead', 'waiting', 'uncommitted')"
        with self._database.writing() as connection:
            return connection.execute(
                "UPDATE deliveries SET status = 'dropped', transaction_id = NULL"  # noqa: S608
                f" WHERE destination = ? AND status IN {statuses}",
                (destination,),
            ).rowcount

    def failed(self, destination: str, *, error: str, now: float, is_permanent: bool = False) -> float:
        """Count a failure of a destination, and give when to try it again; it survives restarts.

        Args:
            destination: its name.
            error: what happened, in words.
            now: seconds since 1970.
            is_permanent: it says that asking again is of no use; it is asked seldom, not never.
        """
        with self._database.writing() as connection:
            next_try_at = deliveries.destination_failed(connection, destination, now=now)
            if is_permanent:
                next_try_at = now + LONGEST_BACKOFF_S
            connection.execute(
                "UPDATE destinations SET error = ?, failed_at = ?, next_try_at = ? WHERE name = ?",
                (error, now, next_try_at, destination),
            )
            return next_try_at

    def worked(self, destination: str) -> None:
        """Close a destination's breaker; costs no flush when it is closed."""
        with self._database.reading() as connection:
            if not deliveries.is_failing(connection, destination):
                return
        with self._database.writing() as connection:
            deliveries.destination_ok(connection, destination)


def _failures(connection: sqlite3.Connection, destination: str) -> int:
    row = connection.execute("SELECT failures FROM destinations WHERE name = ?", (destination,)).fetchone()
    return 0 if row is None else int(row["failures"])


def _may_claim(connection: sqlite3.Connection, destination: str, *, now: float, breaker_after: int) -> bool:
    """Tell whether anything is due, and the breaker lets it pass."""
    row = connection.execute(
        "SELECT failures, next_try_at FROM destinations WHERE name = ?", (destination,)
    ).fetchone()
    if row is not None:
        if now < row["next_try_at"] and not is_far(row["next_try_at"], now):
            return False
        if row["failures"] >= breaker_after and _is_probed(connection, destination):
            return False
    return bool(_due(connection, destination, now=now, limit=1))


def _is_probed(connection: sqlite3.Connection, destination: str) -> bool:
    query = "SELECT 1 FROM deliveries WHERE status = 'sending' AND destination = ? LIMIT 1"
    return connection.execute(query, (destination,)).fetchone() is not None


def _probe(connection: sqlite3.Connection, destination: str, *, now: float) -> list[sqlite3.Row]:
    """Take the due object with the fewest tries: one that breaks every association must not be the judge."""
    return sorted(
        _due(connection, destination, now=now, limit=_PROBES), key=lambda row: int(row["attempts"])
    )[:1]


def _due(connection: sqlite3.Connection, destination: str, *, now: float, limit: int) -> list[sqlite3.Row]:
    """List what is due, and then what a clock that was set back has put out of reach."""
    found: list[sqlite3.Row] = []
    for condition, moment in (("<= ?", now), ("> ?", now + LONGEST_BACKOFF_S)):
        if len(found) < limit:
            found += connection.execute(
                f"SELECT {DELIVERY_COLUMNS} FROM deliveries AS d"  # noqa: S608
                " JOIN instances AS i ON i.id = d.instance_id JOIN series AS s ON s.id = i.series_id"
                f" WHERE d.destination = ? AND d.status = 'waiting' AND d.next_try_at {condition}"
                " AND i.status IN ('kept', 'passed_over') ORDER BY d.next_try_at, d.id LIMIT ?",
                (destination, moment, limit - len(found)),
            ).fetchall()
    return found


def _record(connection: sqlite3.Connection, told: Told, *, now: float, wants_commitment: bool) -> None:
    delivery_id = told.delivery_id
    match told.fate:
        case Fate.TAKEN if wants_commitment:
            deliveries.move(connection, delivery_id, DeliveryStatus.UNCOMMITTED)
            connection.execute(
                "UPDATE deliveries SET warning = ?, error = NULL, delivered_at = ?, next_try_at = ?,"
                " transaction_id = NULL WHERE id = ?",
                (told.words, now, now, delivery_id),
            )
        case Fate.TAKEN:
            deliveries.settle(connection, delivery_id, warning=told.words, now=now)
        case Fate.HOPELESS:
            deliveries.bury(connection, delivery_id, error=told.words or "")
        case Fate.TRY_AGAIN:
            (attempts,) = connection.execute(
                "SELECT attempts FROM deliveries WHERE id = ?", (delivery_id,)
            ).fetchone()
            wait_s = backoff_s(attempts)
            deliveries.postpone(connection, delivery_id, error=told.words or "", next_try_at=now + wait_s)
        case Fate.UNTRIED:
            deliveries.postpone(connection, delivery_id, error=told.words or "", next_try_at=now)
            connection.execute(
                "UPDATE deliveries SET attempts = max(attempts - 1, 0) WHERE id = ?", (delivery_id,)
            )
