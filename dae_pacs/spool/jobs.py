"""Jobs: one output of one series under one rule, from its first image to its last derived object.

A worker holds a job by a lease that it renews. Whatever it does to a job names its owner, so that one whose
lease ran out changes nothing any more.
"""

import json
import sqlite3
from pathlib import Path
from typing import Final

from dae_pacs.errors import SpoolError
from dae_pacs.spool import turns
from dae_pacs.spool.backoff import LONGEST_BACKOFF_S, backoff_s
from dae_pacs.spool.records import Instance, Job, NewInstance, Plan, Variant
from dae_pacs.spool.rows import INSTANCE_COLUMNS, JOB_COLUMNS, instance_of, job_of
from dae_pacs.spool.states import PRIORITY_RANK, ImageStatus, JobStatus, check_transition

_MOST_CRASHES: Final = 5
"""More than the attempts of a job that merely fails: the node may have gone down for reasons of its own."""
_REOPEN: Final = """
    UPDATE jobs SET status = :status, attempts = 0, not_before = 0, finished_at = NULL, reason = NULL
    WHERE id = :id"""

# Spelled out, not bound: only then does SQLite use the partial index of each status.
_ANY: Final = {
    JobStatus.COLLECTING: "SELECT 1 FROM jobs WHERE status = 'collecting' LIMIT 1",
    JobStatus.READY: "SELECT 1 FROM jobs WHERE status = 'ready' LIMIT 1",
    JobStatus.RUNNING: "SELECT 1 FROM jobs WHERE status = 'running' LIMIT 1",
}


def join(
    connection: sqlite3.Connection, instance_id: int, new: NewInstance, *, plan: Plan, association_id: int
) -> None:
    """Add an image to the jobs of its series and rule; make them, or re-open them, as needed.

    A series whose jobs are there gets no others, even if the rule asks for more by now: an output must not
    begin in the middle of a series.
    """
    known = connection.execute(
        "SELECT id FROM jobs WHERE StudyInstanceUID = ? AND SeriesInstanceUID = ? AND rule = ? ORDER BY id",
        (new.StudyInstanceUID, new.SeriesInstanceUID, plan.rule or ""),
    ).fetchall()
    ids = [int(row["id"]) for row in known]
    for job_id in ids or [_create(connection, new, plan, variant=variant) for variant in plan.variants]:
        _add_image(connection, job_id, instance_id, new=new, association_id=association_id)


def _add_image(
    connection: sqlite3.Connection, job_id: int, instance_id: int, *, new: NewInstance, association_id: int
) -> None:
    reopen(connection, job_id, status=JobStatus.COLLECTING)
    connection.execute(
        "UPDATE jobs SET image_count = image_count + 1, last_image_at = :now,"
        " expected_count = max(coalesce(expected_count, :expected), coalesce(:expected, expected_count))"
        " WHERE id = :id",
        {"id": job_id, "now": new.received_at, "expected": new.expected_count},
    )
    connection.execute(
        "INSERT INTO job_images (job_id, instance_id, status, joined_round)"
        " SELECT id, ?, ?, round FROM jobs WHERE id = ?",
        (instance_id, ImageStatus.PENDING, job_id),
    )
    connection.execute("INSERT OR IGNORE INTO job_associations VALUES (?, ?)", (job_id, association_id))


def _create(connection: sqlite3.Connection, new: NewInstance, plan: Plan, *, variant: Variant) -> int:
    (job_id,) = connection.execute(
        "INSERT INTO jobs (StudyInstanceUID, SeriesInstanceUID, rule, variant, kind, model, strength,"
        " compression, destinations, description, priority, priority_rank, source, status, created_at,"
        " last_image_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING id",
        (
            new.StudyInstanceUID,
            new.SeriesInstanceUID,
            plan.rule or "",
            variant.name,
            variant.kind,
            plan.model,
            variant.strength,
            plan.compression,
            json.dumps(plan.destinations),
            variant.description,
            plan.priority,
            PRIORITY_RANK[plan.priority],
            new.calling_ae,
            JobStatus.COLLECTING,
            new.received_at,
            new.received_at,
        ),
    ).fetchone()
    return int(job_id)


