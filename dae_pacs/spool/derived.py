"""Record what we made: the derived instance, its link to its source, and a delivery for each destination."""

import json
import sqlite3
from pathlib import Path

from dae_pacs.errors import SpoolError
from dae_pacs.spool import deliveries, jobs
from dae_pacs.spool.instances import insert_instance, require_file
from dae_pacs.spool.records import NewDerived
from dae_pacs.spool.rows import below
from dae_pacs.spool.states import ImageStatus, InstanceStatus, Origin


def record(
    connection: sqlite3.Connection, job_id: int, instance_id: int, *, new: NewDerived, root: Path
) -> int:
    """Record one derived object; a repeat of the same one changes nothing but its file's digest.

    Returns:
        The derived instance's id.

    Raises:
        SpoolError: its file is not there, or the job has no such image.
        TransitionError: the image has another derived object already, or was rejected.
    """
    require_file(new.path, new.size_bytes)
    jobs.move_image(connection, job_id, instance_id, target=ImageStatus.DERIVED)
    derived_id = _find(connection, new, root=root)
    if derived_id is None:
        derived_id = _insert(connection, instance_id, new, root=root)
    linked = connection.execute(
        "SELECT derived_id FROM job_images WHERE job_id = ? AND instance_id = ?", (job_id, instance_id)
    ).fetchone()["derived_id"]
    if linked not in {None, derived_id}:
        raise SpoolError(
            f"Image {instance_id} of job {job_id} has a derived object already, and not this one. "
            "The job was run by another worker or model meanwhile: drop this result."
        )
    connection.execute(
        "UPDATE job_images SET derived_id = ?, reason = NULL WHERE job_id = ? AND instance_id = ?",
        (derived_id, job_id, instance_id),
    )
    (destinations,) = connection.execute("SELECT destinations FROM jobs WHERE id = ?", (job_id,)).fetchone()
    deliveries.add(connection, derived_id, json.loads(destinations), now=new.created_at)
    return derived_id


def _find(connection: sqlite3.Connection, new: NewDerived, *, root: Path) -> int | None:
    """Find the object made before under this UID, and take its file as it is now."""
    known = connection.execute(
        "SELECT id, status FROM instances"
        " WHERE SOPInstanceUID = ? AND origin = 'derived' AND status <> 'quarantined'",
        (new.SOPInstanceUID,),
    ).fetchone()
    if known is None:
        return None
    derived_id = int(known["id"])
    connection.execute(
        "UPDATE instances SET status = ?, path = ?, digest = ?, size_bytes = ? WHERE id = ?",
        (InstanceStatus.KEPT, below(root, new.path), new.digest, new.size_bytes, derived_id),
    )
    if known["status"] == InstanceStatus.MISSING:
        deliveries.revive(connection, derived_id, now=new.created_at)
    return derived_id


def _insert(connection: sqlite3.Connection, instance_id: int, new: NewDerived, *, root: Path) -> int:
    source = connection.execute(
        "SELECT s.*, i.rule FROM instances AS i JOIN series AS s ON s.id = i.series_id WHERE i.id = ?",
        (instance_id,),
    ).fetchone()
    (series_id,) = connection.execute(
        "INSERT INTO series (StudyInstanceUID, SeriesInstanceUID, PatientID, origin, AccessionNumber,"
        " StudyDate, Modality, SeriesDescription, SeriesNumber, first_at, last_at)"
        " VALUES (?, ?, ?, 'derived', ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
        " last_at = max(last_at, excluded.last_at) RETURNING id",
        (
            source["StudyInstanceUID"],
            new.SeriesInstanceUID,
            source["PatientID"],
            source["AccessionNumber"],
            source["StudyDate"],
            source["Modality"],
            new.SeriesDescription,
            new.SeriesNumber,
            new.created_at,
            new.created_at,
        ),
    ).fetchone()
    row = {
        "series_id": series_id,
        "source_id": instance_id,
        "origin": Origin.DERIVED,
        "status": InstanceStatus.KEPT,
        "action": "own",
        "rule": source["rule"],
        "SOPClassUID": new.SOPClassUID,
        "SOPInstanceUID": new.SOPInstanceUID,
        "transfer_syntax_uid": new.transfer_syntax_uid,
        "digest": new.digest,
        "path": below(root, new.path),
        "size_bytes": new.size_bytes,
        "received_at": new.created_at,
    }
    return insert_instance(connection, row)
