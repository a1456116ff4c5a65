"""Turn the ledger's rows into records, and keep paths relative to the spool, which may be moved."""

import json
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from dae_pacs.errors import SpoolError
from dae_pacs.spool.records import Delivery, Instance, Job
from dae_pacs.spool.states import DeliveryStatus, InstanceStatus, JobStatus, Origin

INSTANCE_COLUMNS: Final = """
    i.id, i.SOPClassUID, i.SOPInstanceUID, s.StudyInstanceUID, s.SeriesInstanceUID, s.PatientID,
    s.AccessionNumber, s.StudyDate, s.Modality, s.SeriesDescription, s.SeriesNumber,
    i.transfer_syntax_uid, i.digest, i.path, i.size_bytes, i.origin, i.status, i.action, i.rule, i.reason,
    i.received_at"""

DELIVERY_COLUMNS: Final = """
    d.id, d.instance_id, d.destination, d.status, d.attempts, d.next_try_at, d.error, d.warning,
    d.delivered_at, i.path, i.SOPClassUID, i.SOPInstanceUID, s.StudyInstanceUID, s.PatientID,
    i.transfer_syntax_uid, i.origin"""

JOB_COLUMNS: Final = """
    id, StudyInstanceUID, SeriesInstanceUID, rule, variant, kind, model, strength, compression, destinations,
    description, priority, status, attempts, image_count, expected_count, noise, series_number, reason,
    created_at, last_image_at, claimed_at, finished_at, stages"""


def below(root: Path, path: Path) -> str:
    """Say a path as the ledger holds it.

    Raises:
        SpoolError: it lies outside the spool.
    """
    try:
        return path.absolute().relative_to(root).as_posix()
    except ValueError as error:
        raise SpoolError(
            f"An object outside the spool {root} can't be kept in its ledger. Settle it in the spool first."
        ) from error


def instance_of(row: sqlite3.Row | Mapping[str, Any], root: Path) -> Instance:
    """Read an instance from a row of `INSTANCE_COLUMNS`. Any: SQLite's values have no types of their own."""
    values: dict[str, Any] = dict(row)
    values["path"] = root / values["path"]
    values["origin"] = Origin(values["origin"])
    values["status"] = InstanceStatus(values["status"])
    return Instance(**values)


def job_of(row: sqlite3.Row) -> Job:
    """Read a job from a row of `JOB_COLUMNS`."""
    values = dict(row)
    values["rule"] = values["rule"] or None
    values["destinations"] = tuple(json.loads(values["destinations"]))
    values["stages"] = json.loads(values["stages"])
    values["status"] = JobStatus(values["status"])
    return Job(**values)


def delivery_of(row: sqlite3.Row, root: Path) -> Delivery:
    """Read a delivery from a row of `DELIVERY_COLUMNS`."""
    values = dict(row)
    values["path"] = root / values["path"]
    values["origin"] = Origin(values["origin"])
    values["status"] = DeliveryStatus(values["status"])
    return Delivery(**values)