def rejoin(connection: sqlite3.Connection, instance_id: int, *, now: float) -> None:
    """Put an image whose file came back into its jobs again, unless they were done with it before."""
    rows = connection.execute(
        "SELECT ji.job_id FROM job_images AS ji LEFT JOIN instances AS i ON i.id = ji.derived_id"
        " WHERE ji.instance_id = ? AND (ji.status = 'rejected' OR (ji.status = 'derived'"
        " AND i.status = 'missing' AND EXISTS (SELECT 1 FROM deliveries AS d"
        " WHERE d.instance_id = i.id AND d.status NOT IN ('delivered', 'dropped'))))",
        (instance_id,),
    ).fetchall()
    for row in rows:
        reopen_image(connection, row["job_id"], instance_id)
        reopen(connection, row["job_id"], status=JobStatus.COLLECTING)
        connection.execute("UPDATE jobs SET last_image_at = ? WHERE id = ?", (now, row["job_id"]))


def reopen_image(connection: sqlite3.Connection, job_id: int, instance_id: int) -> None:
    """Make one image of a job pending again."""
    connection.execute(
        "UPDATE job_images SET status = ?, reason = NULL,"
        " joined_round = (SELECT round FROM jobs WHERE id = job_id) WHERE job_id = ? AND instance_id = ?",
        (ImageStatus.PENDING, job_id, instance_id),
    )


def reopen(connection: sqlite3.Connection, job_id: int, *, status: JobStatus) -> None:
    """Open a finished job again; one that is not finished goes on as it is."""
    (current,) = connection.execute("SELECT status FROM jobs WHERE id = ?", (job_id,)).fetchone()
    if current in {JobStatus.DONE, JobStatus.FAILED}:
        connection.execute(_REOPEN, {"id": job_id, "status": status})


def association_ended(connection: sqlite3.Connection, association: str) -> None:
    """Note that no more images come on an association."""
    connection.execute("UPDATE associations SET is_open = 0 WHERE name = ? AND is_open", (association,))


def promote_ready(connection: sqlite3.Connection, now: float, *, quiet_s: float, idle_s: float) -> int:
    """Make the complete ones of the collecting jobs ready.

    Complete is a series whose expected count is reached, or that has been quiet for `quiet_s` and has no
    association left open, or that has been quiet for `idle_s` whatever is open. A clock that was set back
    counts as quiet too (hence the absolute difference): a job must not wait for a time that is years away.
    """
    return connection.execute(
        """
        UPDATE jobs SET status = 'ready' WHERE status = 'collecting' AND (
            image_count >= expected_count
            OR abs(:now - last_image_at) >= :idle_s
            OR (abs(:now - last_image_at) >= :quiet_s AND NOT EXISTS (
                SELECT 1 FROM job_associations AS ja JOIN associations AS a ON a.id = ja.association_id
                WHERE ja.job_id = jobs.id AND a.is_open)))""",
        {"now": now, "quiet_s": quiet_s, "idle_s": idle_s},
    ).rowcount


def claim(connection: sqlite3.Connection, owner: str, *, lease_s: float, now: float) -> Job | None:
    """Give a ready job to a worker: the most urgent, and among equals that of the source whose turn it is.

    Outputs of one series are made one after the other: the first measures the noise for all of them.
    """
    job_id = turns.take(connection, now)
    if job_id is None:
        return None
    connection.execute(
        "UPDATE jobs SET status = 'running', owner = ?, lease_s = ?, beat_at = ?, claimed_at = ?,"
        " attempts = attempts + 1, round = round + 1 WHERE id = ?",
        (owner, lease_s, now, now, job_id),
    )
    return get(connection, job_id)


def get(connection: sqlite3.Connection, job_id: int) -> Job:
    """Read one job.

    Raises:
        SpoolError: there is none of that id.
    """
    row = connection.execute(f"SELECT {JOB_COLUMNS} FROM jobs WHERE id = ?", (job_id,)).fetchone()  # noqa: S608
    if row is None:
        raise SpoolError(f"The ledger has no job {job_id}; see `dae-pacs status` for those it has.")
    return job_of(row)


