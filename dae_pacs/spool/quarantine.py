"""Decide about an object in quarantine: have it take the place of the one that came first, or delete it.

Both objects carry one SOP Instance UID, and one row of the ledger stands for that UID. Releasing gives this
row to the other bytes, and the quarantine to the first ones, under a number of their own: a page that shows
what was decided before can't mean them. It can be taken back in the same way. Files are linked to their new
places within the transaction, and unlinked from the old ones after it: a crash in between leaves a file too
many, which the next start knows what to do with, never one too few.
"""

import os
import sqlite3
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from dae_pacs.durable import flush_folder
from dae_pacs.errors import SpoolError
from dae_pacs.spool import deliveries, jobs
from dae_pacs.spool.database import Database
from dae_pacs.spool.files import spool_error
from dae_pacs.spool.instances import status_for
from dae_pacs.spool.records import NewInstance, Plan
from dae_pacs.spool.rows import below
from dae_pacs.spool.states import InstanceStatus

_MOVED: Final = (
    "series_id, association_id, action, rule, reason, SOPClassUID, transfer_syntax_uid, digest, path,"
    " size_bytes, received_at"
)
_DECIDED: Final = (
    "Object {} is not in quarantine (any more): somebody has decided about it. Load the page again."
)
_SET_ASIDE: Final = "was kept first; a person released other bytes under its SOP Instance UID in its place"


def delete(database: Database, instance_id: int) -> None:
    """Delete an object of the quarantine, its file and its row.

    Raises:
        SpoolError: it is not there, or not in quarantine.
    """
    with database.writing() as connection:
        row = _quarantined(connection, instance_id)
        try:
            (database.root / row["path"]).unlink(missing_ok=True)
        except OSError as error:
            raise spool_error(error, "deleting an object of the quarantine") from error
        connection.execute("DELETE FROM instances WHERE id = ?", (instance_id,))


def release(database: Database, instance_id: int, *, new: NewInstance, plan: Plan, target: Path) -> None:
    """Let an object of the quarantine take the place of the one that stands under its UID.

    Args:
        database: the ledger's.
        instance_id: of the object in quarantine.
        new: what its file says that it is.
        plan: what the rules decide for it now.
        target: where its file belongs.

    Raises:
        SpoolError: it is not in quarantine any more, or the other one is being worked on.
    """
    root, aside = database.root, database.root / "quarantine"
    try:
        with database.writing() as connection, ExitStack() as undo:
            row = _quarantined(connection, instance_id)
            if row["path"] != below(root, new.path):
                raise SpoolError(_DECIDED.format(instance_id))
            first = _first(connection, new.SOPInstanceUID)
            _refuse_busy(connection, first["id"])
            leaves = root / first["path"]
            if _link(new.path, target):
                undo.callback(target.unlink, missing_ok=True)
            is_there = first["status"] in {InstanceStatus.KEPT, InstanceStatus.PASSED_OVER}
            is_there = is_there and leaves.is_file()
            if is_there:
                _link(leaves, aside / leaves.name)
            _forget_work(connection, first["id"])
            _swap(connection, row, first, was=below(root, aside / leaves.name) if is_there else None)
            _take(connection, first["id"], row, new=new, plan=plan, path=below(root, target))
            undo.pop_all()
        for old in (new.path, leaves) if is_there else (new.path,):
            old.unlink(missing_ok=True)
    except OSError as error:
        raise spool_error(error, "releasing an object from quarantine") from error


def _link(source: Path, target: Path) -> bool:
    """Give a file a second name; False where it has that name already."""
    try:
        os.link(source, target)
    except FileExistsError:
        return False
    flush_folder(target.parent)
    return True


def _quarantined(connection: sqlite3.Connection, instance_id: int) -> sqlite3.Row:
    row: sqlite3.Row | None = connection.execute(
        "SELECT * FROM instances WHERE id = ? AND status = 'quarantined'", (instance_id,)
    ).fetchone()
    if row is None:
        raise SpoolError(_DECIDED.format(instance_id))
    return row


