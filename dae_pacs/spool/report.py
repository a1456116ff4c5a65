"""What the ledger tells a person: studies, jobs, deliveries, counts, and the whole story of one study."""

import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from dae_pacs.errors import SpoolError
from dae_pacs.spool import deliveries, jobs
from dae_pacs.spool.pulls import Pull, of_study
from dae_pacs.spool.records import Delivery, Instance, Job, Retried
from dae_pacs.spool.rows import (
    DELIVERY_COLUMNS,
    INSTANCE_COLUMNS,
    JOB_COLUMNS,
    delivery_of,
    instance_of,
    job_of,
)
from dae_pacs.spool.states import JobStatus

_COUNTED: Final = {
    "instances": "SELECT origin || ' ' || status AS name, count(*) AS number FROM instances GROUP BY name",
    "jobs": "SELECT status AS name, count(*) AS number FROM jobs GROUP BY name",
    "images": "SELECT status AS name, count(*) AS number FROM job_images GROUP BY name",
    "deliveries": "SELECT status AS name, count(*) AS number FROM deliveries GROUP BY name",
}


@dataclass(frozen=True)
class Study:
    """One line about a study."""

    StudyInstanceUID: str
    PatientID: str
    AccessionNumber: str
    StudyDate: str
    modalities: str
    first_at: float
    last_at: float
    received: int
    derived: int
    passed_over: int
    quarantined: int
    missing: int
    rejected: int
    open_jobs: int
    done_jobs: int
    failed_jobs: int
    waiting_deliveries: int
    uncommitted_deliveries: int
    delivered_deliveries: int
    dead_deliveries: int


@dataclass(frozen=True)
class Rejected:
    """An image that could not be denoised, and why."""

    job_id: int
    instance_id: int
    SOPInstanceUID: str
    reason: str


@dataclass(frozen=True)
class StudyStory:
    """Everything that the ledger holds about one study."""

    study: Study
    instances: tuple[Instance, ...]
    jobs: tuple[Job, ...]
    rejected: tuple[Rejected, ...]
    deliveries: tuple[Delivery, ...]
    pulls: tuple[Pull, ...]
    """Its series that a peer was asked for."""


def counts(connection: sqlite3.Connection) -> dict[str, dict[str, int]]:
    """Count instances (by origin and status), jobs, images of jobs and deliveries (by status)."""
    return {
        kind: {str(row["name"]): int(row["number"]) for row in connection.execute(query)}
        for kind, query in _COUNTED.items()
    }


def _where(**filters: str | None) -> tuple[str, dict[str, str]]:
    """Write the condition for the filters that are set; unset ones leave no trace, so that indexes serve."""
    columns = {"status": "status = :status", "study": "StudyInstanceUID = :study"}
    values = {name: value for name, value in filters.items() if value is not None}
    return " AND ".join(["TRUE", *(columns[name] for name in values)]), values


def studies(connection: sqlite3.Connection, *, limit: int, study: str | None = None) -> list[Study]:
    """List studies, the latest first."""
    where, values = _where(study=study)
    rows = connection.execute(
        "SELECT StudyInstanceUID, max(PatientID) AS PatientID, max(AccessionNumber) AS AccessionNumber,"  # noqa: S608
        " max(StudyDate) AS StudyDate, group_concat(DISTINCT Modality) AS modalities,"
        f" min(first_at) AS first_at, max(last_at) AS last_at FROM series WHERE {where}"
        " GROUP BY StudyInstanceUID ORDER BY last_at DESC LIMIT :limit",
        {**values, "limit": limit},
    ).fetchall()
    return [study_line(connection, dict(row)) for row in rows]


def study_line(connection: sqlite3.Connection, row: dict[str, Any]) -> Study:  # Any: what SQLite holds
    """Add to what is known of a study how many objects, jobs and deliveries it has."""
    uid = (row["StudyInstanceUID"],)
    instances = connection.execute(
        "SELECT coalesce(sum(i.origin = 'received' AND i.status <> 'quarantined'), 0) AS received,"
        " coalesce(sum(i.origin = 'derived'), 0) AS derived,"
        " coalesce(sum(i.status = 'passed_over'), 0) AS passed_over,"
        " coalesce(sum(i.status = 'quarantined'), 0) AS quarantined,"
        " coalesce(sum(i.status = 'missing'), 0) AS missing"
        " FROM instances AS i JOIN series AS s ON s.id = i.series_id WHERE s.StudyInstanceUID = ?",
        uid,
    ).fetchone()
    work = connection.execute(
        "SELECT coalesce(sum(status NOT IN ('done', 'failed')), 0) AS open_jobs,"
        " coalesce(sum(status = 'done'), 0) AS done_jobs,"
        " coalesce(sum(status = 'failed'), 0) AS failed_jobs,"
        " (SELECT count(*) FROM job_images AS ji JOIN jobs AS j ON j.id = ji.job_id"
        "  WHERE j.StudyInstanceUID = :study AND ji.status = 'rejected') AS rejected"
        " FROM jobs WHERE StudyInstanceUID = :study",
        {"study": uid[0]},
    ).fetchone()
    owed = connection.execute(
        "SELECT coalesce(sum(d.status IN ('waiting', 'sending')), 0) AS waiting_deliveries,"
        " coalesce(sum(d.status = 'uncommitted'), 0) AS uncommitted_deliveries,"
        " coalesce(sum(d.status = 'delivered'), 0) AS delivered_deliveries,"
        " coalesce(sum(d.status = 'dead'), 0) AS dead_deliveries FROM series AS s"
        " JOIN instances AS i ON i.series_id = s.id JOIN deliveries AS d ON d.instance_id = i.id"
        " WHERE s.StudyInstanceUID = ?",
        uid,
    ).fetchone()
    return Study(**row, **dict(instances), **dict(work), **dict(owed))


