"""Pulls in the ledger: which series a peer is asked for, why, and what came of it.

One row for a series of a peer, whoever asked for it: no rule pulls what another rule has pulled, and a
restart forgets nothing. A series is asked for again only where the peer has more of it than it had.
"""

import json
import sqlite3
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from dae_pacs.spool.backoff import backoff_s
from dae_pacs.spool.database import Database
from dae_pacs.spool.states import PullStatus

BY_HAND: Final = ""
"""The rule of what a person fetches."""

_RETRY_FACTOR: Final = 10.0
"""A pull is no emergency: it waits ten times as long as a delivery does, 10 s to 50 minutes."""
_LONGEST_WAIT_S: Final = 3600.0
"""Beyond any pause of ours: a time that lies further ahead comes from a clock that was set back."""
_COLUMNS: Final = (
    "id, rule, peer, StudyInstanceUID, SeriesInstanceUID, PatientID, reason, status, announced, arrived,"
    " attempts, next_try_at, error, asked_at, pulled_at"
)


def pause_s(failures: int) -> float:
    """Say how long to wait after so many failures in a row."""
    return _RETRY_FACTOR * backoff_s(failures)


@dataclass(frozen=True)
class Wish:
    """A series that a peer has, and why it is wanted here."""

    StudyInstanceUID: str
    SeriesInstanceUID: str
    announced: int | None
    """Instances that the peer says it has; None where it does not say."""
    reason: str
    PatientID: str = ""


@dataclass(frozen=True)
class Pull:
    """A series that a peer is asked for."""

    id: int
    rule: str
    peer: str
    StudyInstanceUID: str
    SeriesInstanceUID: str
    PatientID: str
    reason: str
    status: PullStatus
    announced: int | None
    arrived: int | None
    attempts: int
    next_try_at: float
    error: str | None
    asked_at: float
    pulled_at: float | None


@dataclass(frozen=True)
class Arrived:
    """A series that somebody sent us: its priors may be wanted."""

    id: int
    StudyInstanceUID: str
    SeriesInstanceUID: str
    PatientID: str
    StudyDate: str
    Modality: str
    instance_path: str
    """Of one of its objects, below the spool's folder."""


@dataclass(frozen=True)
class RuleState:
    """How a pull rule stands; counts are series."""

    name: str
    looked_at: float
    failures: int
    next_try_at: float
    error: str | None
    waiting: int
    pulled: int
    failed: int


