"""Log in and out."""

import secrets

from starlette.datastructures import URL
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from dae_pacs.web.context import Context, context_of
from dae_pacs.web.doorman import address_of, cookie_name, seeded_token
from dae_pacs.web.pages import render
from dae_pacs.web.role import Role
from dae_pacs.web.roles import form_of, known_visitor, needs

_FORM_COOKIE_S = 3600
_LONGEST_FIELD = 512


@needs(Role.PUBLIC)
def ask(request: Request) -> Response:
    """Show the log-in page."""
    if known_visitor(request) is not None:
        return RedirectResponse(_next(request.query_params.get("next", "")), status_code=303)
    return _form(request, name="", wrong="", target=request.query_params.get("next", ""))


@needs(Role.PUBLIC)
def enter(request: Request) -> Response:
    """Take name and password, and begin a session."""
    context, form = context_of(request), form_of(request)
    name, password = (str(form.get(field, ""))[:_LONGEST_FIELD] for field in ("name", "password"))
    account = context.accounts.verified(name, password)
    if account is None:
        return _form(request, name=name, wrong="Name or password is wrong.", target=str(form.get("next", "")))
    token = context.sessions.begin(
        account.name, account.role, stamp=account.stamp, address=address_of(request)
    )
    response = RedirectResponse(_next(str(form.get("next", ""))), status_code=303)
    set_cookie(response, context, token)
    return response


@needs(Role.VIEWER)
def leave(request: Request) -> Response:
    """End the session."""
    context = context_of(request)
    context.sessions.end(request.cookies.get(cookie_name(context.settings), ""))
    response = RedirectResponse("/login", status_code=303)
    response.delete_cookie(
        cookie_name(context.settings), secure=context.settings.web.is_secure, httponly=True
    )
    response.headers["Clear-Site-Data"] = '"cache"'
    return response


def set_cookie(response: Response, context: Context, token: str) -> None:
    """Hand out the cookie of a session; it ends with the browser, the session itself before."""
    response.set_cookie(
        cookie_name(context.settings),
        token,
        httponly=True,
        secure=context.settings.web.is_secure,
        samesite="strict",
        path="/",
    )


def _form(request: Request, *, name: str, wrong: str, target: str) -> Response:
    context = context_of(request)
    cookie = cookie_name(context.settings, kind="form")
    seed = request.cookies.get(cookie) or secrets.token_urlsafe(24)
    response = render(
        request,
        "login.html.j2",
        status=401 if wrong else 200,
        name=name,
        wrong=wrong,
        target=target,
        form_csrf=seeded_token(context, seed),
        has_accounts=bool(context.accounts.all()),
        provider=context.settings.oidc.label if context.settings.oidc.issuer else None,
    )
    response.set_cookie(
        cookie,
        seed,
        max_age=_FORM_COOKIE_S,
        httponly=True,
        secure=context.settings.web.is_secure,
        samesite="strict",
        path="/",
    )
    return response


def _next(target: str) -> str:
    """Take where to go from what a stranger may have written: a path of ours, and nothing else."""
    url = URL(target)
    is_ours = target.startswith("/") and not target.startswith(("//", "/\\")) and not url.netloc
    return url.path if is_ours else "/"


ROUTES: list[BaseRoute] = [
    Route("/login", ask, methods=["GET"]),
    Route("/login", enter, methods=["POST"]),
    Route("/logout", leave, methods=["POST"]),
]
