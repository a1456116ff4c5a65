"""Find studies by what a person knows of them, a page at a time, at the same cost however many there are.

Names and numbers are found by their beginnings, through an index. What no index knows (a modality, a
description, how far a study got) is looked for in so many studies at a time; the page after begins where the
search stopped, also where it has found nothing yet.
"""

import json
import sqlite3
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from dae_pacs.spool.report import Study, study_line

PAGE: Final = 25
_LOOKED_AT: Final = 1000
"""Studies that one page looks at in search of those that fit."""
_MOST_CANDIDATES: Final = 2000
"""Rows of an index that are taken as candidates."""


class State(StrEnum):
    """How far a study got, as a filter; a study can be in several."""

    WAITING = "waiting"
    """Something is still to be done that the node does by itself."""
    DENOISED = "denoised"
    """It has a derived series."""
    DELIVERED = "delivered"
    """Something was delivered, and nothing is owed."""
    FAILED = "failed"
    """A job failed, a delivery was given up, or a file is missing."""
    QUARANTINED = "quarantined"
    PASSED_OVER = "passed over"
    """Something of it can't or needn't be denoised."""


@dataclass(frozen=True)
class Question:
    """What is known of a study; "" is anything."""

    words: str = ""
    """The beginning of a patient ID, an accession number or a Study Instance UID."""
    modality: str = ""
    description: str = ""
    """A part of a series' description."""
    date_from: str = ""
    """Study Date, YYYYMMDD (PS3.5 6.2, DA)."""
    date_to: str = ""
    state: State | None = None
    after: str = ""
    """Where the page before ended, as it said itself."""


@dataclass(frozen=True)
class Found:
    """One study of an answer."""

    id: int
    study: Study
    descriptions: tuple[str, ...]
    """Of the first few received series."""


@dataclass(frozen=True)
class Answer:
    """One page of studies, the latest first: by arrival, or by Study Date where that is asked for."""

    studies: tuple[Found, ...]
    after: str
    """Where the next page begins; "" where there is none."""
    is_partial: bool
    """The search stopped before the page was full, and goes on with the next one."""
    is_cut: bool
    """More match than are listed at all: ask for less."""


def search(connection: sqlite3.Connection, question: Question) -> Answer:
    """Find a page of studies."""
    chosen, is_cut = _candidates(connection, question)
    values: dict[str, Any] = {  # Any: what SQLite binds
        "modality": question.modality.strip().upper(),
        "description": question.description.strip(),
        "from": question.date_from,
        "to": question.date_to or "99999999",
        "chosen": json.dumps(sorted(chosen)) if chosen is not None else "",
    }
    is_by_date = bool(question.date_from or question.date_to)
    order, condition = _order(question.after, values, is_by_date=is_by_date)
    if chosen is not None:
        condition += " AND id IN (SELECT value FROM json_each(:chosen))"
    looked_at = f"SELECT * FROM studies WHERE {condition} ORDER BY {order} LIMIT {_LOOKED_AT}"  # noqa: S608
    rows = connection.execute(
        f"SELECT few.* FROM ({looked_at}) AS few WHERE {_conditions(question)} LIMIT {PAGE + 1}",  # noqa: S608
        values,
    ).fetchall()
    page = rows[:PAGE]
    if len(rows) > PAGE:
        after, is_partial = _key(page[-1], is_by_date=is_by_date), False
    else:
        after = _end_of_search(connection, looked_at, values, is_by_date=is_by_date)
        is_partial = bool(after)
    found = tuple(_found(connection, row) for row in page)
    return Answer(found, after, is_partial=is_partial, is_cut=is_cut)


def latest(connection: sqlite3.Connection, *, limit: int) -> tuple[Found, ...]:
    """List the studies that arrived last."""
    rows = connection.execute("SELECT * FROM studies ORDER BY id DESC LIMIT ?", (limit,)).fetchall()
    return tuple(_found(connection, row) for row in rows)


def _found(connection: sqlite3.Connection, row: sqlite3.Row) -> Found:
    series = connection.execute(
        "SELECT Modality, SeriesDescription, origin FROM series"
        " WHERE StudyInstanceUID = ? AND PatientID = ? ORDER BY id LIMIT 50",
        (row["StudyInstanceUID"], row["PatientID"]),
    ).fetchall()
    (last_at,) = connection.execute(
        "SELECT max(last_at) FROM series WHERE StudyInstanceUID = ?", (row["StudyInstanceUID"],)
    ).fetchone()
    line = study_line(
        connection,
        {
            "StudyInstanceUID": row["StudyInstanceUID"],
            "PatientID": row["PatientID"],
            "AccessionNumber": row["AccessionNumber"],
            "StudyDate": row["StudyDate"],
            "modalities": ",".join(dict.fromkeys(one["Modality"] for one in series)),
            "first_at": row["first_at"],
            "last_at": last_at,
        },
    )
    names = [one["SeriesDescription"] for one in series if one["origin"] == "received"]
    return Found(row["id"], line, tuple(name for name in dict.fromkeys(names) if name)[:3])


def _order(after: str, values: dict[str, Any], *, is_by_date: bool) -> tuple[str, str]:  # Any: see above
    """Say in which order studies are listed, and where this page begins."""
    date, _, number = after.rpartition("/")
    is_number = number.isdecimal() and len(number) < 19  # SQLite's integers have 64 bits
    values |= {"after": int(number) if is_number else 1 << 62, "after_date": date or "99999999"}
    if is_by_date:
        begins = "(StudyDate, id) < (:after_date, :after)" if after else "TRUE"
        return "StudyDate DESC, id DESC", f"StudyDate >= :from AND StudyDate <= :to AND {begins}"
    return "id DESC", "id < :after"


