"""Which derived object was made of which original, by which job: what a viewer puts side by side."""

import sqlite3
from dataclasses import dataclass
from pathlib import Path

from dae_pacs.spool.records import Instance, Job
from dae_pacs.spool.rows import INSTANCE_COLUMNS, JOB_COLUMNS, instance_of, job_of

_ON_DISK = "i.status IN ('kept', 'passed_over')"


@dataclass(frozen=True)
class Pair:
    """One derived object of one original."""

    original_id: int
    derived: Instance
    job_id: int


@dataclass(frozen=True)
class StudyPairs:
    """What is there to be looked at of a study, in the order of its arrival."""

    StudyInstanceUID: str
    PatientID: str
    AccessionNumber: str
    StudyDate: str
    originals: tuple[Instance, ...]
    pairs: tuple[Pair, ...]
    jobs: dict[int, Job]
    """Those that made a pair, by their ids."""


def study_pairs(connection: sqlite3.Connection, study_id: int, *, root: Path) -> StudyPairs | None:
    """List a study's received objects that are on the disk, and what was made of each; None without it."""
    study = connection.execute(
        "SELECT StudyInstanceUID, PatientID, AccessionNumber, StudyDate FROM studies WHERE id = ?",
        (study_id,),
    ).fetchone()
    if study is None:
        return None
    # The patient counts, too: a UID that two patients share must not show one the other's images.
    originals = connection.execute(
        f"SELECT {INSTANCE_COLUMNS} FROM series AS s JOIN instances AS i ON i.series_id = s.id"  # noqa: S608
        " WHERE s.StudyInstanceUID = :StudyInstanceUID AND s.PatientID = :PatientID"
        f" AND i.origin = 'received' AND {_ON_DISK} ORDER BY i.id",
        dict(study),
    ).fetchall()
    made = connection.execute(
        f"SELECT ji.instance_id AS original_id, ji.job_id, {INSTANCE_COLUMNS}"  # noqa: S608
        " FROM jobs AS j CROSS JOIN job_images AS ji ON ji.job_id = j.id"
        " JOIN instances AS i ON i.id = ji.derived_id JOIN series AS s ON s.id = i.series_id"
        " WHERE j.StudyInstanceUID = :StudyInstanceUID AND s.PatientID = :PatientID"
        f" AND {_ON_DISK} ORDER BY ji.job_id, i.id",
        dict(study),
    ).fetchall()
    jobs = connection.execute(
        f"SELECT {JOB_COLUMNS} FROM jobs WHERE StudyInstanceUID = :StudyInstanceUID ORDER BY id",  # noqa: S608
        dict(study),
    ).fetchall()
    with_results = {int(row["job_id"]) for row in made}
    return StudyPairs(
        **dict(study),
        originals=tuple(instance_of(row, root) for row in originals),
        pairs=tuple(_pair(row, root) for row in made),
        jobs={job.id: job for job in map(job_of, jobs) if job.id in with_results},
    )


def _pair(row: sqlite3.Row, root: Path) -> Pair:
    columns = {key: row[key] for key in row.keys() if key not in ("original_id", "job_id")}  # noqa: SIM118
    return Pair(int(row["original_id"]), instance_of(columns, root), int(row["job_id"]))


def image_of(
    connection: sqlite3.Connection, study_id: int, instance_id: int, *, root: Path
) -> Instance | None:
    """Find one object of a study; None where that study has none of that number."""
    row = connection.execute(
        f"SELECT {INSTANCE_COLUMNS} FROM instances AS i JOIN series AS s ON s.id = i.series_id"  # noqa: S608
        " JOIN studies AS t ON t.StudyInstanceUID = s.StudyInstanceUID AND s.PatientID = t.PatientID"
        " WHERE i.id = ? AND t.id = ?",
        (instance_id, study_id),
    ).fetchone()
    return None if row is None else instance_of(row, root)
