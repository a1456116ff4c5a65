"""To the identity provider, and back."""

import hmac
from typing import TYPE_CHECKING, Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from dae_pacs.audit.events import Person
from dae_pacs.errors import DaePacsError, InputError, TooManyTriesError
from dae_pacs.node.asking import Authenticated
from dae_pacs.web.context import Context, context_of
from dae_pacs.web.doorman import address_of, cookie_name, too_many
from dae_pacs.web.login import login_page, next_page, set_cookie
from dae_pacs.web.pages import render
from dae_pacs.web.role import Role
from dae_pacs.web.roles import needs

if TYPE_CHECKING:
    from dae_pacs.web.provider import Known, Provider

CALLBACK: Final = "/login/callback"
_PROVIDERS_NAME: Final = "provider"
_COOKIE_S: Final = 600
_NOT_BEGUN: Final = "This log-in was begun in another browser, or too long ago. Begin again."


@needs(Role.PUBLIC)
def leave_for_provider(request: Request) -> Response:
    """Send somebody to the provider."""
    context = context_of(request)
    try:
        url, state = _provider(context).begin(
            next_page(request.query_params.get("next", "")), address=address_of(request)
        )
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
    address, provider = address_of(request), _provider(context)
    if not _was_begun(request, provider):  # no log-in that failed: anybody can write such an address
        return login_page(request, wrong=_NOT_BEGUN, status=403)
    try:
        known = context.gate.enter_by_provider(address, lambda: _finished(request, provider))
    except TooManyTriesError as error:
        raise too_many(error) from error
    except DaePacsError as error:
        return login_page(request, wrong=str(error), status=403)
    token = context.sessions.begin(known.name, known.role, stamp=None, address=address)
    context.gate.tell(Authenticated(Person(known.name, address), "login"))
    # A page of ours, and no redirect: strict cookies don't travel on one that began elsewhere.
    response = render(request, "onward.html.j2", target=next_page(known.target))
    set_cookie(response, context, token)
    response.delete_cookie(cookie_name(context.settings, kind=_PROVIDERS_NAME))
    return response


def _was_begun(request: Request, provider: "Provider") -> bool:
    """Tell whether this browser went to the provider from here, and has not come back yet."""
    held = request.cookies.get(cookie_name(context_of(request).settings, kind=_PROVIDERS_NAME), "")
    state = request.query_params.get("state", "")
    return hmac.compare_digest(held.encode(), state.encode()) and provider.expects(state)


def _finished(request: Request, provider: "Provider") -> "Known":
    code = request.query_params.get("code", "")
    if not code:
        raise InputError("The provider let nobody in.")
    return provider.finish(state=request.query_params["state"], code=code)


def _provider(context: Context) -> "Provider":
    if context.provider is None:
        raise HTTPException(404)
    return context.provider


ROUTES: list[BaseRoute] = [
    Route("/login/provider", leave_for_provider, methods=["GET"]),
    Route(CALLBACK, come_back, methods=["GET"]),
]
