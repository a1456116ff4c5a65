"""Compare the ledger with the disk at start-up, put right what can be, and report everything.

An object that was acknowledged has a file that says so (`receipt`), in incoming/, ready/ or objects/; where
the ledger has no row for it, the row is made from the file. Nothing here deletes an object that was received
whole: at worst it goes to quarantine, which is a person's to look at and to empty, and is not compared. Run
it only while holding the spool, before the first association and before the first worker.
"""

import logging
import os
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Final

from dae_pacs.durable import flush_folder
from dae_pacs.errors import SpoolError
from dae_pacs.spool import deliveries, instances, jobs, receipt
from dae_pacs.spool.database import Database
from dae_pacs.spool.files import SpoolFiles, spool_error
from dae_pacs.spool.instances import status_for
from dae_pacs.spool.receipt import Sealed
from dae_pacs.spool.records import Instance, NewInstance, Plan
from dae_pacs.spool.rows import INSTANCE_COLUMNS, below, instance_of
from dae_pacs.spool.slots import is_blank
from dae_pacs.spool.states import InstanceStatus, JobStatus, Origin

_log = logging.getLogger(__name__)

Adopt = Callable[[Sealed], tuple[NewInstance, Plan]]
"""Reads an object's header, and says what to record."""
_BATCH: Final = 256

_LOST: Final = "its file was missing from the spool when the node started; send it again"


@dataclass(frozen=True)
class Reconciliation:
    """Where the ledger and the disk disagreed, and what was done about it."""

    missing: tuple[Instance, ...]
    """In the ledger, not on disk: marked missing; sending them again repairs it."""
    remade: int
    """Missing derived objects that are still owed, queued to be made again from their source."""
    found_again: int
    """Missing before, on disk now: kept as before."""
    orphans: tuple[Path, ...]
    """In objects/, not in the ledger, and not whole by their own word: now in quarantine, at these paths."""
    adopted: int
    """Received and acknowledged, not in the ledger: recorded now."""
    swept: int
    """Derived objects without a row, unfinished files, and what retention had given up: deleted."""

    @property
    def is_clean(self) -> bool:
        """Whether ledger and disk agreed."""
        return not (self.missing or self.found_again or self.orphans or self.adopted or self.swept)


def reconcile(
    database: Database, files: SpoolFiles, *, adopt: Adopt | None = None, is_rebuilding: bool = False
) -> Reconciliation:
    """Compare and put right; safe to repeat.

    Args:
        database: the ledger's.
        files: of the same spool.
        adopt: says what to record of an object without a row; without it none is adopted.
        is_rebuilding: adopt also what lies in objects/ from before files had receipts.

    Raises:
        SpoolError: the ledger belongs to another spool, or the disk refuses.
    """
    if files.root != database.root:
        raise SpoolError(
            f"The ledger {database.path} does not belong to the spool {files.root}. They must share a folder."
        )
    try:
        unfinished = _take_in(files)
        absent, unknown = _compare(database, files)
        read = receipt.read_old if is_rebuilding else receipt.read
        adopted, unknown = _adopt(database, files, unknown, adopt=adopt, read=read)
        with database.writing() as connection:
            found_again, orphans, swept = _settle_unknown(connection, unknown, files)
            missing, remade = _mark_missing(connection, absent, root=files.root)
    except OSError as error:
        raise spool_error(error, "comparing the ledger with the disk") from error
    result = Reconciliation(
        missing=missing,
        remade=remade,
        found_again=found_again,
        orphans=tuple(orphans),
        adopted=adopted,
        swept=swept + unfinished,
    )
    level = logging.INFO if result.is_clean else logging.WARNING
    fields = {
        "missing": len(missing),
        "remade": remade,
        "found_again": found_again,
        "orphans": len(orphans),
        "adopted": adopted,
        "swept": result.swept,
    }
    _log.log(level, "ledger and disk compared", extra=fields)
    return result


