"""What the node holds, as an archive is asked for it: studies, series, instances, received and made.

Held is what lies on the disk and may be shown: not what is in quarantine, missing, or removed. Where an
object of ours came back, the one that we made stands for both. What the ledger has no column for (a name, a
time of day) stands in the files' headers, and is the asker's to read.
"""

import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from dae_pacs.spool.records import Instance
from dae_pacs.spool.rows import INSTANCE_COLUMNS, instance_of

# That an object is not in quarantine says nothing new; it tells SQLite that the index by UID serves.
_HELD: Final = "i.status IN ('kept', 'passed_over') AND i.status <> 'quarantined'"
_NOT_OURS_AGAIN: Final = (
    "NOT (i.origin = 'received' AND EXISTS (SELECT 1 FROM instances AS o WHERE o.SOPInstanceUID ="
    " i.SOPInstanceUID AND o.origin = 'derived' AND o.status = 'kept' AND o.status <> 'quarantined'))"
)
_ON_STUDY: Final = frozenset({"StudyInstanceUID", "PatientID", "AccessionNumber", "StudyDate"})
_ANY_CASE: Final = frozenset({"t.PatientID", "t.AccessionNumber"})
"""Columns whose index, made for people, takes 12a and 12A for one (`COLLATE NOCASE`)."""
_ON_SERIES: Final = _ON_STUDY | {"SeriesInstanceUID", "Modality", "SeriesDescription", "SeriesNumber"}
_ON_INSTANCE: Final = frozenset({"SOPInstanceUID", "SOPClassUID"})
COLUMNS: Final = _ON_SERIES | _ON_INSTANCE
"""Keywords that the ledger itself can match."""


@dataclass(frozen=True)
class Wanted:
    """What is asked for. All must hold."""

    texts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By keyword of `COLUMNS`, patterns of which one must match; `*` is any characters, `?` one."""
    dates: tuple[str, str] | None = None
    """First and last Study Date, YYYYMMDD; "" for no bound."""


@dataclass(frozen=True)
class HeldStudy:
    """One patient's part of a study."""

    StudyInstanceUID: str
    PatientID: str
    AccessionNumber: str
    StudyDate: str
    modalities: tuple[str, ...]
    series: int
    instances: int
    sample: Path
    """A file of it."""


@dataclass(frozen=True)
class HeldSeries:
    """One series."""

    StudyInstanceUID: str
    SeriesInstanceUID: str
    PatientID: str
    Modality: str
    SeriesDescription: str
    SeriesNumber: int | None
    instances: int
    sample: Path
    """A file of it."""


def studies(
    connection: sqlite3.Connection, wanted: Wanted, *, limit: int, offset: int, root: Path
) -> list[HeldStudy]:
    """List studies, the last that arrived first."""
    own, series, instance = _split(wanted, _ON_STUDY)
    inner = [_HELD, "s.StudyInstanceUID = t.StudyInstanceUID", "s.PatientID = t.PatientID"]
    values: list[object] = []
    outer = list(_conditions(own, "t", values, dates=wanted.dates))
    inner += [*_conditions(series, "s", values), *_conditions(instance, "i", values)]
    found = connection.execute(
        "SELECT t.StudyInstanceUID, t.PatientID, t.AccessionNumber, t.StudyDate FROM studies AS t WHERE "  # noqa: S608
        + " AND ".join([*outer, _exists(inner)])
        + " ORDER BY t.id DESC LIMIT ? OFFSET ?",
        (*values, limit, offset),
    )
    return [_study(connection, row, root) for row in found.fetchall()]


def _study(connection: sqlite3.Connection, row: sqlite3.Row, root: Path) -> HeldStudy:
    parts = connection.execute(
        "SELECT s.Modality, s.SeriesInstanceUID, count(*) AS instances, min(i.id), i.path"  # noqa: S608
        " FROM series AS s JOIN instances AS i ON i.series_id = s.id"
        f" WHERE s.StudyInstanceUID = ? AND s.PatientID = ? AND {_HELD} AND {_NOT_OURS_AGAIN} GROUP BY s.id",
        (row["StudyInstanceUID"], row["PatientID"]),
    ).fetchall()
    return HeldStudy(
        **row,
        modalities=tuple(dict.fromkeys(part["Modality"] for part in parts if part["Modality"])),
        series=len({part["SeriesInstanceUID"] for part in parts}),
        instances=sum(part["instances"] for part in parts),
        sample=root / (parts[0]["path"] if parts else ""),
    )