class Pulls:
    """The ledger's pulls; for any thread."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def held(self, SeriesInstanceUID: str, StudyInstanceUID: str) -> frozenset[str]:
        """List the received objects of a series whose files are here, by SOP Instance UID."""
        with self._database.reading() as connection:
            return _held(connection, StudyInstanceUID, SeriesInstanceUID)

    def is_ours(self, SeriesInstanceUID: str, StudyInstanceUID: str) -> bool:
        """Tell whether a series is one that we made."""
        with self._database.reading() as connection:
            return _is_ours(connection, StudyInstanceUID, SeriesInstanceUID)

    def wish(
        self, rule: str, peer: str, *, wishes: Sequence[Wish], now: float, most: int | None = None
    ) -> int:
        """Note which series are to be pulled, save what is ours, is here, or was asked for; says how many.

        Args:
            rule: who wishes.
            peer: of whom.
            wishes: for what; the first ones first.
            now: seconds since 1970.
            most: at most so many new ones.
        """
        with self._database.reading() as connection:
            new = [wish for wish in wishes if _is_wanted(connection, peer, wish)][:most]
        if not new:
            return 0
        with self._database.writing() as connection:
            return sum(_wish(connection, rule, peer, wish=wish, now=now) for wish in new)

    def due(self, rule: str, *, now: float, limit: int) -> list[Pull]:
        """List what a rule is to pull now, what waited longest first."""
        query = (
            f"SELECT {_COLUMNS} FROM pulls WHERE rule = ? AND status = 'waiting'"  # noqa: S608
            " AND (next_try_at <= ? OR next_try_at > ?) ORDER BY next_try_at, id LIMIT ?"
        )
        far = now + _LONGEST_WAIT_S
        with self._database.reading() as connection:
            return [_pull_of(row) for row in connection.execute(query, (rule, now, far, limit))]

    def pulled(self, pull_id: int, *, arrived: int, now: float, remark: str | None = None) -> None:
        """Record that all of a series is here."""
        with self._database.writing() as connection:
            connection.execute(
                "UPDATE pulls SET status = 'pulled', arrived = ?, error = ?, pulled_at = ?,"
                " attempts = attempts + 1 WHERE id = ?",
                (arrived, remark, now, pull_id),
            )

    def missed(self, pull_id: int, *, arrived: int, error: str, now: float, most_tries: int) -> PullStatus:
        """Record that a series did not come whole: it waits for another try, or is given up."""
        with self._database.writing() as connection:
            (attempts,) = connection.execute(
                "SELECT attempts + 1 FROM pulls WHERE id = ?", (pull_id,)
            ).fetchone()
            status = PullStatus.FAILED if attempts >= most_tries else PullStatus.WAITING
            connection.execute(
                "UPDATE pulls SET status = ?, arrived = ?, error = ?, attempts = ?, next_try_at = ?"
                " WHERE id = ?",
                (status, arrived, error, attempts, now + pause_s(attempts), pull_id),
            )
            return status

    def note(self, peer: str, *, wish: Wish, now: float, arrived: int, error: str | None) -> None:
        """Record what a person fetched, beside what rules pull."""
        status = PullStatus.PULLED if error is None else PullStatus.FAILED
        with self._database.writing() as connection:
            connection.execute(
                "INSERT INTO pulls (rule, peer, StudyInstanceUID, SeriesInstanceUID, PatientID, reason,"
                " status, announced, arrived, attempts, next_try_at, error, asked_at, pulled_at)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 1, ?, ?, ?, ?)"
                " ON CONFLICT (StudyInstanceUID, SeriesInstanceUID, peer) DO UPDATE SET"
                " status = CASE WHEN excluded.status = 'pulled' THEN 'pulled' ELSE status END,"
                " announced = excluded.announced, arrived = excluded.arrived,"
                " error = excluded.error, pulled_at = coalesce(excluded.pulled_at, pulled_at)",
                (
                    *(BY_HAND, peer, wish.StudyInstanceUID, wish.SeriesInstanceUID, wish.PatientID),
                    *(wish.reason, status),
                    *(wish.announced, arrived, now, error, now, now if error is None else None),
                ),
            )

    def rule(self, name: str) -> RuleState:
        """Tell how a rule stands; a new one begins with what arrives from now on."""
        with self._database.reading() as connection:
            row = connection.execute("SELECT * FROM pull_rules WHERE name = ?", (name,)).fetchone()
            if row is not None:
                return _state_of(connection, row)
        with self._database.writing() as connection:
            connection.execute(
                "INSERT OR IGNORE INTO pull_rules VALUES"
                " (?, 0, (SELECT coalesce(max(id), 0) FROM series), 0, 0, NULL)",
                (name,),
            )
            row = connection.execute("SELECT * FROM pull_rules WHERE name = ?", (name,)).fetchone()
            return _state_of(connection, row)

    def rules(self) -> list[RuleState]:
        """Tell how each rule stands that ever pulled."""
        with self._database.reading() as connection:
            rows = connection.execute("SELECT * FROM pull_rules ORDER BY name").fetchall()
            return [_state_of(connection, row) for row in rows]

    def looked(self, rule: str, *, now: float) -> None:
        """Note that a rule has asked its peer what it has."""
        with self._database.writing() as connection:
            connection.execute("UPDATE pull_rules SET looked_at = ? WHERE name = ?", (now, rule))

    def failed(self, rule: str, *, error: str, now: float) -> float:
        """Note that a rule's peer can't be asked, and give when to try it again; it survives restarts."""
        with self._database.writing() as connection:
            (failures,) = connection.execute(
                "UPDATE pull_rules SET failures = failures + 1, error = ? WHERE name = ? RETURNING failures",
                (error, rule),
            ).fetchone()
            next_try_at = now + pause_s(failures)
            connection.execute("UPDATE pull_rules SET next_try_at = ? WHERE name = ?", (next_try_at, rule))
            return next_try_at

    def worked(self, rule: str) -> None:
        """Note that a rule's peer answers; costs no flush where it did before."""
        with self._database.reading() as connection:
            row = connection.execute("SELECT failures FROM pull_rules WHERE name = ?", (rule,)).fetchone()
        if row is not None and row["failures"]:
            with self._database.writing() as connection:
                connection.execute(
                    "UPDATE pull_rules SET failures = 0, next_try_at = 0, error = NULL WHERE name = ?",
                    (rule,),
                )

    def remark(self, rule: str, words: str | None) -> None:
        """Note why a rule rests, or that it does not; costs no flush where that is known."""
        with self._database.reading() as connection:
            row = connection.execute("SELECT error FROM pull_rules WHERE name = ?", (rule,)).fetchone()
        if row is not None and row["error"] != words:
            with self._database.writing() as connection:
                connection.execute("UPDATE pull_rules SET error = ? WHERE name = ?", (words, rule))

    def arrivals(
        self, rule: str, *, limit: int, done: Collection[int] = (), without: Collection[str] = ()
    ) -> list[Arrived]:
        """List the series that were sent to us since the last one that a rule has seen.

        What was pulled is left out, or each prior would call for priors of its own.

        Args:
            rule: whose.
            limit: at most so many.
            done: these are left out, too.
            without: and those of these patients.
        """
        query = (
            "SELECT s.id, s.StudyInstanceUID, s.SeriesInstanceUID, s.PatientID, s.StudyDate, s.Modality,"
            " (SELECT path FROM instances WHERE series_id = s.id ORDER BY id LIMIT 1) AS instance_path"
            " FROM series AS s WHERE s.id > (SELECT seen FROM pull_rules WHERE name = ?)"
            " AND s.origin = 'received' AND NOT EXISTS"
            " (SELECT 1 FROM pulls WHERE StudyInstanceUID = s.StudyInstanceUID)"
            " AND s.id NOT IN (SELECT value FROM json_each(?))"
            " AND s.PatientID NOT IN (SELECT value FROM json_each(?)) ORDER BY s.id LIMIT ?"
        )
        left_out = (json.dumps(list(done)), json.dumps(list(without)))
        with self._database.reading() as connection:
            found = connection.execute(query, (rule, *left_out, limit)).fetchall()
            return [Arrived(**dict(row)) for row in found if row["instance_path"] is not None]

    def seen(self, rule: str, arrived_id: int) -> None:
        """Note that the priors of what arrived up to here were looked for."""
        with self._database.writing() as connection:
            connection.execute("UPDATE pull_rules SET seen = max(seen, ?) WHERE name = ?", (arrived_id, rule))

    def of_study(self, StudyInstanceUID: str) -> list[Pull]:
        """List what was asked for of one study."""
        with self._database.reading() as connection:
            return of_study(connection, StudyInstanceUID)

    def backlog(self, *, most: int) -> int:
        """Count the work that is still to be done here, jobs and deliveries, up to a bound."""
        queries = (
            *(f"SELECT 1 FROM jobs WHERE status = '{status}'" for status in ("collecting", "ready")),  # noqa: S608
            "SELECT 1 FROM deliveries WHERE status = 'waiting'",
        )
        with self._database.reading() as connection:
            return sum(
                int(connection.execute(f"SELECT count(*) FROM ({query} LIMIT ?)", (most,)).fetchone()[0])  # noqa: S608
                for query in queries
            )


