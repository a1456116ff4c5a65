"""QIDO-RS: search what the node holds (PS3.18 10.6).

The ledger answers what it has columns for; the rest is read from the headers of those that are left, of so
many at most. Nothing of the ledger or of a header is kept here.
"""

import json
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from dae_pacs.dicomweb import json_model, media, query
from dae_pacs.dicomweb.json_model import Json
from dae_pacs.dicomweb.query import Query
from dae_pacs.errors import DaePacsError
from dae_pacs.image.header import read_header
from dae_pacs.spool.holdings import COLUMNS, HeldSeries, HeldStudy, Wanted
from dae_pacs.spool.records import Instance
from dae_pacs.spool.views import Views
from dae_pacs.web.context import context_of
from dae_pacs.web.dicomweb_root import ROOT, checked_uid, root_url
from dae_pacs.web.role import Role
from dae_pacs.web.roles import needs

logger = logging.getLogger(__name__)

MOST_RESULTS: Final = 5000
"""Of one answer; who wants more asks for the next page."""
MOST_HEADERS: Final = 2000
"""Read in search of those that match what the ledger has no column for."""
_AT_A_TIME: Final = 200
_STUDY_FIELDS: Final = [
    "00080005",
    "00080020",
    "00080030",
    "00080050",
    "00080090",
    "00080201",
    "00081030",
    "00100010",
    "00100020",
    "00100030",
    "00100040",
    "0020000D",
    "00200010",
]
# Below a study, too: a UID that two patients share must not show one the other's images.
_PATIENT_FIELDS: Final = ["00100010", "00100020"]
_SERIES_FIELDS: Final = [
    "00080005",
    "00080060",
    "0008103E",
    "0020000E",
    "00200011",
    "00400244",
    "00400245",
    "00400275",
]
_INSTANCE_FIELDS: Final = [
    "00080005",
    "00080016",
    "00080018",
    "00080060",
    "0020000D",
    "0020000E",
    "00200013",
    "00280008",
    "00280010",
    "00280011",
    "00280100",
]
_FUZZY: Final = (
    '299 dae-pacs "The fuzzymatching parameter is not supported. Only literal matching has been performed."'
)
_MORE: Final = '299 dae-pacs "There are more results; ask for them by offset."'
_SEARCHED: Final = (
    f'299 dae-pacs "Only the first {MOST_HEADERS} candidates were compared: add PatientID, AccessionNumber '
    'or StudyDate, which are indexed."'
)


@dataclass(frozen=True)
class _Candidate:
    """Something that may be a result: what the ledger says of it, and a file to read the rest from."""

    said: Mapping[str, Json]
    """By tag; wins over what the header says."""
    sample: Path


List = Callable[[Views, Wanted, int, int], list[_Candidate]]
"""Lists candidates that meet what the ledger can match: limit, offset."""


@needs(Role.VIEWER, by="header")
def studies(request: Request) -> Response:
    """Search for studies."""
    return _search(request, partial(_studies, root_url(request)), fields=_STUDY_FIELDS)


@needs(Role.VIEWER, by="header")
def series(request: Request) -> Response:
    """Search for series, of a study or of all."""
    fields = [*_SERIES_FIELDS, *(_PATIENT_FIELDS if request.path_params else _STUDY_FIELDS)]
    return _search(request, partial(_series, root_url(request)), fields=fields)


@needs(Role.VIEWER, by="header")
def instances(request: Request) -> Response:
    """Search for instances, of a series, of a study, or of all."""
    has_series, has_study = "series" in request.path_params, "study" in request.path_params
    fields = [*_INSTANCE_FIELDS, *_PATIENT_FIELDS]
    fields += [] if has_series else _SERIES_FIELDS
    fields += [] if has_study else _STUDY_FIELDS
    return _search(request, partial(_instances, root_url(request)), fields=fields)


def _search(request: Request, candidates: List, *, fields: list[str]) -> Response:
    wanted = media.accepted(request.headers.get("accept", ""))
    form = media.offered(wanted, (media.JSON, media.PLAIN_JSON))
    if form is None:
        return PlainTextResponse(f"Results come as {media.JSON}; accept that.\n", status_code=406)
    asked = query.parse(request.query_params.multi_items())
    in_ledger, in_headers = _split(asked, request.path_params)
    limit = min(asked.limit if asked.limit is not None else MOST_RESULTS, MOST_RESULTS)
    views = context_of(request).ledger.views
    told = None if asked.has_all_fields else frozenset(fields) | asked.fields
    warnings = [_FUZZY] if asked.wants_fuzzy else []
    if in_headers:
        found, is_cut = _by_headers(
            lambda count, offset: candidates(views, in_ledger, count, offset),
            in_headers,
            wanted=(asked.offset, limit),
        )
        warnings += [_SEARCHED] if is_cut else []
    else:
        found = candidates(views, in_ledger, limit + 1, asked.offset)
        if len(found) > limit:
            found = found[:limit]
            warnings += [_MORE] if asked.limit is None or asked.limit > MOST_RESULTS else []
    headers = {"Warning": ", ".join(warnings)} if warnings else {}
    if not found:
        return Response(status_code=204, headers=headers)
    return StreamingResponse(_written(found, told), media_type=form, headers=headers)


def _written(found: list[_Candidate], told: frozenset[str] | None) -> Iterator[str]:
    """Write results as a list in JSON, each header read when its turn comes."""
    before = "["
    for candidate in found:
        yield before + json.dumps(_item(candidate, told))
        before = ","
    yield "]"


