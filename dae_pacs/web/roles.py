"""Every handler says who may use it: `@needs(Role.OPERATOR)`. A test walks all routes for one that does not.

The declaration is also what bounds the request's body, finds out who asks, and refuses what was sent by a
page that is not ours (CSRF).
"""

import inspect
from collections.abc import Awaitable, Callable
from typing import Final, Literal, TypeVar, cast
from urllib.parse import quote

from python_multipart.multipart import parse_options_header
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.responses import RedirectResponse, Response

from dae_pacs.web.bodies import FORM_BYTES, bounded
from dae_pacs.web.context import context_of
from dae_pacs.web.doorman import CSRF_FIELD, CSRF_HEADER, Visitor, by_cookie, by_header, is_csrf_token
from dae_pacs.web.role import Role
from dae_pacs.web.turns import busy

Handler = Callable[[Request], Response] | Callable[[Request], Awaitable[Response]]
Endpoint = Callable[[Request], Awaitable[Response]]
By = Literal["session", "header"]

_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_FORMS: Final = ("application/x-www-form-urlencoded", "multipart/form-data")
_UTF_8: Final = (b"utf-8", b"utf8")
_MOST_FIELDS: Final = 100
_DECLARED: Final = "needed_role"

Declared = TypeVar("Declared", bound=Handler)


def needs(
    role: Role, *, by: By = "session", most_bytes: int | None = FORM_BYTES, at_once: int | None = None
) -> Callable[[Handler], Endpoint]:
    """Declare who may use a handler.

    A plain function runs in a thread, a coroutine in the event loop. Forms are read before it is called:
    `form_of`. Who asks: `visitor_of`.

    Args:
        role: the least that is needed; PUBLIC for everybody.
        by: `session`: people, by their cookie. `header`: programs, by Authorization; people's sessions
            serve there too, for reading.
        most_bytes: the longest body that is taken; None for any.
        at_once: how many requests are taken at a time, one more is refused unread; None for any number.
    """

    def declare(handler: Handler) -> Endpoint:
        under_way = 0

        async def endpoint(request: Request) -> Response:
            nonlocal under_way
            context = context_of(request)
            request = bounded(
                request, most_bytes=most_bytes, silence_s=context.settings.web.request_timeout_s
            )
            visitor = await run_in_threadpool(_recognised, request, by)
            request.state.visitor = visitor
            if role > Role.PUBLIC and (visitor is None or visitor.role < role):
                return _turned_away(request, visitor, by=by, role=role)
            if by == "header" and (visitor is None or visitor.session is None):
                return await _called(handler, request)  # no cookie, so no page can ask in somebody's name
            if at_once is not None and under_way >= at_once:
                raise busy()
            under_way += 1
            try:
                return await _with_form(handler, request)
            finally:
                under_way -= 1

        endpoint.__name__ = getattr(handler, "__name__", "endpoint")
        endpoint.__doc__ = handler.__doc__
        vars(endpoint)[_DECLARED] = role
        return endpoint

    return declare


def declared_role(endpoint: object) -> Role | None:
    """Say which role a route's endpoint was declared with; None: it was not."""
    role = getattr(endpoint, _DECLARED, None)
    return role if isinstance(role, Role) else None


def visitor_of(connection: HTTPConnection) -> Visitor:
    """Say who asks, in a handler that needs a role."""
    visitor = known_visitor(connection)
    if visitor is None:
        raise HTTPException(401)
    return visitor


def known_visitor(connection: HTTPConnection) -> Visitor | None:
    """Say who asks, also where anybody may; None for a stranger."""
    visitor = getattr(connection.state, "visitor", None)
    return visitor if isinstance(visitor, Visitor) else None


def form_of(request: Request) -> FormData:
    """Give the form that came with a request; empty where none did."""
    form = getattr(request.state, "form", None)
    return form if isinstance(form, FormData) else FormData()


def _recognised(request: Request, by: By) -> Visitor | None:
    if by == "header" and "authorization" in request.headers:
        return by_header(request)
    visitor = by_cookie(request)
    if by == "header" and request.method not in _SAFE:
        return None  # programs say who they are; a session must not be borrowed for this
    return visitor


async def _called(handler: Handler, request: Request) -> Response:
    if inspect.iscoroutinefunction(handler):
        return cast(Response, await handler(request))
    return cast(Response, await run_in_threadpool(handler, request))


async def _with_form(handler: Handler, request: Request) -> Response:
    """Read the form, see that it is ours, and call the handler."""
    if request.method in _SAFE:
        return await _called(handler, request)
    said = request.headers.get(CSRF_HEADER)
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() not in _FORMS:
        _refuse_foreign(request, said or "")
        return await _called(handler, request)
    if said is not None:
        _refuse_foreign(request, said)  # before the body is read
    _refuse_other_charsets(request)
    form = await request.form(max_files=_MOST_FIELDS, max_fields=_MOST_FIELDS)
    try:
        _refuse_foreign(request, said if said is not None else str(form.get(CSRF_FIELD, "")))
        request.state.form = form
        return await _called(handler, request)
    finally:
        await form.close()


def _refuse_other_charsets(request: Request) -> None:
    """Refuse a charset that no browser sends; to decode some of Python's takes minutes (punycode)."""
    kind, options = parse_options_header(request.headers.get("content-type"))
    if kind == b"multipart/form-data" and options.get(b"charset", b"utf-8").lower() not in _UTF_8:
        raise HTTPException(415, "Forms are read in UTF-8 alone.")


def _refuse_foreign(request: Request, said: str) -> None:
    site = request.headers.get("sec-fetch-site", "same-origin")
    if site not in {"same-origin", "none"} or not is_csrf_token(request, said):
        raise HTTPException(
            403, "This did not come from a page of this console, or that page is too old. Load it again."
        )


def _turned_away(request: Request, visitor: Visitor | None, *, by: By, role: Role) -> Response:
    if visitor is not None:
        raise HTTPException(
            403, f"This needs the role {role.label}, and you are here as {visitor.role.label}."
        )
    if by == "header":
        challenge = 'Basic realm="dae-pacs", charset="UTF-8"'
        raise HTTPException(401, "Say who you are.", headers={"WWW-Authenticate": challenge})
    if "hx-request" in request.headers:
        return Response(status_code=401, headers={"HX-Redirect": "/login"})
    if "text/html" in request.headers.get("accept", ""):
        path = request.url.path if request.method in _SAFE else "/"
        target = "/login" if path == "/" else f"/login?next={quote(path, safe='/')}"
        return RedirectResponse(target, status_code=303)
    raise HTTPException(401, "Log in first.")
