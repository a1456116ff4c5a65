"""Which earlier studies go with one that arrives: same patient, same modality or body part, not too old."""

from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Final

from dae_pacs.config.pulls import Pull as Rule
from dae_pacs.errors import InputError
from dae_pacs.image import peek
from dae_pacs.image.header import read_header
from dae_pacs.node.catalogue import Series, Wanted
from dae_pacs.spool.pulls import Arrived

_DAYS_PER_YEAR: Final = 365.25


@dataclass(frozen=True)
class Call:
    """A study that has arrived, and what is looked for because of it."""

    study: str
    wanted: Wanted


def call_of(arrived: Arrived, root: Path, rule: Rule) -> Call | None:
    """Say what a series that arrived calls for; None where it does not say whose it is.

    Args:
        arrived: the series.
        root: the spool's folder.
        rule: which priors are wanted.
    """
    if not arrived.PatientID or not arrived.StudyInstanceUID:
        return None
    day = _day(arrived.StudyDate) or date.today()  # noqa: DTZ011 - Study Date is a day of the wall clock
    first = day - timedelta(days=rule.priors_years * _DAYS_PER_YEAR)
    has_same = set(rule.priors_same)
    modality = (arrived.Modality,) if "modality" in has_same and arrived.Modality else ()
    body_part = _body_part(root / arrived.instance_path) if "body_part" in has_same else ""
    if "body_part" in has_same and not body_part:
        return None
    wanted = Wanted(
        patient_id=arrived.PatientID,
        dates=f"{first:%Y%m%d}-{day:%Y%m%d}",
        modalities=rule.modality or modality,
        body_parts=rule.body_part or ((body_part,) if body_part else ()),
        descriptions=rule.description,
    )
    return Call(arrived.StudyInstanceUID, wanted)


def chosen(found: tuple[Series, ...], call: Call, rule: Rule) -> tuple[Series, ...]:
    """Take the latest studies of the very same patient, without the one that arrived."""
    mine = [
        one for one in found if one.PatientID == call.wanted.patient_id and one.StudyInstanceUID != call.study
    ]
    newest_first = sorted(mine, key=lambda one: one.StudyDate, reverse=True)
    studies = list(dict.fromkeys(one.StudyInstanceUID for one in newest_first))[: rule.priors_most]
    return tuple(one for one in newest_first if one.StudyInstanceUID in studies)


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def _body_part(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return peek.string(read_header(file), "BodyPartExamined")
    except (InputError, OSError):
        return ""
