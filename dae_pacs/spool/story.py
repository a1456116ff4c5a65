"""The story of one study: what came, what was made of it, and where it went, in groups rather than objects.

A question costs what the study holds, whatever else is in the ledger; an answer is a page even for a study of
five thousand images.
"""

import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dae_pacs.spool.pulls import Pull, of_study
from dae_pacs.spool.records import Instance, Job
from dae_pacs.spool.report import Study, list_jobs, study_line
from dae_pacs.spool.rows import INSTANCE_COLUMNS, instance_of
from dae_pacs.spool.states import Action, DeliveryStatus, ImageStatus, InstanceStatus, Origin

_MOST_SHOWN: Final = 200
"""Quarantined objects, each of which is shown by itself."""


@dataclass(frozen=True)
class Objects:
    """Objects of one series that came the same way and met the same fate."""

    series_id: int
    SeriesInstanceUID: str
    PatientID: str
    Modality: str
    SeriesDescription: str
    SeriesNumber: int | None
    origin: Origin
    status: InstanceStatus
    action: Action
    rule: str | None
    reason: str | None
    calling_ae: str
    """Who sent them; "" for what we made."""
    called_ae: str
    address: str
    count: int
    size_bytes: int
    first_at: float
    last_at: float
    example: int
    """The id of one of them."""


@dataclass(frozen=True)
class Images:
    """Images of one job that came to the same."""

    job_id: int
    status: ImageStatus
    reason: str
    count: int


@dataclass(frozen=True)
class Sent:
    """Objects of one series that are as far on their way to a destination."""

    destination: str
    series_id: int
    origin: Origin
    status: DeliveryStatus
    error: str
    warning: str
    count: int
    tries: int
    """The most that one of them took."""
    created_at: float
    next_try_at: float
    delivered_at: float | None
    """When the last of them was taken."""
    committed: int
    committed_at: float | None


@dataclass(frozen=True)
class Act:
    """What a person did from the console."""

    at: float
    account: str
    words: str


@dataclass(frozen=True)
class Story:
    """Everything that the ledger holds about one study."""

    id: int
    study: Study
    objects: tuple[Objects, ...]
    jobs: tuple[Job, ...]
    images: tuple[Images, ...]
    sent: tuple[Sent, ...]
    quarantined: tuple[Instance, ...]
    acts: tuple[Act, ...]
    pulls: tuple[Pull, ...]
    """Its series that a peer was asked for."""

    @property
    def is_gone(self) -> bool:
        """Whether no file of the study is left: retention, or a person, deleted them."""
        return all(group.status in (InstanceStatus.REMOVED, InstanceStatus.MISSING) for group in self.objects)


_OBJECTS: Final = """
    SELECT s.id AS series_id, s.SeriesInstanceUID, s.PatientID, s.Modality, s.SeriesDescription,
        s.SeriesNumber, i.origin, i.status, i.action, i.rule, i.reason,
        coalesce(a.calling_ae, '') AS calling_ae, coalesce(a.called_ae, '') AS called_ae,
        coalesce(a.address, '') AS address, count(*) AS count, sum(i.size_bytes) AS size_bytes,
        min(i.received_at) AS first_at, max(i.received_at) AS last_at, min(i.id) AS example
    FROM series AS s JOIN instances AS i ON i.series_id = s.id
    LEFT JOIN associations AS a ON a.id = i.association_id
    WHERE s.StudyInstanceUID = ?
    GROUP BY s.id, i.association_id, i.origin, i.status, i.action, i.rule, i.reason
    ORDER BY first_at, example"""
_IMAGES: Final = """
    SELECT ji.job_id, ji.status, coalesce(ji.reason, '') AS reason, count(*) AS count
    FROM jobs AS j CROSS JOIN job_images AS ji ON ji.job_id = j.id
    WHERE j.StudyInstanceUID = ? GROUP BY 1, 2, 3 ORDER BY 1, 2"""
_SENT: Final = """
    SELECT d.destination, i.series_id, i.origin, d.status, coalesce(d.error, '') AS error,
        coalesce(d.warning, '') AS warning, count(*) AS count, max(d.attempts) AS tries,
        min(d.created_at) AS created_at, min(d.next_try_at) AS next_try_at,
        max(d.delivered_at) AS delivered_at, sum(d.committed_at IS NOT NULL) AS committed,
        max(d.committed_at) AS committed_at
    FROM series AS s CROSS JOIN instances AS i ON i.series_id = s.id
    CROSS JOIN deliveries AS d ON d.instance_id = i.id
    WHERE s.StudyInstanceUID = ?
    GROUP BY 1, 2, 3, 4, 5, 6 ORDER BY created_at"""
_QUARANTINED: Final = f"""
    SELECT {INSTANCE_COLUMNS} FROM series AS s JOIN instances AS i ON i.series_id = s.id
    WHERE s.StudyInstanceUID = ? AND i.status = 'quarantined' ORDER BY i.id LIMIT {_MOST_SHOWN}"""  # noqa: S608


def story(connection: sqlite3.Connection, study_id: int, *, root: Path) -> Story | None:
    """Tell everything about one study; None where the ledger has none of that id."""
    row = connection.execute("SELECT * FROM studies WHERE id = ?", (study_id,)).fetchone()
    if row is None:
        return None
    uid = (row["StudyInstanceUID"],)
    groups = tuple(_objects(found) for found in connection.execute(_OBJECTS, uid))
    facts = dict(row) | {
        "modalities": ",".join(dict.fromkeys(group.Modality for group in groups)),
        "last_at": max((group.last_at for group in groups), default=row["first_at"]),
    }
    del facts["id"]
    return Story(
        id=study_id,
        study=study_line(connection, facts),
        objects=groups,
        jobs=tuple(reversed(list_jobs(connection, status=None, study=uid[0], limit=-1))),
        images=tuple(
            Images(**dict(found) | {"status": ImageStatus(found["status"])})
            for found in connection.execute(_IMAGES, uid)
        ),
        sent=tuple(_sent(found) for found in connection.execute(_SENT, uid)),
        quarantined=tuple(instance_of(found, root) for found in connection.execute(_QUARANTINED, uid)),
        acts=tuple(
            Act(**dict(found))
            for found in connection.execute(
                "SELECT at, account, words FROM acts WHERE StudyInstanceUID = ? ORDER BY id", uid
            )
        ),
        pulls=tuple(of_study(connection, uid[0])),
    )


def study_id_of(connection: sqlite3.Connection, StudyInstanceUID: str) -> int | None:
    """Find the id under which the console shows a study; None where the ledger has no such study."""
    row = connection.execute(
        "SELECT min(id) AS id FROM studies WHERE StudyInstanceUID = ?", (StudyInstanceUID,)
    ).fetchone()
    return None if row["id"] is None else int(row["id"])


def instance(connection: sqlite3.Connection, instance_id: int, *, root: Path) -> Instance | None:
    """Read one object's row; None where there is none."""
    row = connection.execute(
        f"SELECT {INSTANCE_COLUMNS} FROM instances AS i JOIN series AS s ON s.id = i.series_id"  # noqa: S608
        " WHERE i.id = ?",
        (instance_id,),
    ).fetchone()
    return None if row is None else instance_of(row, root)


def _objects(row: sqlite3.Row) -> Objects:
    values = dict(row)
    values["origin"], values["status"] = Origin(values["origin"]), InstanceStatus(values["status"])
    return Objects(**values)


def _sent(row: sqlite3.Row) -> Sent:
    values = dict(row)
    values["origin"], values["status"] = Origin(values["origin"]), DeliveryStatus(values["status"])
    return Sent(**values)
