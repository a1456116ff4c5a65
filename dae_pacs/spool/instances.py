"""Keep what was received: once for each SOP Instance UID, with all that follows, in one transaction."""

import logging
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Final

from dae_pacs.durable import move_into_place
from dae_pacs.errors import SpoolError
from dae_pacs.failpoints import reach
from dae_pacs.spool import deliveries, jobs
from dae_pacs.spool.files import spool_error
from dae_pacs.spool.records import KeepOutcome, NewInstance, Plan
from dae_pacs.spool.rows import below
from dae_pacs.spool.states import InstanceStatus, Origin

_log = logging.getLogger(__name__)

_OWN: Final = Plan(action="own", reason="our own result came back; nothing to do")


def keep(connection: sqlite3.Connection, new: NewInstance, plan: Plan, *, root: Path) -> KeepOutcome:
    """Record one received object; run it inside a transaction, several to a commit if need be."""
    require_file(new.path, new.size_bytes)
    known = connection.execute(
        "SELECT id, digest, transfer_syntax_uid, status, action FROM instances"
        " WHERE SOPInstanceUID = ? AND origin = 'received' AND status <> 'quarantined'",
        (new.SOPInstanceUID,),
    ).fetchone()
    if known is None:
        if is_ours(connection, new.SOPInstanceUID):
            plan = replace(_OWN, rule=plan.rule)
        _insert(connection, new, plan, root=root)
        return KeepOutcome.NEW
    if (known["digest"], known["transfer_syntax_uid"]) != (new.digest, new.transfer_syntax_uid):
        _quarantine(connection, new, plan, root=root)
        return KeepOutcome.CONFLICT
    if known["status"] in {InstanceStatus.REMOVED, InstanceStatus.MISSING}:
        _take_back(connection, known, new, root=root)
    return KeepOutcome.AGAIN


def abandon(connection: sqlite3.Connection, new: NewInstance, *, root: Path) -> None:
    """Delete the file of an object that could not be recorded, unless one kept before stands on it."""
    stands = connection.execute(
        "SELECT 1 FROM instances WHERE SOPInstanceUID = ? AND origin = 'received' AND path = ?"
        " AND status IN ('kept', 'passed_over')",
        (new.SOPInstanceUID, below(root, new.path)),
    ).fetchone()
    if stands is None:
        try:
            new.path.unlink(missing_ok=True)
        except OSError as error:
            raise spool_error(error, "deleting an object that could not be recorded") from error


def require_file(path: Path, size_bytes: int) -> None:
    """Refuse to record an object whose file is not there whole.

    Checked inside the transaction, so that retention, which deletes inside one too, can't come between.

    Raises:
        SpoolError: the file is gone or has another size; the object must not be acknowledged.
    """
    try:
        found = path.stat().st_size
    except OSError as error:
        raise spool_error(error, "looking for the file of an object about to be recorded") from error
    if found != size_bytes:
        raise SpoolError(
            f"An object's file holds {found} bytes where {size_bytes} were written; it is not recorded. "
            "Check the spool's disk, and that nothing else writes to the spool."
        )


def status_for(action: str) -> InstanceStatus:
    """Say the status of an object on disk under an action."""
    return InstanceStatus.PASSED_OVER if action in {"pass_over", "own"} else InstanceStatus.KEPT


def is_ours(connection: sqlite3.Connection, sop_instance_uid: str) -> bool:
    """Tell whether we made the object of that UID."""
    query = (
        "SELECT 1 FROM instances WHERE SOPInstanceUID = ? AND origin = 'derived' AND status <> 'quarantined'"
    )
    return connection.execute(query, (sop_instance_uid,)).fetchone() is not None


def known_origin(connection: sqlite3.Connection, sop_instance_uid: str) -> Origin | None:
    """Say whether an object of that UID was received or made before; what we made comes first."""
    query = "SELECT origin FROM instances WHERE SOPInstanceUID = ? AND status <> 'quarantined'"
    found = {row["origin"] for row in connection.execute(query, (sop_instance_uid,))}
    if not found:
        return None
    return Origin.DERIVED if Origin.DERIVED in found else Origin.RECEIVED


def _insert(connection: sqlite3.Connection, new: NewInstance, plan: Plan, *, root: Path) -> None:
    association_id = _association_id(connection, new)
    instance_id = _insert_row(
        connection,
        new,
        plan,
        status=status_for(plan.action),
        path=below(root, new.path),
        association_id=association_id,
    )
    if plan.action == "denoise":
        jobs.join(connection, instance_id, new, plan=plan, association_id=association_id)
    if plan.action == "forward" or (plan.forward_original and plan.action != "own"):
        deliveries.add(connection, instance_id, plan.destinations, now=new.received_at)


