"""Log in and out."""

import secrets
from typing import Final

from starlette.datastructures import URL
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from dae_pacs.errors import TooManyTriesError
from dae_pacs.node.asking import Authenticated
from dae_pacs.web.context import Context, context_of
from dae_pacs.web.doorman import address_of, cookie_name, seeded_token, too_many
from dae_pacs.web.gate import Try, browser_cookie
from dae_pacs.web.pages import render
from dae_pacs.web.role import Role
from dae_pacs.web.roles import form_of, known_visitor, needs, visitor_of

_FORM_COOKIE_S: Final = 3600
_BROWSER_COOKIE_S: Final = 90 * 86400
_LONGEST_FIELD: Final = 512


@needs(Role.PUBLIC)
def ask(request: Request) -> Response:
    """Show the log-in page."""
    target = request.query_params.get("next", "")
    if known_visitor(request) is not None:
        return RedirectResponse(next_page(target), status_code=303)
    return login_page(request, target=target)


@needs(Role.PUBLIC)
def enter(request: Request) -> Response:
    """Take name and password, and begin a session."""
    context, form = context_of(request), form_of(request)
    name, password = (str(form.get(field, ""))[:_LONGEST_FIELD] for field in ("name", "password"))
    target = str(form.get("next", ""))
    browser = request.cookies.get(cookie_name(context.settings, kind="browser"), "")
    try:
        account = context.gate.enter(Try(name, password, address_of(request), browser))
    except TooManyTriesError as error:
        refused = too_many(error)
        response = login_page(request, name=name, wrong=refused.detail, target=target, status=429)
        response.headers.update(refused.headers or {})
        return response
    if account is None:
        wrong = "Name or password is wrong."
        return login_page(request, name=name, wrong=wrong, target=target, status=401)
    token = context.sessions.begin(
        account.name, account.role, stamp=account.stamp, address=address_of(request)
    )
    response = RedirectResponse(next_page(target), status_code=303)
    set_cookie(response, context, token)
    set_cookie(response, context, browser_cookie(account), kind="browser", most_s=_BROWSER_COOKIE_S)
    return response


@needs(Role.VIEWER)
def leave(request: Request) -> Response:
    """End the session."""
    context = context_of(request)
    context.sessions.end(request.cookies.get(cookie_name(context.settings), ""))
    context.gate.tell(Authenticated(visitor_of(request).person, "logout"))
    response = RedirectResponse("/login", status_code=303)
    response.delete_cookie(
        cookie_name(context.settings), secure=context.settings.web.is_secure, httponly=True
    )
    response.headers["Clear-Site-Data"] = '"cache"'
    return response


def set_cookie(
    response: Response, context: Context, value: str, *, kind: str = "session", most_s: int | None = None
) -> None:
    """Hand out a cookie that no script reads and no other site makes a browser send.

    Args:
        response: takes it along.
        context: names it.
        value: what it holds.
        kind: which of ours it is.
        most_s: how long a browser keeps it; None until it is closed.
    """
    response.set_cookie(
        cookie_name(context.settings, kind=kind),
        value,
        max_age=most_s,
        httponly=True,
        secure=context.settings.web.is_secure,
        samesite="strict",
        path="/",
    )


def login_page(
    request: Request, *, target: str = "", name: str = "", wrong: str = "", status: int = 200
) -> Response:
    """Make the log-in page.

    Args:
        request: asks for it.
        target: the path to go to afterwards.
        name: what was typed there.
        wrong: why the last try failed.
        status: of the answer.
    """
    context = context_of(request)
    seed = request.cookies.get(cookie_name(context.settings, kind="form")) or secrets.token_urlsafe(24)
    response = render(
        request,
        "login.html.j2",
        status=status,
        name=name,
        wrong=wrong,
        target=target,
        form_csrf=seeded_token(context, seed),
        has_accounts=bool(context.accounts.all()),
        provider=context.settings.oidc.label if context.settings.oidc.issuer else None,
    )
    set_cookie(response, context, seed, kind="form", most_s=_FORM_COOKIE_S)
    return response


def next_page(target: str) -> str:
    """Take where to go from what a stranger may have written: a path of ours, and nothing else."""
    try:
        url = URL(target)
        is_elsewhere = bool(url.netloc)
    except ValueError:  # "[" begins an IPv6 address that does not end
        return "/"
    is_ours = target.startswith("/") and not target.startswith(("//", "/\\")) and not is_elsewhere
    return url.path if is_ours else "/"


ROUTES: list[BaseRoute] = [
    Route("/login", ask, methods=["GET"]),
    Route("/login", enter, methods=["POST"]),
    Route("/logout", leave, methods=["POST"]),
]
