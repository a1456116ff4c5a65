"""Storage commitment in the ledger: what is to be asked, what was, and what came of it (PS3.4 Annex J).

A transaction is recorded before it is asked, so that a report finds it however soon it comes; a report on
one that was asked again meanwhile still counts where it is good news.
"""

import itertools
import sqlite3
import uuid
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

from dae_pacs.spool.backoff import LONGEST_BACKOFF_S, backoff_s
from dae_pacs.spool.database import Database
from dae_pacs.spool.records import Delivery
from dae_pacs.spool.rows import DELIVERY_COLUMNS, delivery_of

_READY: Final = (
    "d.destination = :destination AND d.status = 'uncommitted' AND d.transaction_id IS NULL"
    " AND (d.next_try_at <= :now OR d.next_try_at > :far)"
)


_LONGEST_ROW: Final = 20
_REMEMBERED_S: Final = 30 * 86400.0
"""A report may come for a request whose answer we missed; not for one of last month."""


class Verdict(Enum):
    """What a destination's refusal to commit itself to an object leads to."""

    ASK_AGAIN = "ask again later"
    SEND_AGAIN = "send the object again"
    GIVE_UP = "a person has to look"


@dataclass(frozen=True)
class Refused:
    """Why a destination does not commit itself to an object, and what follows."""

    verdict: Verdict
    words: str


@dataclass(frozen=True)
class Transaction:
    """Objects that a destination is asked to commit itself to."""

    uid: str
    destination: str
    deliveries: tuple[Delivery, ...]


@dataclass(frozen=True)
class Settled:
    """What a report came to."""

    committed: int
    refused: int
    foreign: int
    """Objects of the report that the transaction did not ask about."""


class Commitments:
    """The ledger's transactions of storage commitment; for any thread."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def open(self, destination: str, *, now: float, batch: int, settled_s: float) -> Transaction | None:
        """Begin a transaction, when there are objects for a whole one or the oldest has waited a while.

        Args:
            destination: whom to ask.
            now: seconds since 1970.
            batch: objects of one transaction, at most.
            settled_s: how long the oldest waits for company, such as the rest of its series.
        """
        values: dict[str, str | float] = {
            "destination": destination,
            "now": now,
            "far": now + LONGEST_BACKOFF_S,
            "batch": batch,
        }
        query = (
            f"SELECT count(*), min(delivered_at) FROM (SELECT d.delivered_at FROM deliveries AS d"  # noqa: S608
            f" WHERE {_READY} LIMIT :batch)"
        )
        with self._database.reading() as connection:
            count, oldest = connection.execute(query, values).fetchone()
        if not count or (count < batch and 0 <= now - oldest < settled_s):
            return None
        with self._database.writing() as connection:
            return _begin(connection, self._database, values)

    def refuse(self, uid: str, *, error: str, now: float) -> None:
        """End a transaction that the destination did not take up; its objects are asked about later."""
        with self._database.writing() as connection:
            _end(connection, uid, status="refused", now=now)
            wait_s = backoff_s(_fruitless(connection, uid))
            _release(connection, uid, error=error, ask_at=now + wait_s)

    def expire(self, destination: str, *, now: float, report_s: float) -> int:
        """End the transactions whose report is overdue; their objects are asked about again at once."""
        query = (
            "SELECT uid FROM commitments WHERE destination = ? AND status = 'asked'"
            " AND (asked_at <= ? OR asked_at > ?)"
        )
        values = (destination, now - report_s, now + report_s)  # in the future: the clock was set back
        with self._database.reading() as connection:
            overdue = [row["uid"] for row in connection.execute(query, values)]
        if not overdue:
            return 0
        with self._database.writing() as connection:
            for uid in overdue:
                _end(connection, uid, status="expired", now=now)
                _release(connection, uid, error="no report on storage commitment came", ask_at=now)
        return len(overdue)

    def is_open(self, uid: str) -> bool:
        """Tell whether a transaction still waits for its report."""
        with self._database.reading() as connection:
            row = connection.execute("SELECT status FROM commitments WHERE uid = ?", (uid,)).fetchone()
        return row is not None and row["status"] == "asked"

    def report(
        self,
        uid: str,
        *,
        committed: Collection[str],
        refused: Mapping[str, Refused],
        now: float,
        most_tries: int,
    ) -> Settled | None:
        """Record a report; None where no such transaction was ever asked.

        Args:
            uid: the transaction's.
            committed: SOP Instance UIDs that the destination keeps.
            refused: those that it does not keep.
            now: seconds since 1970.
            most_tries: refusals after which an object is given up.
        """
        with self._database.writing() as connection:
            row = connection.execute("SELECT * FROM commitments WHERE uid = ?", (uid,)).fetchone()
            if row is None:
                return None
            done = [_commit(connection, row, instance_uid, now=now) for instance_uid in committed]
            bad = [
                _refuse(connection, row, instance_uid, why, now=now, most_tries=most_tries)
                for instance_uid, why in refused.items()
            ]
            if row["status"] == "asked":
                _end(connection, uid, status="answered", now=now)
                left_out = "the report on storage commitment left it out"
                _release(connection, uid, error=left_out, ask_at=now + backoff_s(1))
            return Settled(sum(done), sum(bad), _foreign(connection, row, {*committed, *refused}))

    def stop_asking(self, destination: str) -> int:
        """Take for delivered what waits for a commitment that the configuration no longer asks for."""
        statement = (
            "UPDATE deliveries SET status = 'delivered', error = NULL, transaction_id = NULL"
            " WHERE status = 'uncommitted' AND destination = ?"
        )
        with self._database.writing() as connection:
            return connection.execute(statement, (destination,)).rowcount


def _begin(
    connection: sqlite3.Connection, database: Database, values: dict[str, str | float]
) -> Transaction | None:
    rows = connection.execute(
        f"SELECT {DELIVERY_COLUMNS} FROM deliveries AS d"  # noqa: S608
        " JOIN instances AS i ON i.id = d.instance_id JOIN series AS s ON s.id = i.series_id"
        f" WHERE {_READY} ORDER BY i.series_id, d.id LIMIT :batch",
        values,
    ).fetchall()
    if not rows:
        return None
    connection.execute(
        "DELETE FROM commitments WHERE destination = ? AND status = 'refused' AND asked_at < ?",
        (values["destination"], float(values["now"]) - _REMEMBERED_S),
    )
    uid = f"2.25.{uuid.uuid4().int}"  # PS3.5 B.2; random, so that nobody else can report on it
    (transaction_id,) = connection.execute(
        "INSERT INTO commitments (uid, destination, status, objects, asked_at)"
        " VALUES (?, ?, 'asked', ?, ?) RETURNING id",
        (uid, values["destination"], len(rows), values["now"]),
    ).fetchone()
    connection.executemany(
        "UPDATE deliveries SET transaction_id = ? WHERE id = ?", [(transaction_id, row["id"]) for row in rows]
    )
    deliveries = tuple(delivery_of(row, database.root) for row in rows)
    return Transaction(uid, str(values["destination"]), deliveries)


def _end(connection: sqlite3.Connection, uid: str, *, status: str, now: float) -> None:
    connection.execute(
        "UPDATE commitments SET status = ?, answered_at = ? WHERE uid = ? AND status = 'asked'",
        (status, now, uid),
    )


def _release(connection: sqlite3.Connection, uid: str, *, error: str, ask_at: float) -> None:
    """Let what is still uncommitted of a transaction be asked about again, together."""
    connection.execute(
        "UPDATE deliveries SET transaction_id = NULL, error = ?, next_try_at = ?"
        " WHERE transaction_id = (SELECT id FROM commitments WHERE uid = ?) AND status = 'uncommitted'",
        (error, ask_at, uid),
    )


def _fruitless(connection: sqlite3.Connection, uid: str) -> int:
    """Count a destination's last transactions that it did not take up, in a row."""
    rows = connection.execute(
        "SELECT status FROM commitments WHERE destination ="
        " (SELECT destination FROM commitments WHERE uid = ?) ORDER BY id DESC LIMIT ?",
        (uid, _LONGEST_ROW),
    )
    return sum(1 for _ in itertools.takewhile(lambda row: row["status"] == "refused", rows))


