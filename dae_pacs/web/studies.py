"""Search for studies. What is searched for comes in the body, never in an address: those are written down."""

from collections.abc import Mapping
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from dae_pacs.spool.search import Question, State
from dae_pacs.web.context import context_of
from dae_pacs.web.pages import render
from dae_pacs.web.role import Role
from dae_pacs.web.roles import form_of, needs

_LONGEST: Final = 64
"""Characters; no identifier of DICOM has more (PS3.5 6.2)."""


@needs(Role.VIEWER)
def studies(request: Request) -> Response:
    """Show the latest studies; a state may be asked for in the address, since it tells of nobody."""
    return _answered(request, Question(state=_state(request.query_params.get("state", ""))))


@needs(Role.VIEWER)
def found(request: Request) -> Response:
    """Show what a search finds: the table alone for a script, the page otherwise."""
    form = {name: value for name, value in form_of(request).items() if isinstance(value, str)}
    return _answered(request, _question(form))


def _answered(request: Request, question: Question) -> Response:
    answer = context_of(request).ledger.views.search(question)
    template = "studies/found.html.j2" if "hx-request" in request.headers else "studies.html.j2"
    return render(request, template, question=question, answer=answer, states=list(State))


def _question(form: Mapping[str, str]) -> Question:
    text = {name: value.strip()[:_LONGEST] for name, value in form.items()}
    return Question(
        words=text.get("words", ""),
        modality=text.get("modality", ""),
        description=text.get("description", ""),
        date_from=_date(text.get("date_from", "")),
        date_to=_date(text.get("date_to", "")),
        state=_state(text.get("state", "")),
        after=text.get("after", ""),
    )


def _date(value: str) -> str:
    """Turn what a date field sends (YYYY-MM-DD) into a DA of DICOM; "" for anything else."""
    digits = value.replace("-", "")
    return digits if len(digits) == 8 and digits.isdecimal() else ""


def _state(value: str) -> State | None:
    return State(value) if value in set(State) else None


ROUTES: list[BaseRoute] = [
    Route("/studies", studies, methods=["GET"]),
    Route("/studies", found, methods=["POST"]),
]