def pending_instances(connection: sqlite3.Connection, job_id: int, *, root: Path) -> list[Instance]:
    """List the images of a job that are neither derived nor rejected, in the order of their arrival."""
    rows = connection.execute(
        f"SELECT {INSTANCE_COLUMNS} FROM job_images AS ji"  # noqa: S608
        " JOIN instances AS i ON i.id = ji.instance_id JOIN series AS s ON s.id = i.series_id"
        " WHERE ji.job_id = ? AND ji.status = 'pending'"
        " AND i.status IN ('kept', 'passed_over') ORDER BY i.id",
        (job_id,),
    )
    return [instance_of(row, root) for row in rows.fetchall()]


def any_in(connection: sqlite3.Connection, status: JobStatus) -> bool:
    """Tell whether a job is in a status, without taking the writer's place."""
    return connection.execute(_ANY[status]).fetchone() is not None


def owns(connection: sqlite3.Connection, job_id: int, owner: str) -> bool:
    """Tell whether a worker still holds a job."""
    query = "SELECT 1 FROM jobs WHERE id = ? AND owner = ? AND status = 'running'"
    return connection.execute(query, (job_id, owner)).fetchone() is not None


def heartbeat(connection: sqlite3.Connection, job_id: int, owner: str, *, lease_s: float, now: float) -> bool:
    """Renew a lease; False when the job is no longer the owner's, who must then drop it."""
    return (
        connection.execute(
            "UPDATE jobs SET beat_at = ?, lease_s = ? WHERE id = ? AND owner = ? AND status = 'running'",
            (now, lease_s, job_id, owner),
        ).rowcount
        == 1
    )


def release_expired(connection: sqlite3.Connection, now: float, *, max_attempts: int) -> list[int]:
    """Take jobs back from workers that went silent; one that silenced too many fails."""
    expired = connection.execute(
        "SELECT id, attempts FROM jobs WHERE status = 'running' AND abs(? - beat_at) >= lease_s", (now,)
    ).fetchall()
    for row in expired:
        reason = f"its worker went silent, {row['attempts']} times in a row"
        _end_attempt(connection, row["id"], reason=reason, max_attempts=max_attempts, now=now)
    return [int(row["id"]) for row in expired]


def fail(
    connection: sqlite3.Connection, job_id: int, owner: str, *, reason: str, max_attempts: int, now: float
) -> JobStatus | None:
    """End a run that went wrong; None when the job is no longer the owner's."""
    if not owns(connection, job_id, owner):
        return None
    return _end_attempt(connection, job_id, reason=reason, max_attempts=max_attempts, now=now)


def _end_attempt(
    connection: sqlite3.Connection, job_id: int, *, reason: str, max_attempts: int, now: float
) -> JobStatus:
    (attempts,) = connection.execute("SELECT attempts FROM jobs WHERE id = ?", (job_id,)).fetchone()
    is_final = attempts >= max_attempts
    status = JobStatus.FAILED if is_final else JobStatus.READY
    connection.execute(
        "UPDATE jobs SET status = ?, owner = NULL, reason = ?, not_before = ?, finished_at = ? WHERE id = ?",
        (status, reason, now + backoff_s(attempts), now if is_final else None, job_id),
    )
    return status


def recover(connection: sqlite3.Connection, now: float) -> int:
    """Make ready what ran when the node went down.

    Once is the node's misfortune; a job that was running each time may be what brings it down, so it steps
    behind the others, and at last fails, lest it stop them for ever.
    """
    connection.execute(
        "UPDATE jobs SET not_before = ? WHERE status = 'ready' AND not_before > ?",
        (now, now + 2 * LONGEST_BACKOFF_S),  # the clock was set back meanwhile
    )
    running = connection.execute("SELECT id, attempts FROM jobs WHERE status = 'running'").fetchall()
    for row in running:
        if row["attempts"] > 1:
            reason = f"the node went down while it ran, after {row['attempts']} attempts in a row"
            _end_attempt(connection, row["id"], reason=reason, max_attempts=_MOST_CRASHES, now=now)
        else:
            connection.execute("UPDATE jobs SET status = 'ready', owner = NULL WHERE id = ?", (row["id"],))
    return len(running)


def release(connection: sqlite3.Connection, job_id: int, owner: str) -> bool:
    """Take a job back unfinished through no fault of its own; the attempt is not counted."""
    return (
        connection.execute(
            "UPDATE jobs SET status = 'ready', owner = NULL, attempts = attempts - 1"
            " WHERE id = ? AND owner = ? AND status = 'running'",
            (job_id, owner),
        ).rowcount
        == 1
    )