def list_jobs(
    connection: sqlite3.Connection, *, status: str | None, study: str | None, limit: int
) -> list[Job]:
    """List jobs, the latest first."""
    where, values = _where(status=status, study=study)
    rows = connection.execute(
        f"SELECT {JOB_COLUMNS} FROM jobs WHERE {where} ORDER BY id DESC LIMIT :limit",  # noqa: S608
        {**values, "limit": limit},
    )
    return [job_of(row) for row in rows.fetchall()]


def list_deliveries(
    connection: sqlite3.Connection, *, status: str | None, study: str | None, limit: int, root: Path
) -> list[Delivery]:
    """List deliveries, the latest first."""
    where, values = _where(status=status, study=study)
    rows = connection.execute(
        f"SELECT {DELIVERY_COLUMNS} FROM deliveries AS d JOIN instances AS i ON i.id = d.instance_id"  # noqa: S608
        f" JOIN series AS s ON s.id = i.series_id WHERE {where.replace('status =', 'd.status =')}"
        " ORDER BY d.id DESC LIMIT :limit",
        {**values, "limit": limit},
    )
    return [delivery_of(row, root) for row in rows.fetchall()]


def study_story(connection: sqlite3.Connection, study: str, *, root: Path) -> StudyStory:
    """Tell everything about one study.

    Raises:
        SpoolError: the ledger knows no such study.
    """
    lines = studies(connection, limit=1, study=study)
    if not lines:
        raise SpoolError("The ledger has no study of that UID; `dae-pacs status` lists those it has.")
    instances = connection.execute(
        f"SELECT {INSTANCE_COLUMNS} FROM series AS s JOIN instances AS i ON i.series_id = s.id"  # noqa: S608
        " WHERE s.StudyInstanceUID = ? ORDER BY i.id",
        (study,),
    )
    rejected = connection.execute(
        "SELECT ji.job_id, ji.instance_id, i.SOPInstanceUID, coalesce(ji.reason, '') AS reason"
        " FROM jobs AS j JOIN job_images AS ji ON ji.job_id = j.id"
        " JOIN instances AS i ON i.id = ji.instance_id"
        " WHERE j.StudyInstanceUID = ? AND ji.status = 'rejected' ORDER BY ji.instance_id",
        (study,),
    )
    return StudyStory(
        study=lines[0],
        instances=tuple(instance_of(row, root) for row in instances.fetchall()),
        jobs=tuple(list_jobs(connection, status=None, study=study, limit=-1)),
        rejected=tuple(Rejected(**dict(row)) for row in rejected.fetchall()),
        deliveries=tuple(list_deliveries(connection, status=None, study=study, limit=-1, root=root)),
        pulls=tuple(of_study(connection, study)),
    )


def received(connection: sqlite3.Connection, sop_instance_uid: str, *, root: Path) -> Instance | None:
    """Find the object that was received under a UID."""
    row = connection.execute(
        f"SELECT {INSTANCE_COLUMNS} FROM instances AS i JOIN series AS s ON s.id = i.series_id"  # noqa: S608
        " WHERE i.SOPInstanceUID = ? AND i.origin = 'received' AND i.status <> 'quarantined'",
        (sop_instance_uid,),
    ).fetchone()
    return None if row is None else instance_of(row, root)


def retry(connection: sqlite3.Connection, *, study: str | None, now: float) -> Retried:
    """Requeue failed jobs and dead deliveries whose files are there.

    The rejected images of a failed job are tried again with it; those of a job that is done otherwise only
    when their study is named, since most are wrong for good.
    """
    scope = "j.status = 'failed'"
    if study is not None:
        scope = "j.status IN ('done', 'failed') AND j.StudyInstanceUID = :study"
    images = connection.execute(
        "SELECT ji.job_id, ji.instance_id FROM jobs AS j"  # noqa: S608
        " CROSS JOIN job_images AS ji ON ji.job_id = j.id"  # CROSS: SQLite then keeps this order
        " JOIN instances AS i ON i.id = ji.instance_id"
        f" WHERE ji.status = 'rejected' AND i.status IN ('kept', 'passed_over') AND {scope}",
        {"study": study},
    ).fetchall()
    for row in images:
        jobs.reopen_image(connection, row["job_id"], row["instance_id"])
    again = connection.execute(
        f"SELECT j.id FROM jobs AS j WHERE {scope} AND EXISTS ("  # noqa: S608
        " SELECT 1 FROM job_images WHERE job_id = j.id AND status = 'pending')",
        {"study": study},
    ).fetchall()
    for row in again:
        jobs.reopen(connection, row["id"], status=JobStatus.READY)
    scope = "TRUE" if study is None else "s.StudyInstanceUID = :study"
    dead = connection.execute(
        "SELECT d.instance_id, d.destination FROM deliveries AS d JOIN instances AS i ON i.id = d.instance_id"  # noqa: S608
        " JOIN series AS s ON s.id = i.series_id"
        f" WHERE d.status = 'dead' AND i.status IN ('kept', 'passed_over') AND {scope}",
        {"study": study},
    ).fetchall()
    for instance_id in {row["instance_id"] for row in dead}:
        deliveries.revive(connection, instance_id, now=now)
    for destination in {row["destination"] for row in dead}:
        deliveries.destination_ok(connection, destination)
    return Retried(jobs=len(again), images=len(images), deliveries=len(dead))
