"""What a person has the ledger do, each in one transaction, with the person's name beside it."""

import sqlite3
from collections.abc import Mapping
from pathlib import Path

from dae_pacs.spool import again, deliveries, quarantine
from dae_pacs.spool.again import Remade, Wish
from dae_pacs.spool.database import Database
from dae_pacs.spool.records import NewInstance, Plan


class Acts:
    """The ledger as an operator changes it; for any thread of the node."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def note(self, study: str, *, account: str, words: str, now: float) -> None:
        """Write down what a person did to a study; without a patient's data."""
        with self._database.writing() as connection:
            _note(connection, study, account=account, words=words, now=now)

    def hurry(self, study: str, *, now: float) -> int:
        """Have what waits of a study tried now, not after its pause; gives how many deliveries that are."""
        with self._database.writing() as connection:
            waiting = connection.execute(
                "SELECT d.id, d.destination FROM series AS s CROSS JOIN instances AS i ON i.series_id = s.id"
                " CROSS JOIN deliveries AS d ON d.instance_id = i.id"
                " WHERE s.StudyInstanceUID = ? AND d.status = 'waiting'",
                (study,),
            ).fetchall()
            connection.executemany(
                "UPDATE deliveries SET next_try_at = ? WHERE id = ?", [(now, row["id"]) for row in waiting]
            )
            for destination in {row["destination"] for row in waiting}:
                deliveries.destination_ok(connection, destination)
        return len(waiting)

    def make_again(self, study: str, wish: Wish, *, defaults: Mapping[str, float], now: float) -> Remade:
        """Add jobs that denoise a study once more; see `again.make_again`."""
        with self._database.writing() as connection:
            return again.make_again(connection, study, wish, defaults=defaults, now=now)

    def release(self, instance_id: int, *, new: NewInstance, plan: Plan, target: Path) -> None:
        """Let an object of the quarantine take the place of the first; see `quarantine.release`."""
        quarantine.release(self._database, instance_id, new=new, plan=plan, target=target)

    def delete(self, instance_id: int) -> None:
        """Delete an object of the quarantine; see `quarantine.delete`."""
        quarantine.delete(self._database, instance_id)


def _note(connection: sqlite3.Connection, study: str, *, account: str, words: str, now: float) -> None:
    connection.execute(
        "INSERT INTO acts (StudyInstanceUID, at, account, words) VALUES (?, ?, ?, ?)",
        (study, now, account, words),
    )
