"""What a peer has, series by series, whether it is asked by C-FIND or by QIDO-RS.

What it answers is held against what was asked: archives that do not know a key return everything, and a
series of another study or another patient must not be fetched in the place of the one that is wanted.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from dae_pacs.dimse.commands import uid_fault
from dae_pacs.dimse.finding import Bounds, Level, Matches

STUDY_KEYS: Final = (
    "PatientID",
    "PatientName",
    "AccessionNumber",
    "StudyInstanceUID",
    "StudyDate",
    "StudyDescription",
    "ModalitiesInStudy",
    "NumberOfStudyRelatedInstances",
)
SERIES_KEYS: Final = (
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "SeriesNumber",
    "Modality",
    "BodyPartExamined",
    "SeriesDescription",
    "NumberOfSeriesRelatedInstances",
)
IMAGE_KEYS: Final = ("SOPInstanceUID", "SOPClassUID")
_MOST_STUDIES: Final = 2000
_MOST_SERIES: Final = 1000
"""Of one study."""
_MOST_INSTANCES: Final = 20000
"""Of one series."""


class Search(Protocol):
    """A peer that is asked."""

    @property
    def is_patient_root(self) -> bool:
        """Whether it wants to know the patient first."""
        ...

    def find(self, level: Level, keys: Mapping[str, str], bounds: Bounds) -> Matches:
        """Ask for what matches.

        Raises:
            PeerError: it can't be asked, or refuses.
        """
        ...


@dataclass(frozen=True)
class Wanted:
    """What is looked for; what is empty may be anything."""

    patient_id: str = ""
    patient_name: str = ""
    accession: str = ""
    study: str = ""
    """Study Instance UID."""
    dates: str = ""
    """Study Date as a query has it: 20260101, 20260101-20260131, -20260131."""
    modalities: tuple[str, ...] = ()
    body_parts: tuple[str, ...] = ()
    descriptions: tuple[str, ...] = ()
    """Of the study or the series."""

    def keys(self) -> dict[str, str]:
        """Say what is asked at the level of studies, for the audit trail."""
        asked = {
            "PatientID": self.patient_id,
            "PatientName": self.patient_name,
            "AccessionNumber": self.accession,
            "StudyInstanceUID": self.study,
            "StudyDate": self.dates,
            "ModalitiesInStudy": "\\".join(self.modalities),
        }
        return {keyword: value for keyword, value in asked.items() if value}


@dataclass(frozen=True)
class Series:
    """A series that a peer has."""

    StudyInstanceUID: str
    SeriesInstanceUID: str
    PatientID: str
    PatientName: str
    AccessionNumber: str
    StudyDate: str
    StudyDescription: str
    SeriesNumber: str
    Modality: str
    BodyPartExamined: str
    SeriesDescription: str
    instances: int | None
    """None where the peer does not say."""


@dataclass(frozen=True)
class Listing:
    """What a peer has of what is wanted."""

    series: tuple[Series, ...]
    is_cut: bool
    """Whether there was more than was asked for at most."""
    foreign: int
    """Answers about something else than what was asked for, which are left out."""


@dataclass(frozen=True)
class Instance:
    """An object that a peer has."""

    SOPInstanceUID: str
    SOPClassUID: str


def list_series(
    search: Search,
    wanted: Wanted,
    *,
    most: int,
    is_known: Callable[[str, str], bool] = lambda _study, _instances: False,
) -> Listing:
    """Ask for studies, and for the series of each.

    Args:
        search: whom.
        wanted: what.
        most: series, at most; asking ends with them.
        is_known: tells of a study and the number of its objects, as the peer tells it, that its series need
            not be asked for; it is called for each study.

    Raises:
        PeerError: it can't be asked, or refuses.
        ConfigError: the character set of the query can't hold what is wanted.
    """
    studies, is_cut, foreign = _studies(search, wanted)
    found: list[Series] = []
    for study in studies:
        if len(found) >= most:
            is_cut = True
            break
        if is_known(study["StudyInstanceUID"], study["NumberOfStudyRelatedInstances"]):
            continue
        keys = _asking(SERIES_KEYS, StudyInstanceUID=study["StudyInstanceUID"])
        if len(wanted.modalities) == 1:
            keys["Modality"] = wanted.modalities[0]
        if search.is_patient_root:
            keys["PatientID"] = study["PatientID"]
        answer = search.find("SERIES", keys, Bounds(most=_MOST_SERIES))
        is_cut = is_cut or answer.is_cut
        for match in answer.found:
            if _is_foreign_series(match, study):
                foreign += 1
            else:
                found += [one for one in [_series(study, match)] if _is_wanted(one, wanted)]
    return Listing(tuple(found[:most]), is_cut or len(found) > most, foreign)


def list_instances(search: Search, series: Series) -> tuple[Instance, ...]:
    """Ask for the objects of a series.

    Raises:
        PeerError: it can't be asked, or refuses.
    """
    keys = _asking(
        IMAGE_KEYS, StudyInstanceUID=series.StudyInstanceUID, SeriesInstanceUID=series.SeriesInstanceUID
    )
    if search.is_patient_root:
        keys["PatientID"] = series.PatientID
    answer = search.find("IMAGE", keys, Bounds(most=_MOST_INSTANCES))
    found = {
        match["SOPInstanceUID"]: match["SOPClassUID"]
        for match in answer.found
        if not uid_fault(match["SOPInstanceUID"])
        and match["StudyInstanceUID"] in {"", series.StudyInstanceUID}
        and match["SeriesInstanceUID"] in {"", series.SeriesInstanceUID}
    }
    return tuple(Instance(uid, "" if uid_fault(sop_class) else sop_class) for uid, sop_class in found.items())


def _studies(search: Search, wanted: Wanted) -> tuple[list[Mapping[str, str]], bool, int]:
    """Ask for studies, latest first: those, whether there were more, and how many were not asked for."""
    found: dict[str, Mapping[str, str]] = {}
    is_cut, foreign = False, 0
    for patient_id in _patients(search, wanted):
        keys = _asking(
            STUDY_KEYS,
            PatientID=patient_id,
            PatientName="" if search.is_patient_root else wanted.patient_name,
            AccessionNumber=wanted.accession,
            StudyInstanceUID=wanted.study,
            StudyDate=wanted.dates,
            ModalitiesInStudy=wanted.modalities[0] if len(wanted.modalities) == 1 else "",
        )
        answer = search.find("STUDY", keys, Bounds(most=_MOST_STUDIES))
        is_cut = is_cut or answer.is_cut
        for match in answer.found:
            if _is_foreign_study(match, wanted, patient_id):
                foreign += 1
            else:
                found.setdefault(match["StudyInstanceUID"], match)
    return sorted(found.values(), key=lambda study: study["StudyDate"], reverse=True), is_cut, foreign


def _patients(search: Search, wanted: Wanted) -> Iterator[str]:
    """Give the patients to ask for: the one that is wanted, or each, where a peer needs to know one."""
    if not search.is_patient_root or (wanted.patient_id and not _is_pattern(wanted.patient_id)):
        yield wanted.patient_id
        return
    keys = {"PatientID": wanted.patient_id, "PatientName": wanted.patient_name}
    for match in search.find("PATIENT", keys, Bounds(most=_MOST_STUDIES)).found:
        if match["PatientID"]:
            yield match["PatientID"]


def _asking(names: Sequence[str], **values: str) -> dict[str, str]:
    return dict.fromkeys(names, "") | values


def _is_foreign_study(match: Mapping[str, str], wanted: Wanted, patient_id: str) -> bool:
    """Tell whether a study is none that was asked for; what a peer leaves out counts for what was asked."""
    pairs = (
        (patient_id, match["PatientID"]),
        (wanted.accession, match["AccessionNumber"]),
        (wanted.study, match["StudyInstanceUID"]),
    )
    return (
        bool(uid_fault(match["StudyInstanceUID"]))
        or any(asked and told and not _is_like(asked, told) for asked, told in pairs)
        or not _is_in(match["StudyDate"], wanted.dates)
    )


def _is_foreign_series(match: Mapping[str, str], study: Mapping[str, str]) -> bool:
    is_other = match["StudyInstanceUID"] not in {"", study["StudyInstanceUID"]}
    return is_other or bool(uid_fault(match["SeriesInstanceUID"]))


def _series(study: Mapping[str, str], match: Mapping[str, str]) -> Series:
    count = match["NumberOfSeriesRelatedInstances"]
    return Series(
        StudyInstanceUID=study["StudyInstanceUID"],
        SeriesInstanceUID=match["SeriesInstanceUID"],
        PatientID=study["PatientID"],
        PatientName=study["PatientName"],
        AccessionNumber=study["AccessionNumber"],
        StudyDate=study["StudyDate"],
        StudyDescription=study["StudyDescription"],
        SeriesNumber=match["SeriesNumber"],
        Modality=match["Modality"],
        BodyPartExamined=match["BodyPartExamined"],
        SeriesDescription=match["SeriesDescription"],
        instances=int(count) if count.isascii() and count.isdecimal() and len(count) < 10 else None,
    )


def _is_wanted(series: Series, wanted: Wanted) -> bool:
    return all(
        not patterns or any(_is_like(pattern, text) for pattern in patterns for text in texts)
        for patterns, texts in (
            (wanted.modalities, (series.Modality,)),
            (wanted.body_parts, (series.BodyPartExamined,)),
            (wanted.descriptions, (series.StudyDescription, series.SeriesDescription)),
        )
    )


def _is_pattern(text: str) -> bool:
    return "*" in text or "?" in text


def _is_like(pattern: str, text: str) -> bool:
    """Match as a query does (PS3.4 C.2.2.2.4), but for case: * for any characters, ? for one."""
    parts = (".*" if mark == "*" else "." if mark == "?" else re.escape(mark) for mark in pattern.strip())
    return re.fullmatch("".join(parts), text.strip(), re.IGNORECASE | re.DOTALL) is not None


def _is_in(day: str, dates: str) -> bool:
    if not dates or not day:
        return True
    first, separator, last = dates.partition("-")
    if not separator:
        return day == dates
    return (not first or day >= first) and (not last or day <= last)
