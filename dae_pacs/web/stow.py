"""STOW-RS: objects come in over HTTP, and are kept as those of a C-STORE are (PS3.18 10.5)."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from dae_pacs.dicomweb import media, multipart, storing
from dae_pacs.dicomweb.storing import Stored
from dae_pacs.errors import RequestError
from dae_pacs.web.context import context_of
from dae_pacs.web.dicomweb_root import ROOT, checked_uid, root_url
from dae_pacs.web.intake import Bounds, Intake, Sender
from dae_pacs.web.role import Role
from dae_pacs.web.roles import needs, visitor_of

_PIECE_BYTES: Final = 1 << 18
"""Gathered before a thread writes it: fewer changes between loop and thread."""
_XML: Final = "application/dicom+xml"
_RETRY_AFTER_S: Final = 30
_NO_BODY: Final = 415


@needs(Role.OPERATOR, by="header", most_bytes=None)
async def store(request: Request) -> Response:
    """Take the objects of a request, one after the other, and say what became of each."""
    wanted = media.accepted(request.headers.get("accept", ""))
    form = media.offered(wanted, (media.JSON, media.PLAIN_JSON, _XML))
    if form is None:
        return _plain(406, f"The answer comes as {media.JSON} or {_XML}; accept one of them.")
    content_type = media.parse(request.headers.get("content-type", ""))
    if content_type.name != media.RELATED or content_type.root not in (media.DICOM, ""):
        return _plain(
            _NO_BODY,
            f'Objects come as multipart/related; type="{media.DICOM}". Metadata and bulk data apart from '
            "each other are not taken: send whole Part 10 objects.",
        )
    intake = _intake(request, multipart.boundary_of(content_type))
    try:
        broken = await _taken(request, intake)
    finally:
        await run_in_threadpool(intake.end)
    if broken and not intake.stored:
        return _plain(400, broken)
    if broken:
        intake.stored.append(Stored("", "", failure=storing.CANNOT_UNDERSTAND, words=broken))
    return _answer(request, intake, form)


async def _taken(request: Request, intake: Intake) -> str:
    """Read the body to its end; says what is broken in it, "" where nothing is."""
    gathered = bytearray()
    try:
        async for chunk in request.stream():
            gathered += chunk
            if len(gathered) >= _PIECE_BYTES:
                piece, gathered = bytes(gathered), bytearray()
                await run_in_threadpool(intake.feed, piece)
        await run_in_threadpool(intake.feed, bytes(gathered))
        intake.close()
    except RequestError as error:
        return str(error)
    except ClientDisconnect:
        return "the sender went away"
    return ""


def _intake(request: Request, boundary: str) -> Intake:
    context, visitor = context_of(request), visitor_of(request)
    node = context.settings.node
    study = request.path_params.get("study", "")
    return Intake(
        boundary,
        Sender(visitor.name, visitor.address, checked_uid(study) if study else ""),
        files=context.files,
        ask=context.desk.ask,
        bounds=Bounds(
            object_bytes=node.max_object_mb * 1_000_000,
            object_s=node.object_timeout_s,
            free_mb=node.minimum_free_mb,
        ),
        called_ae=node.ae_title,
    )


def _answer(request: Request, intake: Intake, form: str) -> Response:
    if not intake.stored:
        return _plain(400, "There is no object in the message.")
    url = root_url(request)
    stored = [
        replace(one, retrieve_url=url + one.retrieve_url) if one.retrieve_url else one
        for one in intake.stored
    ]
    status = storing.status_of(stored)
    answer = storing.response(stored, study_url=_study_url(url, sorted(intake.studies)))
    body = storing.as_xml(answer) if form == _XML else json.dumps(answer)
    headers = {"Retry-After": str(_RETRY_AFTER_S)} if status == 503 else {}
    return Response(body, status_code=status, media_type=form, headers=headers)


def _study_url(url: str, studies: Sequence[str]) -> str:
    """Say where the study is, where the objects are of one."""
    return f"{url}/studies/{studies[0]}" if len(studies) == 1 and studies[0] else ""


def _plain(status: int, words: str) -> Response:
    return PlainTextResponse(words + "\n", status_code=status)


ROUTES: list[BaseRoute] = [
    Route(f"{ROOT}/studies", store, methods=["POST"]),
    Route(f"{ROOT}/studies/{{study}}", store, methods=["POST"]),
]
