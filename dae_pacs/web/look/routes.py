"""The Look page and what it asks for: what there is of a study, frames, previews."""

from collections import Counter
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from dae_pacs.image.packet import MEDIA_TYPE
from dae_pacs.node.preview import Preview
from dae_pacs.node.viewing import Viewed
from dae_pacs.spool.pairs import StudyPairs
from dae_pacs.spool.records import Instance
from dae_pacs.spool.states import InstanceStatus
from dae_pacs.web.context import Context, context_of
from dae_pacs.web.look.frames import frame_body
from dae_pacs.web.look.study import study_to_look_at
from dae_pacs.web.pages import render
from dae_pacs.web.role import Role
from dae_pacs.web.roles import needs, visitor_of

_KEEP: Final = "private, no-cache"
"""Browsers may keep a frame, and ask each time whether they still may: by its ETag, which costs no pixel."""
_GONE: Final = "This image is no longer in the spool; it was deleted meanwhile."
_MOST_DIGITS: Final = 18
_ON_DISK: Final = (InstanceStatus.KEPT, InstanceStatus.PASSED_OVER)


@needs(Role.VIEWER)
def look(request: Request) -> Response:
    """Give the page, which fetches all else."""
    number = _number(request, "study")
    return render(
        request, "look.html.j2", number=number, study=_pairs(request), base=f"/studies/{number}/look"
    )


@needs(Role.VIEWER)
def pairs(request: Request) -> Response:
    """Say what there is to be looked at."""
    return JSONResponse({"series": study_to_look_at(_pairs(request))})


@needs(Role.VIEWER)
def frame(request: Request) -> Response:
    """Give one frame's stored values, as `look.frames` describes."""
    context = context_of(request)
    instance = _image(request, context)
    number = _number(request, "frame")
    etag = f'"{instance.digest}-{number}"'
    headers = {"ETag": etag, "Cache-Control": _KEEP}
    _note_access(request, context)
    if etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    body = frame_body(context.images.get(instance.path, instance.digest), number)
    return Response(body, media_type=MEDIA_TYPE, headers=headers)


@needs(Role.VIEWER)
def preview(request: Request) -> Response:
    """Give what the model would take from a frame; 202 while it is in work."""
    context = context_of(request)
    instance = _image(request, context)
    _note_access(request, context)
    asked = Preview(instance.id, _number(request, "frame"), _number(request, "job"))
    answered = context.desk.ask(asked)
    if answered.path is None:
        return Response(status_code=202)
    try:
        body = answered.path.read_bytes()
    except FileNotFoundError:  # made room for another one meanwhile
        return Response(status_code=202)
    return Response(body, media_type=MEDIA_TYPE)


def _number(request: Request, name: str) -> int:
    """Take a number out of the path; what is none, or beyond SQLite's, is nobody's."""
    value = str(request.path_params[name])
    if not (value.isascii() and value.isdecimal()) or len(value) > _MOST_DIGITS:
        raise HTTPException(404)
    return int(value)


def _pairs(request: Request) -> StudyPairs:
    found = context_of(request).ledger.views.pairs(_number(request, "study"))
    if found is None:
        raise HTTPException(404, "The node knows no such study; it may have been deleted.")
    return found


def _image(request: Request, context: Context) -> Instance:
    """Find the object that is asked for, which must be of the study that is asked for."""
    of_study = context.ledger.views.image_of
    instance = of_study(_number(request, "study"), _number(request, "image"))
    if instance is None:
        raise HTTPException(404, "This study has no such image.")
    if instance.status not in _ON_DISK or not instance.path.exists():
        raise HTTPException(404, _GONE)
    return instance


def _note_access(request: Request, context: Context) -> None:
    """Have it written down who looks at the study, before a pixel of it leaves."""
    visitor = visitor_of(request)

    def tell() -> None:
        found = _pairs(request)
        classes = Counter(original.SOPClassUID for original in found.originals)
        viewed = Viewed(visitor.person, found.StudyInstanceUID, found.PatientID, classes, is_whole=True)
        context.desk.ask(viewed)

    session = visitor.session.csrf if visitor.session is not None else visitor.address
    context.accesses.note(visitor.name, session, study=_number(request, "study"), tell=tell)


ROUTES: list[BaseRoute] = [
    Route("/studies/{study}/look", look, methods=["GET"]),
    Route("/studies/{study}/look/pairs", pairs, methods=["GET"]),
    Route("/studies/{study}/look/frames/{image}/{frame}", frame, methods=["GET"]),
    Route("/studies/{study}/look/previews/{image}/{frame}/{job}", preview, methods=["GET"]),
]
"""Those of the page."""
