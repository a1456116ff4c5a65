"""Delete what is old and no longer owed to anyone, and nothing else.

Owed is an object that waits for a delivery (a dead one included: a person may retry or drop it) or for its
commitment, whose job is not done, or whose derived object waits for either. Quarantined objects are left to
a person.
"""

import logging
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from dae_pacs.failpoints import reach
from dae_pacs.spool.database import Database
from dae_pacs.spool.files import spool_error
from dae_pacs.spool.records import Instance
from dae_pacs.spool.rows import INSTANCE_COLUMNS, instance_of

_log = logging.getLogger(__name__)

_NOT_OWED: Final = """
    i.status IN ('kept', 'passed_over')
    AND NOT EXISTS (
        SELECT 1 FROM deliveries AS d WHERE d.instance_id = i.id AND d.status NOT IN ('delivered', 'dropped'))
    AND NOT EXISTS (
        SELECT 1 FROM job_images AS ji JOIN jobs AS j ON j.id = ji.job_id
        WHERE ji.instance_id = i.id AND (ji.status = 'pending' OR j.status <> 'done'))
    AND NOT EXISTS (
        SELECT 1 FROM instances AS x JOIN deliveries AS d ON d.instance_id = x.id
        WHERE x.source_id = i.id AND d.status NOT IN ('delivered', 'dropped'))"""


_IS_ELSEWHERE: Final = """
    i.action <> 'keep'
    AND ((i.action = 'own' AND i.origin = 'received')
        OR EXISTS (SELECT 1 FROM deliveries AS d WHERE d.instance_id = i.id AND d.status = 'delivered')
        OR EXISTS (
            SELECT 1 FROM instances AS x JOIN deliveries AS d ON d.instance_id = x.id
            WHERE x.source_id = i.id AND d.status = 'delivered'))"""

_AT_A_TIME: Final = 20
"""Files deleted in one transaction, which stands in the senders' way meanwhile."""


def removable(connection: sqlite3.Connection, before: float, *, limit: int, root: Path) -> list[Instance]:
    """List what arrived before a time and is not owed, oldest first."""
    rows = connection.execute(
        f"SELECT {INSTANCE_COLUMNS} FROM instances AS i JOIN series AS s ON s.id = i.series_id"  # noqa: S608
        f" WHERE i.received_at < ? AND {_NOT_OWED} ORDER BY i.received_at LIMIT ?",
        (before, limit),
    )
    return [instance_of(row, root) for row in rows.fetchall()]


def expendable(connection: sqlite3.Connection, *, limit: int, root: Path) -> list[Instance]:
    """List what may go before its time when the disk fills, oldest first.

    That is what is not owed and lies elsewhere: it, or what was made of it, was delivered; or it is a result
    of ours that an archive sent back. What a rule keeps, or nobody was sent, goes by age alone.
    """
    rows = connection.execute(
        f"SELECT {INSTANCE_COLUMNS} FROM instances AS i JOIN series AS s ON s.id = i.series_id"  # noqa: S608
        f" WHERE {_NOT_OWED} AND {_IS_ELSEWHERE} ORDER BY i.received_at LIMIT ?",
        (limit,),
    )
    return [instance_of(row, root) for row in rows.fetchall()]


def remove(database: Database, ids: Sequence[int]) -> set[int]:
    """Delete instances' files, unless something is owed for them; their rows stay, to be known again.

    Two transactions: the rows first, then the files, and each only if its row still says removed. An object
    that its sender stores again in between is either kept with its file or refused, never acknowledged
    without one; and a crash in between leaves a file that start-up deletes, not a row without its file.

    Returns:
        Whose files are gone.
    """
    gone: set[int] = set()
    for start in range(0, len(ids), _AT_A_TIME):
        gone |= _remove(database, ids[start : start + _AT_A_TIME])
    return gone


def _remove(database: Database, ids: Sequence[int]) -> set[int]:
    with database.writing() as connection:
        marked = [
            instance_id
            for instance_id in ids
            if connection.execute(
                f"UPDATE instances AS i SET status = 'removed' WHERE i.id = ? AND {_NOT_OWED}",  # noqa: S608
                (instance_id,),
            ).rowcount
        ]
    if not marked:
        return set()
    reach("retention.removing")
    gone: set[int] = set()
    with database.writing() as connection:
        for instance_id in marked:
            row = connection.execute(
                "SELECT status, path FROM instances WHERE id = ?", (instance_id,)
            ).fetchone()
            if row["status"] != "removed":
                continue
            try:
                (database.root / row["path"]).unlink(missing_ok=True)
            except OSError as error:
                raise spool_error(error, "deleting an object that retention gave up") from error
            gone.add(instance_id)
    return gone


def holds_any(connection: sqlite3.Connection, study: str) -> bool:
    """Tell whether the file of any object of a study is still there."""
    query = (
        "SELECT 1 FROM series AS s JOIN instances AS i ON i.series_id = s.id"
        " WHERE s.StudyInstanceUID = ? AND i.status NOT IN ('removed', 'missing') LIMIT 1"
    )
    return connection.execute(query, (study,)).fetchone() is not None
