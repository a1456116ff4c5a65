"""Delete what is old and no longer owed to anyone, and nothing else.

Owed is an object that waits for a delivery (a dead one included: a person may retry it), whose job is not
done, or whose derived object waits for a delivery. Quarantined objects are left to a person.
"""

import logging
import sqlite3
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


def removable(connection: sqlite3.Connection, before: float, *, limit: int, root: Path) -> list[Instance]:
    """List what arrived before a time and is not owed, oldest first."""
    rows = connection.execute(
        f"SELECT {INSTANCE_COLUMNS} FROM instances AS i JOIN series AS s ON s.id = i.series_id"  # noqa: S608
        f" WHERE i.received_at < ? AND {_NOT_OWED} ORDER BY i.received_at LIMIT ?",
        (before, limit),
    )
    return [instance_of(row, root) for row in rows.fetchall()]


def remove(database: Database, instance_id: int) -> bool:
    """Delete an instance's file, unless something is owed for it; its row stays, so that it is known again.

    Two transactions: the row first, then the file, and that only if the row still says removed. An object
    that its sender stores again in between is either kept with its file or refused, never acknowledged
    without one; and a crash in between leaves a file that start-up deletes, not a row without its file.

    Returns:
        Whether the file is gone.
    """
    with database.writing() as connection:
        changed = connection.execute(
            f"UPDATE instances AS i SET status = 'removed' WHERE i.id = ? AND {_NOT_OWED}",  # noqa: S608
            (instance_id,),
        ).rowcount
    if not changed:
        return False
    reach("retention.removing")
    with database.writing() as connection:
        row = connection.execute("SELECT status, path FROM instances WHERE id = ?", (instance_id,)).fetchone()
        if row["status"] != "removed":
            return False
        try:
            (database.root / row["path"]).unlink(missing_ok=True)
        except OSError as error:
            raise spool_error(error, "deleting an object that retention gave up") from error
    return True


def holds_any(connection: sqlite3.Connection, study: str) -> bool:
    """Tell whether the file of any object of a study is still there."""
    query = (
        "SELECT 1 FROM series AS s JOIN instances AS i ON i.series_id = s.id"
        " WHERE s.StudyInstanceUID = ? AND i.status NOT IN ('removed', 'missing') LIMIT 1"
    )
    return connection.execute(query, (study,)).fetchone() is not None