def finish(
    connection: sqlite3.Connection, job_id: int, owner: str, *, stages: dict[str, float], now: float
) -> JobStatus | None:
    """End a run that went well; None when the job is no longer the owner's.

    Raises:
        SpoolError: images that were there when it was claimed are neither derived nor rejected.
    """
    if not owns(connection, job_id, owner):
        return None
    images = connection.execute(
        "SELECT count(*) AS total, coalesce(sum(ji.status = 'pending'), 0) AS pending,"
        " coalesce(sum(ji.status = 'rejected'), 0) AS rejected,"
        " coalesce(sum(ji.status = 'pending' AND ji.joined_round < j.round), 0) AS untouched"
        " FROM job_images AS ji JOIN jobs AS j ON j.id = ji.job_id WHERE ji.job_id = ?",
        (job_id,),
    ).fetchone()
    if images["untouched"]:
        raise SpoolError(
            f"Job {job_id} can't be finished: {images['untouched']} of its images were neither derived nor "
            "rejected. Record each of them first."
        )
    status, reason = JobStatus.DONE, None
    if images["pending"]:
        status = JobStatus.READY
    elif images["rejected"] == images["total"]:
        status, reason = JobStatus.FAILED, "every image was rejected"
    connection.execute(
        "UPDATE jobs SET status = ?, reason = ?, owner = NULL, stages = ?, finished_at = ?,"
        " attempts = 0, not_before = 0 WHERE id = ?",
        (status, reason, json.dumps(stages), None if images["pending"] else now, job_id),
    )
    return status


def reject_image(connection: sqlite3.Connection, job_id: int, instance_id: int, *, reason: str) -> None:
    """Record that one image of a job can't be denoised; the others go on."""
    move_image(connection, job_id, instance_id, target=ImageStatus.REJECTED)
    connection.execute(
        "UPDATE job_images SET reason = ? WHERE job_id = ? AND instance_id = ?", (reason, job_id, instance_id)
    )


def move_image(connection: sqlite3.Connection, job_id: int, instance_id: int, *, target: ImageStatus) -> None:
    """Change the status of one image of a job.

    Raises:
        SpoolError: the job has no such image.
        TransitionError: the image can't become that from what it is.
    """
    row = connection.execute(
        "SELECT status FROM job_images WHERE job_id = ? AND instance_id = ?", (job_id, instance_id)
    ).fetchone()
    if row is None:
        raise SpoolError(f"Job {job_id} has no instance {instance_id}; ask for its pending instances again.")
    check_transition("image", instance_id, current=row["status"], target=target)
    connection.execute(
        "UPDATE job_images SET status = ? WHERE job_id = ? AND instance_id = ?", (target, job_id, instance_id)
    )


def set_noise(connection: sqlite3.Connection, job_id: int, noise: str) -> str:
    """Keep the group's noise model with the jobs of the series; the first one stays, and is given back."""
    connection.execute(
        "UPDATE jobs SET noise = :noise WHERE noise IS NULL AND (StudyInstanceUID, SeriesInstanceUID, rule)"
        " = (SELECT StudyInstanceUID, SeriesInstanceUID, rule FROM jobs WHERE id = :id)",
        {"noise": noise, "id": job_id},
    )
    return get(connection, job_id).noise or noise


def set_series_number(connection: sqlite3.Connection, job_id: int, number: int) -> int:
    """Keep the derived series' number with the job: the first one stays.

    Returns:
        The number that the job has now: another above it if a job of the study took it meanwhile.
    """
    job = get(connection, job_id)
    if job.series_number is not None:
        return job.series_number
    taken = taken_series_numbers(connection, job.StudyInstanceUID)
    while number in taken:
        number += 1
    connection.execute("UPDATE jobs SET series_number = ? WHERE id = ?", (number, job_id))
    return number


def taken_series_numbers(connection: sqlite3.Connection, study_instance_uid: str) -> set[int]:
    """List the series numbers in use in a study, chosen ones of its jobs included."""
    rows = connection.execute(
        "SELECT SeriesNumber AS number FROM series WHERE StudyInstanceUID = :study"
        " UNION SELECT series_number FROM jobs WHERE StudyInstanceUID = :study",
        {"study": study_instance_uid},
    )
    return {int(row["number"]) for row in rows if row["number"] is not None}