def _key(row: sqlite3.Row, *, is_by_date: bool) -> str:
    return f"{row['StudyDate']}/{row['id']}" if is_by_date else f"/{row['id']}"


def _end_of_search(
    connection: sqlite3.Connection,
    looked_at: str,
    values: dict[str, Any],  # Any: see above
    *,
    is_by_date: bool,
) -> str:
    """Say where the search stopped; "" where it came to the end."""
    last = connection.execute(
        f"SELECT StudyDate, id FROM ({looked_at}) LIMIT 1 OFFSET {_LOOKED_AT - 1}",  # noqa: S608
        values,
    ).fetchone()
    return "" if last is None else _key(last, is_by_date=is_by_date)


def _conditions(question: Question) -> str:
    conditions = ["TRUE"]
    of_study = "SELECT 1 FROM series AS s WHERE s.StudyInstanceUID = few.StudyInstanceUID"
    if question.modality.strip():
        conditions.append(f"EXISTS ({of_study} AND s.Modality = :modality)")
    if question.description.strip():
        conditions.append(f"EXISTS ({of_study} AND instr(lower(s.SeriesDescription), lower(:description)))")
    if question.state in _FAR:
        conditions.append(_FAR[question.state])
    return " AND ".join(conditions)


_OF_STUDY: Final = """
    SELECT 1 FROM series AS s JOIN instances AS i ON i.series_id = s.id
    WHERE s.StudyInstanceUID = few.StudyInstanceUID"""
_DELIVERY_OF_STUDY: Final = """
    SELECT 1 FROM series AS s JOIN instances AS i ON i.series_id = s.id
    JOIN deliveries AS d ON d.instance_id = i.id WHERE s.StudyInstanceUID = few.StudyInstanceUID"""
_FAR: Final = {
    State.DENOISED: "EXISTS (SELECT 1 FROM series AS s"
    " WHERE s.StudyInstanceUID = few.StudyInstanceUID AND s.origin = 'derived')",
    State.DELIVERED: f"EXISTS ({_DELIVERY_OF_STUDY} AND d.status = 'delivered')"
    f" AND NOT EXISTS ({_DELIVERY_OF_STUDY} AND d.status NOT IN ('delivered', 'dropped'))",
    State.PASSED_OVER: f"EXISTS ({_OF_STUDY} AND i.status = 'passed_over' AND i.action <> 'own')",
}
"""What most studies are or may be; the rest is rare, and found through the indexes of what is to be done."""

_OF_JOB: Final = "SELECT StudyInstanceUID FROM jobs WHERE status = '{}' LIMIT :most"
_OF_DELIVERY: Final = """
    SELECT s.StudyInstanceUID FROM (SELECT instance_id FROM deliveries WHERE status = '{}' LIMIT :most) AS few
    JOIN instances AS i ON i.id = few.instance_id JOIN series AS s ON s.id = i.series_id"""
_OF_INSTANCE: Final = """
    SELECT s.StudyInstanceUID FROM (SELECT series_id FROM instances WHERE status = '{}' LIMIT :most) AS few
    JOIN series AS s ON s.id = few.series_id"""
# Statuses are spelled out, not bound: only then does SQLite use the partial index of each.
_RARE: Final = {
    State.WAITING: (
        *(_OF_JOB.format(status) for status in ("collecting", "ready", "running")),
        *(_OF_DELIVERY.format(status) for status in ("waiting", "sending", "uncommitted")),
    ),
    State.FAILED: (_OF_JOB.format("failed"), _OF_DELIVERY.format("dead"), _OF_INSTANCE.format("missing")),
    State.QUARANTINED: (_OF_INSTANCE.format("quarantined"),),
}
_BY_WORDS: Final = tuple(
    f"SELECT id FROM studies WHERE {column} >= :words AND {column} < :end LIMIT :most"  # noqa: S608
    for column in ("PatientID", "AccessionNumber", "StudyInstanceUID")
)


def _candidates(connection: sqlite3.Connection, question: Question) -> tuple[set[int] | None, bool]:
    """Find the ids that an index gives, None where all studies are candidates; and whether there are more."""
    chosen: set[int] | None = None
    is_cut = False
    words = question.words.strip()
    if words:
        values = {"words": words, "end": words + "\U0010ffff", "most": _MOST_CANDIDATES}
        parts = [connection.execute(query, values).fetchall() for query in _BY_WORDS]
        is_cut = any(len(part) == _MOST_CANDIDATES for part in parts)
        chosen = {int(row["id"]) for part in parts for row in part}
    if question.state in _RARE:
        parts = [
            connection.execute(query, {"most": _MOST_CANDIDATES}).fetchall()
            for query in _RARE[question.state]
        ]
        is_cut = is_cut or any(len(part) == _MOST_CANDIDATES for part in parts)
        uids = {str(row["StudyInstanceUID"]) for part in parts for row in part}
        rows = connection.execute(
            "SELECT id FROM studies WHERE StudyInstanceUID IN (SELECT value FROM json_each(?))",
            (json.dumps(sorted(uids)),),
        )
        ids = {int(row["id"]) for row in rows}
        chosen = ids if chosen is None else chosen & ids
    return chosen, is_cut
