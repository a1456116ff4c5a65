"""WADO-RS: retrieve studies, series, instances, their metadata, frames and bulk data (PS3.18 10.4).

Everything is streamed from the files of the spool; what is asked for in another transfer syntax goes through
a copy on the disk, made when its turn comes.
"""

import json
import logging
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain
from typing import Final, TypeVar

from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from dae_pacs import part10
from dae_pacs.dicomweb import frames, json_model, media, multipart
from dae_pacs.dicomweb.media import MediaType
from dae_pacs.dicomweb.multipart import Part
from dae_pacs.errors import DaePacsError, RequestError
from dae_pacs.image.header import read_header
from dae_pacs.node.copies import REVERSIBLE
from dae_pacs.node.viewing import Viewed
from dae_pacs.part10 import FileMeta
from dae_pacs.spool.holdings import Wanted
from dae_pacs.spool.records import Instance
from dae_pacs.web.context import Context, context_of
from dae_pacs.web.conversions import IMPLICIT, check_room, explicit_copy
from dae_pacs.web.dicomweb_root import ROOT, checked_uid, root_url
from dae_pacs.web.role import Role
from dae_pacs.web.roles import needs, visitor_of
from dae_pacs.web.turns import Turns

logger = logging.getLogger(__name__)

MOST_INSTANCES: Final = 100_000
"""Of one answer: more are refused before anything is given, since an answer that ends early looks whole."""
MOST_FRAMES: Final = 10_000
"""Of one answer."""
_PIECE_BYTES: Final = 1 << 18
_EXPLICIT: Final = frames.EXPLICIT
_ANY: Final = "*"

Piece = TypeVar("Piece")


@needs(Role.VIEWER, by="header")
def retrieve(request: Request) -> Response:
    """Give instances as Part 10 files: of a study, of a series, or one."""
    held = _held(request)
    is_one = "instance" in request.path_params
    for wanted in media.accepted(request.headers.get("accept", "")):
        is_alone = wanted.name == media.DICOM and is_one
        is_related = wanted.covers(media.RELATED) and wanted.root in (media.DICOM, "", "*/*", "multipart/*")
        if not is_alone and not is_related:
            continue
        sources = [_source(instance, wanted.get("transfer-syntax")) for instance in held]
        if None in sources:
            continue
        context = context_of(request)
        opened = [_Opened(source, context) for source in sources if source is not None]
        converted = next((one for one in opened if one.source.is_converted), None)
        if converted is not None:
            converted.check_room()
        _write_down(request, held, is_whole=True)
        turns = None if converted is None else context.conversions
        if is_alone:
            return _streamed(_in_turn(turns, opened[0].pieces()), media.DICOM)
        parts = (Part(media.DICOM, one.pieces()) for one in opened)
        return _related(media.DICOM, _in_turn(turns, parts))
    raise HTTPException(
        406,
        'Objects come as multipart/related; type="application/dicom" in the transfer syntax that they are '
        "kept in (transfer-syntax=*), or in explicit VR little endian where that loses nothing.",
    )


@needs(Role.VIEWER, by="header")
def metadata(request: Request) -> Response:
    """Give instances' elements without bulk data, in JSON."""
    form = media.offered(media.accepted(request.headers.get("accept", "")), (media.JSON, media.PLAIN_JSON))
    if form is None:
        raise HTTPException(406, f"Metadata come as {media.JSON}; accept that.")
    held = _held(request)
    _write_down(request, held, is_whole=False)
    return StreamingResponse(_metadata(held, root_url(request)), media_type=form)


def _metadata(held: Sequence[Instance], url: str) -> Iterator[str]:
    before = "["
    for instance in held:
        place = url + _path(instance)
        with instance.path.open("rb") as file:
            found = json_model.encode(read_header(file), uri=f"{place}/bulkdata/{{}}".format)
        if "00280010" in found:
            found["7FE00010"] = {"vr": "OW", "BulkDataURI": f"{place}/bulkdata/7FE00010"}
        found["00083002"] = {"vr": "UI", "Value": [instance.transfer_syntax_uid]}
        yield before + json.dumps(found)
        before = ","
    yield "]"


@needs(Role.VIEWER, by="header")
def some_frames(request: Request) -> Response:
    """Give frames of an instance, uncompressed or as they are stored."""
    (instance,) = _held(request)
    stored = frames.open_frames(instance.path)
    numbers = _numbers(request.path_params["frames"], stored.count)
    chosen = _frames_form(media.accepted(request.headers.get("accept", "")), stored)
    _write_down(request, [instance], is_whole=False)
    give = frames.as_stored if chosen.is_stored else frames.uncompressed
    bodies = give(stored, numbers)
    if chosen.is_alone and len(numbers) == 1:
        return StreamingResponse(next(bodies), media_type=chosen.media_type)
    return _related(chosen.root, (Part(chosen.media_type, body) for body in bodies))