def _delivery(
    connection: sqlite3.Connection, transaction: sqlite3.Row, instance_uid: str
) -> sqlite3.Row | None:
    """Find what a report means: an object of the transaction, or one that was asked about again since."""
    row: sqlite3.Row | None = connection.execute(
        "SELECT d.id, d.status, d.transaction_id, d.commit_tries, i.status AS instance_status"
        " FROM instances AS i JOIN deliveries AS d ON d.instance_id = i.id"
        " WHERE i.SOPInstanceUID = ? AND i.status <> 'quarantined' AND d.destination = ?"
        " AND d.delivered_at IS NOT NULL ORDER BY d.status = 'uncommitted' DESC",
        (instance_uid, transaction["destination"]),
    ).fetchone()
    return row


def _commit(
    connection: sqlite3.Connection, transaction: sqlite3.Row, instance_uid: str, *, now: float
) -> bool:
    row = _delivery(connection, transaction, instance_uid)
    if row is None or row["status"] != "uncommitted":
        return False
    connection.execute(
        "UPDATE deliveries SET status = 'delivered', committed_at = ?, error = NULL WHERE id = ?",
        (now, row["id"]),
    )
    return True


def _refuse(
    connection: sqlite3.Connection,
    transaction: sqlite3.Row,
    instance_uid: str,
    why: Refused,
    *,
    now: float,
    most_tries: int,
) -> bool:
    """Do what a refusal leads to; one of an older transaction is left to the newer one."""
    row = _delivery(connection, transaction, instance_uid)
    if row is None or row["status"] != "uncommitted" or row["transaction_id"] != transaction["id"]:
        return False
    tries = int(row["commit_tries"]) + 1
    is_hopeless = why.verdict is Verdict.GIVE_UP or tries >= most_tries
    is_gone = row["instance_status"] not in {"kept", "passed_over"}
    if is_hopeless or (why.verdict is Verdict.SEND_AGAIN and is_gone):
        status = "dead"
    else:
        status = "waiting" if why.verdict is Verdict.SEND_AGAIN else "uncommitted"
    connection.execute(
        "UPDATE deliveries SET status = ?, transaction_id = NULL, commit_tries = ?, error = ?,"
        " next_try_at = ? WHERE id = ?",
        (status, tries, why.words, now + backoff_s(tries), row["id"]),
    )
    return True


def _foreign(connection: sqlite3.Connection, transaction: sqlite3.Row, uids: Collection[str]) -> int:
    return sum(_delivery(connection, transaction, uid) is None for uid in uids)