def of_study(connection: sqlite3.Connection, StudyInstanceUID: str) -> list[Pull]:
    """List what was asked for of one study."""
    query = f"SELECT {_COLUMNS} FROM pulls WHERE StudyInstanceUID = ? ORDER BY id"  # noqa: S608
    return [_pull_of(row) for row in connection.execute(query, (StudyInstanceUID,))]


def _held(connection: sqlite3.Connection, study: str, series: str) -> frozenset[str]:
    rows = connection.execute(
        "SELECT i.SOPInstanceUID FROM series AS s JOIN instances AS i ON i.series_id = s.id"
        " WHERE s.StudyInstanceUID = ? AND s.SeriesInstanceUID = ? AND s.origin = 'received'"
        " AND i.status IN ('kept', 'passed_over')",
        (study, series),
    )
    return frozenset(str(row[0]) for row in rows)


def _count_of_known(connection: sqlite3.Connection, study: str, series: str) -> int:
    """Count what was received of a series; what retention has removed was here, and need not come again."""
    (count,) = connection.execute(
        "SELECT count(*) FROM series AS s JOIN instances AS i ON i.series_id = s.id"
        " WHERE s.StudyInstanceUID = ? AND s.SeriesInstanceUID = ? AND s.origin = 'received'"
        " AND i.status IN ('kept', 'passed_over', 'removed')",
        (study, series),
    ).fetchone()
    return int(count)