def _take_in(files: SpoolFiles) -> int:
    """Move what is whole in incoming/ and ready/ to objects/; delete what is not, and count it.

    Slots that were made ahead and never used stay.
    """
    swept = 0
    for path in files.left_behind():
        sealed = receipt.read(path)
        if sealed is not None:
            files.settle_again(sealed)
        elif not is_blank(path):
            path.unlink(missing_ok=True)
            swept += 1
    return swept


def _adopt(
    database: Database,
    files: SpoolFiles,
    unknown: list[str],
    *,
    adopt: Adopt | None,
    read: Callable[[Path], Sealed | None],
) -> tuple[int, list[str]]:
    """Record the objects that say themselves that they are whole, in the order of their arrival.

    Returns:
        How many, and the files that are left.
    """
    if adopt is None:
        return 0, unknown
    found = {name: read(files.root / name) for name in unknown if name.startswith("objects/")}
    sealed = sorted(
        (one for one in found.values() if one is not None),
        key=lambda one: (one.receipt.received_at, one.receipt.sequence),
    )
    known = _rows_by_path(database, [name for name, one in found.items() if one is not None])
    adopted = 0
    for start in range(0, len(sealed), _BATCH):
        batch = [one for one in sealed[start : start + _BATCH] if below(files.root, one.path) not in known]
        plans = [adopt(one) for one in batch]
        with database.writing() as connection:
            for new, plan in plans:
                instances.keep(connection, new, plan, root=files.root)
        adopted += len(batch)
    if adopted:
        with database.writing() as connection:
            connection.execute("UPDATE associations SET is_open = 0 WHERE is_open")
    gone = {below(files.root, one.path) for one in sealed} - known
    return adopted, [name for name in unknown if name not in gone]


def _rows_by_path(database: Database, paths: list[str]) -> set[str]:
    with database.writing() as connection:
        return set(_rows_of(connection, paths))


def _compare(database: Database, files: SpoolFiles) -> tuple[list[int], list[str]]:
    """List the instances whose file is absent, and the files that no live row names; a folder at a time."""
    on_disk = dict(_folders(files))
    absent: list[int] = []
    unknown: list[str] = []
    with database.reading() as connection:
        rows = connection.execute(
            "SELECT id, path FROM instances WHERE status IN ('kept', 'passed_over') ORDER BY path"
        )
        for folder, members in groupby(rows, key=lambda row: row["path"].rpartition("/")[0]):
            present = _names(on_disk.pop(folder)) if folder in on_disk else set()
            for row in members:
                name = row["path"].rpartition("/")[2]
                if name in present:
                    present.discard(name)
                else:
                    absent.append(row["id"])
            unknown += [f"{folder}/{name}" for name in present]
    for folder, path in on_disk.items():
        unknown += [f"{folder}/{name}" for name in _names(path)]
    return absent, unknown


def _names(folder: Path) -> set[str]:
    with os.scandir(folder) as entries:
        return {entry.name for entry in entries}


def _folders(files: SpoolFiles) -> Iterator[tuple[str, Path]]:
    for folder in (files.objects, files.derived):
        for shard in folder.iterdir():
            if shard.is_dir():
                yield f"{folder.name}/{shard.name}", shard


def _settle_unknown(
    connection: sqlite3.Connection, unknown: list[str], files: SpoolFiles
) -> tuple[int, list[Path], int]:
    """Put each unknown file back in the ledger, in quarantine, or, if it can be made again, away."""
    rows = _rows_of(connection, unknown)
    found_again, swept = 0, 0
    orphans: list[Path] = []
    for name in unknown:
        row, path = rows.get(name), files.root / name
        if row is not None and row["status"] == InstanceStatus.MISSING:
            _find_again(connection, row)
            found_again += 1
        elif row is not None and row["status"] != InstanceStatus.REMOVED:
            continue  # recorded since the comparison
        elif row is not None or name.startswith("derived/"):
            path.unlink(missing_ok=True)
            swept += 1
        else:
            orphans.append(path.replace(files.quarantine / path.name))
    if orphans:
        flush_folder(files.quarantine)
    return found_again, orphans, swept


