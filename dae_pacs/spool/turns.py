"""Whose job is next: the most urgent first, and among those of equal urgency the sources in fair turns.

A source is whoever sent the series: a calling AE title, or an account. Each has a clock that moves on with
the bytes of every job of its that is taken, and the one whose clock is behind has the next turn (start-time
fair queueing: Goyal, Vin, Cheng, SIGCOMM 1996). So an archive that re-sends ten thousand studies at night
does not hold up the one CT that a scanner sends meanwhile. Who comes back after a pause starts at the clock
of the job taken last: resting earns nothing. Where one source alone is waiting, what others had is forgotten.
"""

import sqlite3
from typing import Final

from dae_pacs.spool.backoff import LONGEST_BACKOFF_S

_DUE: Final = """
    (not_before <= :now OR not_before > :beyond)
    AND NOT EXISTS (SELECT 1 FROM jobs AS busy WHERE busy.status = 'running' AND busy.rule = jobs.rule
                    AND busy.SeriesInstanceUID = jobs.SeriesInstanceUID
                    AND busy.StudyInstanceUID = jobs.StudyInstanceUID)"""
"""Beyond twice the longest pause only if the clock was set back meanwhile. Another output of the same series
waits for the one in work, which measures the noise for all of them."""

_ALL: Final = 1e300
"""Beyond every clock: bytes."""

# Skips from source to source on the index, so that it costs the same however many jobs each of them has.
_CANDIDATES: Final = f"""
WITH RECURSIVE sources (name) AS (
    SELECT min(source) FROM jobs WHERE status = 'ready' AND priority_rank = :rank
    UNION ALL
    SELECT (SELECT min(source) FROM jobs
            WHERE status = 'ready' AND priority_rank = :rank AND source > sources.name)
    FROM sources WHERE sources.name IS NOT NULL
), firsts (source, id) AS (
    SELECT name, (SELECT id FROM jobs WHERE status = 'ready' AND priority_rank = :rank AND source = name
                  AND {_DUE} ORDER BY created_at LIMIT 1)
    FROM sources WHERE name IS NOT NULL
)
SELECT firsts.id, firsts.source, jobs.created_at, max(coalesce(turns.served, 0), :clock) AS start
FROM firsts JOIN jobs ON jobs.id = firsts.id LEFT JOIN turns ON turns.source = firsts.source
ORDER BY start, jobs.created_at, jobs.id"""  # noqa: S608  nothing of a stranger's in it


def take(connection: sqlite3.Connection, now: float) -> int | None:
    """Choose the next ready job and count it as its source's turn; None where no job is due."""
    times = {"now": now, "beyond": now + 2 * LONGEST_BACKOFF_S}
    (rank,) = connection.execute(
        f"SELECT priority_rank FROM jobs WHERE status = 'ready' AND {_DUE} ORDER BY priority_rank LIMIT 1",  # noqa: S608
        times,
    ).fetchone() or (None,)
    if rank is None:
        return None
    (clock,) = connection.execute("SELECT coalesce(max(started), 0) FROM turns").fetchone()
    row, *others = connection.execute(_CANDIDATES, {**times, "rank": rank, "clock": clock}).fetchall()
    # Clocks that are behind are as good as none: sources come and go, and strangers may have any name.
    behind = row["start"] if others else _ALL
    connection.execute("DELETE FROM turns WHERE served <= ?", (behind,))
    _count(connection, row["id"], source=row["source"], start=row["start"])
    return int(row["id"])


def is_overtaken(connection: sqlite3.Connection, job_id: int, now: float) -> bool:
    """Tell whether a job is due that is more urgent than this one."""
    query = (
        "SELECT 1 FROM jobs WHERE status = 'ready' AND priority_rank <"  # noqa: S608  nothing of a stranger's in it
        f" (SELECT priority_rank FROM jobs WHERE id = :id) AND {_DUE} LIMIT 1"
    )
    times = {"now": now, "beyond": now + 2 * LONGEST_BACKOFF_S}
    return connection.execute(query, {"id": job_id, **times}).fetchone() is not None


def _count(connection: sqlite3.Connection, job_id: int, *, source: str, start: float) -> None:
    """Move a source's clock on by what its job has still to be done, in bytes."""
    (size,) = connection.execute(
        "SELECT coalesce(sum(i.size_bytes), 0) FROM job_images AS ji"
        " JOIN instances AS i ON i.id = ji.instance_id WHERE ji.job_id = ? AND ji.status = 'pending'",
        (job_id,),
    ).fetchone()
    connection.execute(
        "INSERT INTO turns (source, started, served) VALUES (:source, :start, :served)"
        " ON CONFLICT (source) DO UPDATE SET started = :start, served = :served",
        {"source": source, "start": start, "served": start + max(size, 1)},
    )