def _is_ours(connection: sqlite3.Connection, study: str, series: str) -> bool:
    query = "SELECT 1 FROM series WHERE StudyInstanceUID = ? AND SeriesInstanceUID = ? AND origin = 'derived'"
    return connection.execute(query, (study, series)).fetchone() is not None


def _row(connection: sqlite3.Connection, peer: str, wish: Wish) -> sqlite3.Row | None:
    row: sqlite3.Row | None = connection.execute(
        "SELECT id, status, announced FROM pulls"
        " WHERE StudyInstanceUID = ? AND SeriesInstanceUID = ? AND peer = ?",
        (wish.StudyInstanceUID, wish.SeriesInstanceUID, peer),
    ).fetchone()
    return row


def _is_wanted(connection: sqlite3.Connection, peer: str, wish: Wish) -> bool:
    """Tell whether a series is neither ours, nor here, nor asked for before, save that it has grown since."""
    study, series = wish.StudyInstanceUID, wish.SeriesInstanceUID
    row = _row(connection, peer, wish)
    if row is not None:
        has_grown = None not in (wish.announced, row["announced"]) and wish.announced > row["announced"]
        return has_grown and row["status"] != PullStatus.WAITING
    here = _count_of_known(connection, study, series)
    return not (here and here >= (wish.announced or 0)) and not _is_ours(connection, study, series)


def _wish(connection: sqlite3.Connection, rule: str, peer: str, *, wish: Wish, now: float) -> bool:
    if not _is_wanted(connection, peer, wish):
        return False  # it came to be known meanwhile, or is wished for twice
    row = _row(connection, peer, wish)
    if row is not None:
        connection.execute(
            "UPDATE pulls SET status = 'waiting', announced = ?, attempts = 0, next_try_at = ? WHERE id = ?",
            (wish.announced, now, row["id"]),
        )
        return True
    study, series = wish.StudyInstanceUID, wish.SeriesInstanceUID
    connection.execute(
        "INSERT INTO pulls (rule, peer, StudyInstanceUID, SeriesInstanceUID, PatientID, reason, status,"
        " announced, next_try_at, asked_at) VALUES (?, ?, ?, ?, ?, ?, 'waiting', ?, ?, ?)",
        (rule, peer, study, series, wish.PatientID, wish.reason, wish.announced, now, now),
    )
    return True


def _pull_of(row: sqlite3.Row) -> Pull:
    values = dict(row)
    return Pull(**{**values, "status": PullStatus(values["status"])})


def _state_of(connection: sqlite3.Connection, row: sqlite3.Row) -> RuleState:
    counts: dict[str, int] = {
        str(found["status"]): int(found["number"])
        for found in connection.execute(
            "SELECT status, count(*) AS number FROM pulls WHERE rule = ? GROUP BY status", (row["name"],)
        )
    }
    return RuleState(
        name=row["name"],
        looked_at=row["looked_at"],
        failures=row["failures"],
        next_try_at=row["next_try_at"],
        error=row["error"],
        waiting=counts.get("waiting", 0),
        pulled=counts.get("pulled", 0),
        failed=counts.get("failed", 0),
    )
