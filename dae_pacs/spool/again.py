"""Make a study's derived series once more, by another model or at another strength: a job beside the first.

The first job stays as it is, and so does its derived series: what is made now has other UIDs, since model and
strength are part of them. Images that come late join both.
"""

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from dae_pacs.spool.records import Job
from dae_pacs.spool.report import list_jobs
from dae_pacs.spool.states import JobStatus

_COPY: Final = """
    INSERT INTO jobs (StudyInstanceUID, SeriesInstanceUID, rule, variant, kind, model, strength, compression,
        destinations, description, priority, priority_rank, status, image_count, created_at, last_image_at,
        noise)
    SELECT StudyInstanceUID, SeriesInstanceUID, rule, :variant, kind, :model, :strength, compression,
        destinations, :description, priority, priority_rank, 'ready', :count, :now, :now,
        CASE WHEN model = :model THEN noise END
    FROM jobs WHERE id = :id RETURNING id"""
_ON_DISK: Final = """
    SELECT ji.instance_id FROM job_images AS ji JOIN instances AS i ON i.id = ji.instance_id
    WHERE ji.job_id = ? AND i.status IN ('kept', 'passed_over') ORDER BY ji.instance_id"""


@dataclass(frozen=True)
class Wish:
    """How a study is to be denoised once more."""

    model: str
    strength: float
    """0..1"""


@dataclass(frozen=True)
class Remade:
    """What came of a wish; counts are series, and images of them."""

    jobs: int
    images: int
    same: int
    """Series that have just that already, or get it."""
    gone: int
    """Series whose originals are no longer in the spool."""


def make_again(
    connection: sqlite3.Connection, study: str, wish: Wish, *, defaults: Mapping[str, float], now: float
) -> Remade:
    """Add a job for each series of a study that a rule denoised.

    Args:
        connection: in a transaction.
        study: its Study Instance UID.
        wish: the model and the strength.
        defaults: the strength that each model has where a job names none.
        now: seconds since 1970.
    """
    series: dict[tuple[str, str | None], list[Job]] = {}
    for job in list_jobs(connection, status=None, study=study, limit=-1):
        if job.kind == "denoised":
            series.setdefault((job.SeriesInstanceUID, job.rule), []).append(job)
    jobs = images = same = gone = 0
    for known in series.values():
        first = min(known, key=lambda job: job.id)
        if any(_is_that(job, wish, defaults) for job in known):
            same += 1
            continue
        on_disk = [row["instance_id"] for row in connection.execute(_ON_DISK, (first.id,))]
        if not on_disk:
            gone += 1
            continue
        _add(connection, first, wish, images=on_disk, now=now)
        jobs, images = jobs + 1, images + len(on_disk)
    return Remade(jobs, images, same, gone)


def _is_that(job: Job, wish: Wish, defaults: Mapping[str, float]) -> bool:
    strength = defaults.get(job.model) if job.strength is None else job.strength
    return job.model == wish.model and strength is not None and abs(strength - wish.strength) < 1e-6


def _add(connection: sqlite3.Connection, first: Job, wish: Wish, *, images: list[int], now: float) -> None:
    description = first.description
    if wish.model != first.model and "{model}" not in description:
        description += " {model}"
    (job_id,) = connection.execute(
        _COPY,
        {
            "id": first.id,
            "variant": f"again {wish.model} s={wish.strength:.6g}",
            "model": wish.model,
            "strength": wish.strength,
            "description": description,
            "count": len(images),
            "now": now,
        },
    ).fetchone()
    connection.executemany(
        "INSERT INTO job_images (job_id, instance_id, status, joined_round) VALUES (?, ?, 'pending', 0)",
        [(job_id, instance_id) for instance_id in images],
    )
    if first.status is JobStatus.COLLECTING:  # more images may come, and join this one, too
        connection.execute(
            "INSERT INTO job_associations SELECT ?, association_id FROM job_associations WHERE job_id = ?",
            (job_id, first.id),
        )