def _first(connection: sqlite3.Connection, uid: str) -> sqlite3.Row:
    row: sqlite3.Row | None = connection.execute(
        "SELECT * FROM instances WHERE SOPInstanceUID = ? AND origin = 'received'"
        " AND status <> 'quarantined'",
        (uid,),
    ).fetchone()
    if row is None:
        raise SpoolError(
            "The ledger has no other object under this one's SOP Instance UID: file and row disagree. "
            "Leave it in quarantine, and have its sender store it again."
        )
    return row


def _refuse_busy(connection: sqlite3.Connection, instance_id: int) -> None:
    busy = connection.execute(
        "SELECT 1 FROM job_images AS ji JOIN jobs AS j ON j.id = ji.job_id"
        " WHERE ji.instance_id = :id AND j.status = 'running'"
        " UNION SELECT 1 FROM deliveries WHERE instance_id = :id AND status = 'sending'",
        {"id": instance_id},
    ).fetchone()
    if busy is not None:
        raise SpoolError(
            "The object that stands under this SOP Instance UID is being denoised or sent right now. "
            "Try again in a minute."
        )


def _forget_work(connection: sqlite3.Connection, instance_id: int) -> None:
    """Take what stood under the UID out of its jobs and deliveries; what was derived of it stays."""
    values = {"id": instance_id}
    connection.execute(
        "UPDATE jobs SET image_count = image_count - 1"
        " WHERE id IN (SELECT job_id FROM job_images WHERE instance_id = :id)",
        values,
    )
    was_in = [
        row["job_id"]
        for row in connection.execute("SELECT job_id FROM job_images WHERE instance_id = :id", values)
    ]
    connection.execute("DELETE FROM job_images WHERE instance_id = :id", values)
    for job_id in was_in:
        left = connection.execute("SELECT 1 FROM job_images WHERE job_id = ? LIMIT 1", (job_id,)).fetchone()
        if left is None:
            connection.execute("DELETE FROM job_associations WHERE job_id = ?", (job_id,))
            connection.execute("DELETE FROM jobs WHERE id = ?", (job_id,))
    connection.execute("DELETE FROM deliveries WHERE instance_id = :id", values)


def _swap(connection: sqlite3.Connection, row: sqlite3.Row, first: sqlite3.Row, *, was: str | None) -> None:
    """Put what came first into the quarantine; without a file there is nothing to set aside."""
    if was is None:
        connection.execute("DELETE FROM instances WHERE id = ?", (row["id"],))
        return
    (aside,) = connection.execute(
        f"INSERT INTO instances ({_MOVED}, SOPInstanceUID, origin, status)"  # noqa: S608
        f" SELECT {_MOVED}, SOPInstanceUID, origin, 'quarantined' FROM instances WHERE id = ? RETURNING id",
        (first["id"],),
    ).fetchone()
    connection.execute("UPDATE instances SET path = ?, reason = ? WHERE id = ?", (was, _SET_ASIDE, aside))
    connection.execute("DELETE FROM instances WHERE id = ?", (row["id"],))


def _take(
    connection: sqlite3.Connection,
    instance_id: int,
    row: sqlite3.Row,
    *,
    new: NewInstance,
    plan: Plan,
    path: str,
) -> None:
    """Let the released object stand under its UID, with all that follows from it."""
    connection.execute(  # the other object's fate ends here
        "UPDATE instances SET status = 'removed' WHERE id = ? AND status IN ('kept', 'passed_over')",
        (instance_id,),
    )
    connection.execute(
        "UPDATE instances SET series_id = ?, association_id = ?, status = ?, action = ?, rule = ?,"
        " reason = ?, SOPClassUID = ?, transfer_syntax_uid = ?, digest = ?, path = ?, size_bytes = ?,"
        " received_at = ? WHERE id = ?",
        (
            row["series_id"],
            row["association_id"],
            status_for(plan.action),
            plan.action,
            plan.rule,
            plan.reason,
            new.SOPClassUID,
            new.transfer_syntax_uid,
            new.digest,
            path,
            new.size_bytes,
            new.received_at,
            instance_id,
        ),
    )
    if plan.action == "denoise":
        jobs.join(connection, instance_id, new, plan=plan, association_id=row["association_id"])
    if plan.action == "forward" or (plan.forward_original and plan.action != "own"):
        deliveries.add(connection, instance_id, plan.destinations, now=new.received_at)