def series(
    connection: sqlite3.Connection, wanted: Wanted, *, limit: int, offset: int, root: Path
) -> list[HeldSeries]:
    """List series in the order of their arrival."""
    own, instance, _ = _split(wanted, _ON_SERIES)
    values: list[object] = []
    outer = list(_conditions(own, "s", values, dates=wanted.dates))
    inner = ["i.series_id = s.id", _HELD, _NOT_OURS_AGAIN, *_conditions(instance, "i", values)]
    is_held = f"EXISTS (SELECT 1 FROM instances AS i WHERE {' AND '.join(inner)})"  # noqa: S608
    found = connection.execute(
        "SELECT s.id, s.StudyInstanceUID, s.SeriesInstanceUID, s.PatientID, s.Modality,"  # noqa: S608
        " s.SeriesDescription, s.SeriesNumber FROM series AS s WHERE "
        + " AND ".join([*outer, is_held])
        + " ORDER BY s.id LIMIT ? OFFSET ?",
        (*values, limit, offset),
    )
    return [_series(connection, dict(row), root) for row in found.fetchall()]


def _series(connection: sqlite3.Connection, row: dict[str, object], root: Path) -> HeldSeries:
    counted = connection.execute(
        "SELECT count(*) AS instances, min(i.id), i.path FROM instances AS i"  # noqa: S608
        f" WHERE i.series_id = ? AND {_HELD} AND {_NOT_OURS_AGAIN}",
        (row.pop("id"),),
    ).fetchone()
    path = root / str(counted["path"] or "")
    return HeldSeries(**row, instances=counted["instances"], sample=path)  # type: ignore[arg-type]  # columns


def instances(
    connection: sqlite3.Connection, wanted: Wanted, *, limit: int, offset: int, root: Path
) -> list[Instance]:
    """List instances in the order of their arrival."""
    own, instance, _ = _split(wanted, _ON_SERIES)
    values: list[object] = []
    conditions = [_HELD, _NOT_OURS_AGAIN, *_conditions(own, "s", values, dates=wanted.dates)]
    conditions += _conditions(instance, "i", values)
    found = connection.execute(
        f"SELECT {INSTANCE_COLUMNS} FROM instances AS i JOIN series AS s ON s.id = i.series_id WHERE "  # noqa: S608
        + " AND ".join(conditions)
        + " ORDER BY i.id LIMIT ? OFFSET ?",
        (*values, limit, offset),
    )
    return [instance_of(row, root) for row in found.fetchall()]


def _split(wanted: Wanted, own: frozenset[str]) -> tuple[dict[str, tuple[str, ...]], ...]:
    """Sort conditions by the table that has their column: the level's own, series', instances'."""
    parts: tuple[dict[str, tuple[str, ...]], ...] = ({}, {}, {})
    for keyword, patterns in wanted.texts.items():
        on_instance = 2 if own is _ON_STUDY else 1
        place = 0 if keyword in own else on_instance if keyword in _ON_INSTANCE else 1
        parts[place][keyword] = patterns
    return parts


def _exists(conditions: list[str]) -> str:
    return (
        "EXISTS (SELECT 1 FROM series AS s JOIN instances AS i ON i.series_id = s.id"  # noqa: S608
        f" WHERE {' AND '.join(conditions)})"
    )


def _conditions(
    texts: Mapping[str, tuple[str, ...]],
    table: str,
    values: list[object],
    *,
    dates: tuple[str, str] | None = None,
) -> Iterator[str]:
    """Write conditions, and append their values; column names are of `COLUMNS`, never from outside."""
    for keyword in sorted(texts.keys() & COLUMNS):
        column, choices = f"{table}.{keyword}", []
        for pattern in texts[keyword]:
            is_pattern = "*" in pattern or "?" in pattern
            choices.append(f"{column} {'GLOB' if is_pattern else '='} ?")
            values.append(pattern.replace("[", "[[]") if is_pattern else pattern)
            if column in _ANY_CASE and not is_pattern:
                choices[-1] = f"({column} = ? AND {column} COLLATE BINARY = ?)"
                values.append(pattern)
        yield f"({' OR '.join(choices)})"
    first, last = dates or ("", "")
    if first:
        yield f"{table}.StudyDate >= ?"
        values.append(first)
    if last:
        yield f"{table}.StudyDate <= ? AND {table}.StudyDate <> ''"
        values.append(last)