@needs(Role.VIEWER, by="header")
def bulk_data(request: Request) -> Response:
    """Give the binary value of an element that the metadata left to a URI."""
    (instance,) = _held(request)
    path = request.path_params["path"]
    wanted = media.accepted(request.headers.get("accept", ""))
    is_alone = wanted[0].name == media.OCTETS
    if not any(one.covers(media.OCTETS) or one.covers(media.RELATED) for one in wanted):
        raise HTTPException(406, f"Bulk data come as {media.OCTETS}; accept that.")
    body: Iterator[bytes]
    if path.upper() == "7FE00010":
        stored = frames.open_frames(instance.path)
        if not frames.is_native(stored):
            raise HTTPException(406, "The pixel data are compressed: ask for frames.")
        body = stored.span.blocks(_PIECE_BYTES)
    else:
        with instance.path.open("rb") as file:
            value = json_model.bulk_data(read_header(file), path)
        if value is None:
            raise HTTPException(404, "The instance has no such binary value.")
        body = iter((value,))
    _write_down(request, [instance], is_whole=False)
    if is_alone:
        return StreamingResponse(body, media_type=media.OCTETS)
    return _related(media.OCTETS, iter((Part(media.OCTETS, body),)))


@dataclass(frozen=True)
class _Source:
    """An instance, and how it is given."""

    instance: Instance
    is_converted: bool = False
    """Whether to explicit VR little endian."""


def _source(instance: Instance, wished: str) -> _Source | None:
    """Say how an instance is given in a transfer syntax that was wished for; None where it can't be.

    Without a wish: uncompressed where that loses nothing, else as it is kept (PS3.18 8.7.3.5.2).
    """
    kept = instance.transfer_syntax_uid
    if wished in (kept, _ANY) or (not wished and kept not in REVERSIBLE):
        return _Source(instance)
    if wished in ("", _EXPLICIT) and (kept in REVERSIBLE or kept == IMPLICIT):
        return _Source(instance, is_converted=True)
    return None


@dataclass(frozen=True)
class _Opened:
    """A Part 10 file in pieces, its file meta information written anew: ours says who sent it."""

    source: _Source
    context: Context

    @property
    def _least_free_mb(self) -> float:
        return self.context.settings.node.minimum_free_mb

    def check_room(self) -> None:
        """See that its copy finds room.

        Raises:
            SpoolFullError: it does not.
        """
        check_room(self.source.instance, self.context.files, least_free_mb=self._least_free_mb)

    def pieces(self) -> Iterator[bytes]:
        """Read it, through a copy on the disk where it is converted.

        Raises:
            DaePacsError: it can't be converted, or is no longer there.
        """
        instance = self.source.instance
        with ExitStack() as stack:
            path, syntax = instance.path, instance.transfer_syntax_uid
            if self.source.is_converted:
                files, least_free_mb = self.context.files, self._least_free_mb
                path = stack.enter_context(explicit_copy(instance, files, least_free_mb=least_free_mb))
                syntax = _EXPLICIT
            yield part10.encode(FileMeta(instance.SOPClassUID, instance.SOPInstanceUID, syntax))
            file = stack.enter_context(path.open("rb"))
            part10.read(file)
            while piece := file.read(_PIECE_BYTES):
                yield piece


def _in_turn(turns: Turns | None, pieces: Iterator[Piece]) -> Iterator[Piece]:
    """Begin what takes a turn until it ends or is dropped, so that one too many still gets an answer.

    Raises:
        HTTPException: 503, too many are at it.
    """
    if turns is None:
        return pieces

    def given() -> Iterator[Piece]:
        with turns.taken():
            yield from pieces

    begun = given()
    return chain((next(begun),), begun)


def _held(request: Request) -> list[Instance]:
    """Find the instances of a path.

    Raises:
        HTTPException: 404, there are none; 409, they are of several patients, and which is not said; 413, too
            many for one answer.
        RequestError: the path holds a UID that is none.
    """
    keywords = {"study": "StudyInstanceUID", "series": "SeriesInstanceUID", "instance": "SOPInstanceUID"}
    path = request.path_params
    texts = {keyword: (checked_uid(path[name]),) for name, keyword in keywords.items() if name in path}
    limit = 1 if "instance" in path else MOST_INSTANCES + 1
    held = context_of(request).ledger.views.held_instances(Wanted(texts), limit=limit)
    if len(held) > MOST_INSTANCES:
        level = "series" if "series" not in path else "instances"
        raise HTTPException(
            413,
            f"The node holds more than {MOST_INSTANCES:,} objects of this UID, more than one answer takes: "
            f"search for its {level}, and retrieve them one by one.",
        )
    if "PatientID" in request.query_params:
        patient = request.query_params["PatientID"].strip()
        held = [instance for instance in held if instance.PatientID.strip() == patient]
    if not held:
        raise HTTPException(404, "The node holds nothing of this UID; it may have been deleted.")
    if len({instance.PatientID for instance in held}) > 1:
        # A UID that two patients share must not show one the other's images.
        raise HTTPException(
            409,
            "The node holds objects of several patients under this UID, which should be one's alone: say by "
            "the parameter PatientID which is meant; a search for studies by this UID tells them.",
        )
    return held