def _item(candidate: _Candidate, told: frozenset[str] | None) -> Json:
    header = _header(candidate.sample)
    if told is not None:
        header = {tag: elem for tag, elem in header.items() if tag in told}
    return dict(sorted({**header, **candidate.said}.items()))


def _header(path: Path) -> Json:
    try:
        with path.open("rb") as file:
            return json_model.encode(read_header(file))
    except (DaePacsError, OSError) as error:  # deleted since, or unreadable: what the ledger says remains
        logger.warning("header not readable for a search", extra={"error": type(error).__name__})
        return {}


def _by_headers(
    candidates: Callable[[int, int], list[_Candidate]], match: Mapping[str, str], *, wanted: tuple[int, int]
) -> tuple[list[_Candidate], bool]:
    """Find those whose header matches, too; says whether the search stopped before all were looked at."""
    offset, limit = wanted
    found: list[_Candidate] = []
    for start in range(0, MOST_HEADERS, _AT_A_TIME):
        some = candidates(_AT_A_TIME, start)
        for candidate in some:
            if query.matches({**_header(candidate.sample), **candidate.said}, match):
                found.append(candidate)
            if len(found) == offset + limit:
                return found[offset:], False
        if len(some) < _AT_A_TIME:
            return found[offset:], False
    return found[offset:], True


def _split(asked: Query, path: Mapping[str, str]) -> tuple[Wanted, dict[str, str]]:
    """Divide the conditions into those for the ledger and those for the headers."""
    texts: dict[str, tuple[str, ...]] = {}
    for name, keyword in (("study", "StudyInstanceUID"), ("series", "SeriesInstanceUID")):
        if name in path:
            texts[keyword] = (checked_uid(path[name]),)
    dates, left = None, {}
    for tags, value in asked.match.items():
        keyword = query.keyword_of(tags)
        keyword = "Modality" if keyword == "ModalitiesInStudy" else keyword
        bounds = query.date_range(value) if keyword == "StudyDate" else None
        if bounds is not None:
            dates = bounds
        elif keyword in COLUMNS and keyword != "StudyDate" and keyword not in texts:
            texts[keyword] = query.choices_of(tags, value)
        else:
            left[tags] = value
    return Wanted(texts, dates), left


def _studies(url: str, views: Views, wanted: Wanted, limit: int, offset: int) -> list[_Candidate]:
    return [_study(url, held) for held in views.held_studies(wanted, limit=limit, offset=offset)]


def _study(url: str, held: HeldStudy) -> _Candidate:
    said = {
        "00080020": _value("DA", held.StudyDate),
        "00080050": _value("SH", held.AccessionNumber),
        "00080056": _value("CS", "ONLINE"),
        "00080061": _value("CS", *held.modalities),
        "00081190": _value("UR", f"{url}/studies/{held.StudyInstanceUID}"),
        "00100020": _value("LO", held.PatientID),
        "0020000D": _value("UI", held.StudyInstanceUID),
        "00201206": _value("IS", held.series),
        "00201208": _value("IS", held.instances),
    }
    return _Candidate(said, held.sample)


def _series(url: str, views: Views, wanted: Wanted, limit: int, offset: int) -> list[_Candidate]:
    return [_one_series(url, held) for held in views.held_series(wanted, limit=limit, offset=offset)]


def _one_series(url: str, held: HeldSeries) -> _Candidate:
    said = {
        "00080056": _value("CS", "ONLINE"),
        "00080060": _value("CS", held.Modality),
        "0008103E": _value("LO", held.SeriesDescription),
        "00081190": _value("UR", f"{url}/studies/{held.StudyInstanceUID}/series/{held.SeriesInstanceUID}"),
        "00100020": _value("LO", held.PatientID),
        "0020000D": _value("UI", held.StudyInstanceUID),
        "0020000E": _value("UI", held.SeriesInstanceUID),
        "00201209": _value("IS", held.instances),
    }
    return _Candidate(said, held.sample)


def _instances(url: str, views: Views, wanted: Wanted, limit: int, offset: int) -> list[_Candidate]:
    return [_instance(url, held) for held in views.held_instances(wanted, limit=limit, offset=offset)]


def _instance(url: str, held: Instance) -> _Candidate:
    path = f"/studies/{held.StudyInstanceUID}/series/{held.SeriesInstanceUID}/instances/{held.SOPInstanceUID}"
    said = {
        "00080016": _value("UI", held.SOPClassUID),
        "00080018": _value("UI", held.SOPInstanceUID),
        "00080056": _value("CS", "ONLINE"),
        "00081190": _value("UR", url + path),
        "00100020": _value("LO", held.PatientID),
        "0020000D": _value("UI", held.StudyInstanceUID),
        "0020000E": _value("UI", held.SeriesInstanceUID),
        "00083002": _value("UI", held.transfer_syntax_uid),
    }
    return _Candidate(said, held.path)


def _value(vr: str, *values: str | int) -> Json:
    given = [value for value in values if value != ""]
    return {"vr": vr, "Value": given} if given else {"vr": vr}


ROUTES: list[BaseRoute] = [
    Route(f"{ROOT}/studies", studies),
    Route(f"{ROOT}/series", series),
    Route(f"{ROOT}/instances", instances),
    Route(f"{ROOT}/studies/{{study}}/series", series),
    Route(f"{ROOT}/studies/{{study}}/instances", instances),
    Route(f"{ROOT}/studies/{{study}}/series/{{series}}/instances", instances),
]
