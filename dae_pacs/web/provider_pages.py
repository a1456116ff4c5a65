"""To the identity provider, and back."""

import hmac
from typing import TYPE_CHECKING, Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from dae_pacs.audit.events import Person
from dae_pacs.errors import DaePacsError, InputError
from dae_pacs.node.asking import Authenticated
from dae_pacs.web.context import Context, context_of
from dae_pacs.web.doorman import address_of, cookie_name
from dae_pacs.web.gate import UNKNOWN
from dae_pacs.web.login import login_page, next_page, set_cookie
from dae_pacs.web.pages import render
from dae_pacs.web.role import Role
from dae_pacs.web.roles import needs

if TYPE_CHECKING:
    from dae_pacs.web.provider import Known, Provider

CALLBACK: Final = "/login/callback"
_PROVIDERS_NAME: Final = "provider"
_COOKIE_S: Final = 600


@needs(Role.PUBLIC)
def leave_for_provider(request: Request) -> Response:
    """Send somebody to the provider."""
    context = context_of(request)
    try:
        url, state = _provider(context).begin(next_page(request.query_params.get("next", "")))
    except DaePacsError as error:
        return login_page(request, wrong=str(error), status=503)
    response = RedirectResponse(url, status_code=303)
    # Lax: it has to come along when the provider sends the browser back.
    response.set_cookie(
        cookie_name(context.settings, kind=_PROVIDERS_NAME),
        state,
        max_age=_COOKIE_S,
        httponly=True,
        secure=context.settings.web.is_secure,
        samesite="lax",
        path="/",
    )
    return response


@needs(Role.PUBLIC)
def come_back(request: Request) -> Response:
    """Take what the provider sent along, and begin a session."""
    context = context_of(request)
    address = address_of(request)
    try:
        known = _finished(request, context)
    except DaePacsError as error:
        failed = Authenticated(Person(UNKNOWN, address), "login", "the provider's word did not hold")
        context.gate.tell(failed)
        return login_page(request, wrong=str(error), status=403)
    token = context.sessions.begin(known.name, known.role, stamp=None, address=address)
    context.gate.tell(Authenticated(Person(known.name, address), "login"))
    # A page of ours, and no redirect: strict cookies don't travel on one that began elsewhere.
    response = render(request, "onward.html.j2", target=next_page(known.target))
    set_cookie(response, context, token)
    response.delete_cookie(cookie_name(context.settings, kind=_PROVIDERS_NAME))
    return response


def _finished(request: Request, context: Context) -> "Known":
    held = request.cookies.get(cookie_name(context.settings, kind=_PROVIDERS_NAME), "")
    state, code = (request.query_params.get(name, "") for name in ("state", "code"))
    if not held or not hmac.compare_digest(held.encode(), state.encode()):
        raise InputError("This log-in was begun in another browser, or too long ago. Begin again.")
    if not code:
        raise InputError("The provider let nobody in.")
    return _provider(context).finish(state=state, code=code)


def _provider(context: Context) -> "Provider":
    if context.provider is None:
        raise HTTPException(404)
    return context.provider


ROUTES: list[BaseRoute] = [
    Route("/login/provider", leave_for_provider, methods=["GET"]),
    Route(CALLBACK, come_back, methods=["GET"]),
]