def _write_down(request: Request, held: Sequence[Instance], *, is_whole: bool) -> None:
    """Have the audit trail told, before anything is given.

    Raises:
        ServiceError: the node does not answer; then nothing is given.
    """
    context = context_of(request)
    audit = context.settings.audit
    if audit.file is None and audit.syslog is None:
        return
    of_studies: dict[tuple[str, str], Counter[str]] = {}
    for instance in held:
        key = (instance.StudyInstanceUID, instance.PatientID)
        of_studies.setdefault(key, Counter())[instance.SOPClassUID] += 1
    person = visitor_of(request).person
    for (study, patient), sop_classes in of_studies.items():
        context.desk.ask(Viewed(person, study, patient, dict(sop_classes), is_whole))


@dataclass(frozen=True)
class _Form:
    """How frames are given."""

    root: str
    media_type: str
    is_stored: bool
    is_alone: bool


def _frames_form(wanted: Sequence[MediaType], stored: frames.Stored) -> _Form:
    """Choose the first form that we have.

    Raises:
        HTTPException: 406, none of them.
    """
    for one in wanted:
        is_alone = one.name == media.OCTETS
        root = one.root if one.name == media.RELATED else one.name
        if root not in (media.OCTETS, "", "*/*", "application/*", "multipart/*"):
            continue
        wished = one.get("transfer-syntax")
        if wished in (_ANY, stored.transfer_syntax_uid) or frames.is_native(stored):
            if wished not in ("", _ANY, _EXPLICIT, stored.transfer_syntax_uid):
                continue
            syntax = _EXPLICIT if frames.is_native(stored) else stored.transfer_syntax_uid
            return _Form(
                media.OCTETS, f"{media.OCTETS}; transfer-syntax={syntax}", is_stored=True, is_alone=is_alone
            )
        if wished in ("", _EXPLICIT) and frames.can_be_uncompressed(stored):
            form = f"{media.OCTETS}; transfer-syntax={_EXPLICIT}"
            return _Form(media.OCTETS, form, is_stored=False, is_alone=is_alone)
    raise HTTPException(
        406,
        'Frames come as multipart/related; type="application/octet-stream", uncompressed where they are '
        "grey, or as they are kept (transfer-syntax=*).",
    )


def _numbers(text: str, count: int) -> tuple[int, ...]:
    parts = text.split(",")
    if not all(part.isdecimal() and len(part) < 9 for part in parts) or len(parts) > MOST_FRAMES:
        raise RequestError("frames are given by their numbers, from 1 on, with commas: 1,2,3")
    numbers = tuple(int(part) for part in parts)
    if not all(1 <= number <= count for number in numbers):
        raise HTTPException(404, f"The instance has {count} frame(s), counted from 1 on.")
    return numbers


def _related(root: str, parts: Iterator[Part]) -> Response:
    boundary = multipart.new_boundary()
    body = multipart.write(parts, boundary)
    return _streamed(body, multipart.related(root, boundary))


def _streamed(body: Iterator[bytes], media_type: str) -> Response:
    """Give a body that is closed, with its copies on the disk, also where its receiver goes away."""
    noted = _noting(body)
    return StreamingResponse(noted, media_type=media_type, background=BackgroundTask(noted.close))


def _noting(body: Iterator[bytes]) -> Generator[bytes, None, None]:
    """Say in the log why an answer that had begun breaks off, which its receiver sees as cut short."""
    try:
        yield from body
    except (DaePacsError, OSError) as error:
        words = str(error) if isinstance(error, DaePacsError) else type(error).__name__
        logger.error("a retrieval broke off", extra={"why": words})  # noqa: TRY400
        raise


def _path(instance: Instance) -> str:
    study, series = instance.StudyInstanceUID, instance.SeriesInstanceUID
    return f"/studies/{study}/series/{series}/instances/{instance.SOPInstanceUID}"


_STUDY: Final = f"{ROOT}/studies/{{study}}"
_SERIES: Final = f"{_STUDY}/series/{{series}}"
_INSTANCE: Final = f"{_SERIES}/instances/{{instance}}"

ROUTES: list[BaseRoute] = [
    *(Route(path, retrieve) for path in (_STUDY, _SERIES, _INSTANCE)),
    *(Route(f"{path}/metadata", metadata) for path in (_STUDY, _SERIES, _INSTANCE)),
    Route(f"{_INSTANCE}/frames/{{frames}}", some_frames),
    Route(f"{_INSTANCE}/bulkdata/{{path:path}}", bulk_data),
]
