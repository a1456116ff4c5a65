"""A study's page: its story as a time line, and what an operator can do about it."""

import hashlib
from dataclasses import replace
from typing import Any, Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from dae_pacs.denoise.card import default_strength
from dae_pacs.errors import BundleError, InputError
from dae_pacs.image.header import read_header, summarise
from dae_pacs.node.acting import Delete, Release, Reprocess
from dae_pacs.node.asking import Retry
from dae_pacs.node.routing import decide
from dae_pacs.resources import bundle_places
from dae_pacs.spool.states import InstanceStatus
from dae_pacs.spool.story import Story
from dae_pacs.web.context import Context, context_of
from dae_pacs.web.pages import render
from dae_pacs.web.role import Role
from dae_pacs.web.roles import form_of, needs, visitor_of
from dae_pacs.web.timeline import Event, events

_MOST_EXPLAINED: Final = 20
"""Series for which the rules are asked again: a header is read for each."""
_GONE: Final = 410
_UNCHANGED: Final = 204


@needs(Role.VIEWER)
def story(request: Request) -> Response:
    """Show a study; 404 for one that was never there, 410 for one whose files were deleted."""
    context = context_of(request)
    told = _told(request)
    return render(
        request,
        "story.html.j2",
        status=_GONE if told.is_gone else 200,
        **_values(context, told),
        models=_models(context),
    )


@needs(Role.VIEWER)
def news(request: Request) -> Response:
    """Give the story's changing part; nothing where it is what the page shows already."""
    values = _values(context_of(request), _told(request))
    if request.query_params.get("seen") == values["mark"]:
        return Response(status_code=_UNCHANGED)
    return render(request, "story/told.html.j2", **values)


@needs(Role.OPERATOR)
def retry(request: Request) -> Response:
    """Requeue what failed of a study."""
    told = _told(request)
    person = visitor_of(request).person
    context_of(request).desk.ask(Retry(told.study.StudyInstanceUID, person))
    return _back(told.id)


@needs(Role.OPERATOR)
def reprocess(request: Request) -> Response:
    """Denoise a study once more, as the form says."""
    told, form = _told(request), form_of(request)
    strength = _strength(str(form.get("strength", "")))
    wish = Reprocess(
        told.study.StudyInstanceUID, str(form.get("model", "")), strength, visitor_of(request).person
    )
    context_of(request).desk.ask(wish)
    return _back(told.id)


@needs(Role.OPERATOR)
def release(request: Request) -> Response:
    """Let an object of the quarantine take the place of the first."""
    return _decided(request, Release)


@needs(Role.OPERATOR)
def delete(request: Request) -> Response:
    """Delete an object of the quarantine."""
    return _decided(request, Delete)


def _decided(request: Request, kind: type[Release] | type[Delete]) -> Response:
    context = context_of(request)
    instance = context.ledger.views.instance(_number(request, "instance"))
    if instance is None or instance.status is not InstanceStatus.QUARANTINED:
        raise HTTPException(
            404,
            "That object is not in quarantine (any more): somebody has decided about it.",
        )
    study_id = context.ledger.views.study_id_of(instance.StudyInstanceUID)
    digest = str(form_of(request).get("digest", ""))
    context.desk.ask(kind(instance.id, digest, visitor_of(request).person))
    return _back(study_id or 0)


def _back(study_id: int) -> Response:
    return RedirectResponse(f"/studies/{study_id}", status_code=303)


def _told(request: Request) -> Story:
    told = context_of(request).ledger.views.story(_number(request, "study"))
    if told is None:
        raise HTTPException(404, "The node knows no such study. It may have been another node's, or deleted.")
    return told


def _number(request: Request, name: str) -> int:
    value = str(request.path_params[name])
    if not value.isdecimal() or len(value) > 18:
        raise HTTPException(404)
    return int(value)


def _strength(value: str) -> float | None:
    """Read a strength off a form; "" is the model's own."""
    try:
        strength = float(value) if value.strip() else None
    except ValueError:
        strength = -1.0
    if strength is not None and not 0 <= strength <= 1:
        raise InputError("The strength is no number from 0 to 1. Go back, and give one such as 0.5.")
    return strength


def _values(context: Context, told: Story) -> dict[str, Any]:  # Any: whatever templates take
    line = events(told)
    marked = replace(told.study, last_at=0.0)
    mark = hashlib.sha256(repr((marked, line, told.quarantined)).encode()).hexdigest()[:16]
    held = [(one, context.ledger.received(one.SOPInstanceUID)) for one in told.quarantined]
    return {
        "story": told,
        "study": told.study,
        "events": line,
        "why": _why(context, told, line),
        "mark": mark,
        "held": held,
    }


def _why(context: Context, told: Story, line: list[Event]) -> dict[int, tuple[str, ...]]:
    """Ask the rules of today about an object of each arrival: why it met its fate, in their own words."""
    senders = {group.example: group for group in told.objects}
    found: dict[int, tuple[str, ...]] = {}
    for event in line:
        if event.example is None or len(found) == _MOST_EXPLAINED:
            continue
        instance, group = context.ledger.views.instance(event.example), senders[event.example]
        if instance is None:
            continue
        try:
            with instance.path.open("rb") as file:
                header = read_header(file)
            decision = decide(
                header,
                summarise(header),
                calling_ae=group.calling_ae,
                called_ae=group.called_ae,
                rules=context.settings.rules,
                model=context.settings.model,
            )
        except (InputError, OSError):
            continue  # its file is gone, or was kept as it was because it can't be read
        changed = () if decision.plan.rule == group.rule else ("The rules have changed since it came.",)
        found[event.example] = (*changed, *decision.explanation)
    return found


def _models(context: Context) -> list[tuple[str, float]]:
    """List the models that can be asked for, with their own strengths; broken ones are left out."""
    found = []
    for place in bundle_places(context.settings.model.folder):
        try:
            found.append((place.name, default_strength(place.folder)))
        except BundleError:
            continue
    return found


ROUTES: list[BaseRoute] = [
    Route("/studies/{study}", story, methods=["GET"]),
    Route("/studies/{study}/news", news, methods=["GET"]),
    Route("/studies/{study}/retry", retry, methods=["POST"]),
    Route("/studies/{study}/reprocess", reprocess, methods=["POST"]),
    Route("/quarantine/{instance}/release", release, methods=["POST"]),
    Route("/quarantine/{instance}/delete", delete, methods=["POST"]),
]