def _rows_of(connection: sqlite3.Connection, paths: list[str]) -> dict[str, sqlite3.Row]:
    """Find the rows of files, in one pass over the ledger, since paths need no index at any other time."""
    if not paths:
        return {}
    connection.execute("CREATE TEMP TABLE IF NOT EXISTS unknown_files (path TEXT PRIMARY KEY) WITHOUT ROWID")
    connection.execute("DELETE FROM unknown_files")
    connection.executemany("INSERT INTO unknown_files VALUES (?)", [(path,) for path in paths])
    rows = connection.execute(
        "SELECT id, path, status, origin, action, received_at FROM instances"
        " WHERE path IN (SELECT path FROM unknown_files)"
    ).fetchall()
    connection.execute("DELETE FROM unknown_files")
    return {row["path"]: row for row in rows}


def _find_again(connection: sqlite3.Connection, row: sqlite3.Row) -> None:
    status = InstanceStatus.KEPT if row["origin"] == Origin.DERIVED else status_for(row["action"])
    connection.execute("UPDATE instances SET status = ? WHERE id = ?", (status, row["id"]))
    jobs.rejoin(connection, row["id"], now=row["received_at"])
    deliveries.revive(connection, row["id"], now=row["received_at"])


def _mark_missing(
    connection: sqlite3.Connection, absent: list[int], *, root: Path
) -> tuple[tuple[Instance, ...], int]:
    """Mark instances whose file is gone, received ones first: a derived one may be made again from one."""
    rows = [
        connection.execute(
            f"SELECT {INSTANCE_COLUMNS} FROM instances AS i JOIN series AS s ON s.id = i.series_id"  # noqa: S608
            " WHERE i.id = ? AND i.status IN ('kept', 'passed_over')",
            (instance_id,),
        ).fetchone()
        for instance_id in absent
    ]
    instances = [instance_of(row, root) for row in rows if row is not None]
    missing = sorted(
        (instance for instance in instances if not instance.path.exists()),
        key=lambda instance: (instance.origin == Origin.DERIVED, instance.id),
    )
    remade = 0
    for instance in missing:
        connection.execute("UPDATE instances SET status = 'missing' WHERE id = ?", (instance.id,))
        if instance.origin == Origin.DERIVED and _remake(connection, instance.id):
            remade += 1
            continue
        connection.execute(
            "UPDATE job_images SET status = 'rejected', reason = ?"
            " WHERE instance_id = ? AND status = 'pending'",
            (_LOST, instance.id),
        )
        connection.execute(
            "UPDATE deliveries SET status = 'dead', error = ?"
            " WHERE instance_id = ? AND status IN ('waiting', 'sending')",
            (_LOST, instance.id),
        )
    return tuple(missing), remade


def _remake(connection: sqlite3.Connection, derived_id: int) -> bool:
    """Queue the making of a lost derived object that is owed; False when it is not, or can't be made."""
    links = connection.execute(
        "SELECT ji.job_id, ji.instance_id FROM job_images AS ji JOIN instances AS i ON i.id = ji.instance_id"
        " JOIN instances AS x ON x.id = ji.derived_id"
        " WHERE x.id = ? AND ji.instance_id = x.source_id AND ji.status = 'derived' AND i.status = 'kept'"
        " AND EXISTS (SELECT 1 FROM deliveries WHERE instance_id = x.id"
        " AND status NOT IN ('delivered', 'dropped'))",
        (derived_id,),
    ).fetchall()
    for link in links:
        jobs.reopen_image(connection, link["job_id"], link["instance_id"])
        jobs.reopen(connection, link["job_id"], status=JobStatus.READY)
    return bool(links)