def _insert_row(
    connection: sqlite3.Connection,
    new: NewInstance,
    plan: Plan,
    *,
    status: InstanceStatus,
    path: str,
    association_id: int,
) -> int:
    row = {
        "series_id": series_id(connection, new, origin=Origin.RECEIVED),
        "association_id": association_id,
        "origin": Origin.RECEIVED,
        "status": status,
        "action": plan.action,
        "rule": plan.rule,
        "reason": plan.reason,
        "SOPClassUID": new.SOPClassUID,
        "SOPInstanceUID": new.SOPInstanceUID,
        "transfer_syntax_uid": new.transfer_syntax_uid,
        "digest": new.digest,
        "path": path,
        "size_bytes": new.size_bytes,
        "received_at": new.received_at,
    }
    return insert_instance(connection, row)


def insert_instance(connection: sqlite3.Connection, row: dict[str, object]) -> int:
    """Insert an instance's row and give its id; a column that the row lacks stays NULL."""
    statement = """
        INSERT INTO instances (series_id, association_id, source_id, origin, status, action, rule, reason,
            SOPClassUID, SOPInstanceUID, transfer_syntax_uid, digest, path, size_bytes, received_at)
        VALUES (:series_id, :association_id, :source_id, :origin, :status, :action, :rule, :reason,
            :SOPClassUID, :SOPInstanceUID, :transfer_syntax_uid, :digest, :path, :size_bytes, :received_at)
        RETURNING id"""
    blank = {"association_id": None, "source_id": None, "rule": None, "reason": None}
    (instance_id,) = connection.execute(statement, blank | row).fetchone()
    return int(instance_id)


def series_id(connection: sqlite3.Connection, new: NewInstance, *, origin: Origin) -> int:
    """Find or make the series' row."""
    key = (new.StudyInstanceUID, new.SeriesInstanceUID, new.PatientID, origin)
    found = connection.execute(
        "UPDATE series SET last_at = max(last_at, ?) WHERE StudyInstanceUID = ? AND SeriesInstanceUID = ?"
        " AND PatientID = ? AND origin = ? RETURNING id",
        (new.received_at, *key),
    ).fetchone()
    if found is None:
        found = connection.execute(
            "INSERT INTO series (StudyInstanceUID, SeriesInstanceUID, PatientID, origin, AccessionNumber,"
            " StudyDate, Modality, SeriesDescription, SeriesNumber, first_at, last_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING id",
            (
                *key,
                new.AccessionNumber,
                new.StudyDate,
                new.Modality,
                new.SeriesDescription,
                new.SeriesNumber,
                new.received_at,
                new.received_at,
            ),
        ).fetchone()
    return int(found["id"])


def _association_id(connection: sqlite3.Connection, new: NewInstance) -> int:
    found = connection.execute("SELECT id FROM associations WHERE name = ?", (new.association,)).fetchone()
    if found is None:
        found = connection.execute(
            "INSERT INTO associations (name, calling_ae, called_ae, address)"
            " VALUES (?, ?, ?, ?) RETURNING id",
            (new.association, new.calling_ae, new.called_ae, new.address),
        ).fetchone()
    return int(found["id"])


def _quarantine(connection: sqlite3.Connection, new: NewInstance, plan: Plan, *, root: Path) -> None:
    """Set apart an object whose UID is already taken by other bytes; the same one only once."""
    path = root / "quarantine" / new.path.name
    try:
        reach("receive.quarantining")
        move_into_place(new.path, path)
    except OSError as error:
        raise spool_error(error, "moving an object to quarantine") from error
    known = connection.execute(
        "SELECT 1 FROM instances WHERE SOPInstanceUID = ? AND status = 'quarantined' AND path = ?",
        (new.SOPInstanceUID, below(root, path)),
    ).fetchone()
    if known is not None:
        return
    reason = "other bytes under a SOP Instance UID that was already kept; the first stays"
    _insert_row(
        connection,
        new,
        replace(plan, reason=reason),
        status=InstanceStatus.QUARANTINED,
        path=below(root, path),
        association_id=_association_id(connection, new),
    )
    _log.warning("conflicting object quarantined", extra={"association": new.association})


def _take_back(connection: sqlite3.Connection, known: sqlite3.Row, new: NewInstance, *, root: Path) -> None:
    """Keep again what retention had removed, or the disk had lost; what the loss had stopped goes on."""
    connection.execute(
        "UPDATE instances SET status = ?, path = ?, size_bytes = ?, received_at = ?,"
        " association_id = ? WHERE id = ?",
        (
            status_for(known["action"]),
            below(root, new.path),
            new.size_bytes,
            new.received_at,
            _association_id(connection, new),
            known["id"],
        ),
    )
    if known["status"] == InstanceStatus.MISSING:
        jobs.rejoin(connection, known["id"], now=new.received_at)
        deliveries.revive(connection, known["id"], now=new.received_at)
