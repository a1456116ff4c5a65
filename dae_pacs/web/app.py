"""The application: all routes, and what stands before and behind them."""

import logging
from http import HTTPStatus

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute

from dae_pacs.errors import DaePacsError, InputError, LedgerError, ServiceError, SpoolError, SpoolFullError
from dae_pacs.privacy import where
from dae_pacs.web import (
    account_pages,
    dicomweb,
    health,
    login,
    metrics,
    models,
    overview,
    provider_pages,
    rules,
    static_files,
    story,
    studies,
)
from dae_pacs.web.context import Context
from dae_pacs.web.headers import Guard
from dae_pacs.web.look import routes as look
from dae_pacs.web.pages import render
from dae_pacs.web.roles import known_visitor

logger = logging.getLogger(__name__)


def routes() -> list[BaseRoute]:
    """Gather the routes of all pages; the first that fits a path has it."""
    return [
        *static_files.ROUTES,
        *login.ROUTES,
        *health.ROUTES,
        *metrics.ROUTES,
        *provider_pages.ROUTES,
        *account_pages.ROUTES,
        *dicomweb.ROUTES,
        *overview.ROUTES,
        *studies.ROUTES,
        *story.ROUTES,
        *rules.ROUTES,
        *models.ROUTES,
        *look.ROUTES,
    ]


def create_app(context: Context) -> Starlette:
    """Make the application."""
    app = Starlette(
        routes=routes(),
        middleware=[Middleware(Guard, web=context.settings.web)],
        exception_handlers={
            HTTPException: _refused,
            DaePacsError: _failed,
            ClientDisconnect: _broken_off,
            Exception: _unexpected,
        },
    )
    app.router.redirect_slashes = False
    app.state.context = context
    app.state.live = overview.live_of(context)
    return app


def _refused(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise TypeError from error
    status = HTTPStatus(error.status_code)
    words = error.detail if error.detail != status.phrase else _WORDS.get(error.status_code, status.phrase)
    return _told(request, status, words, headers=dict(error.headers or {}))


def _failed(request: Request, error: Exception) -> Response:
    if isinstance(error, SpoolError) and known_visitor(request) is None:
        logger.error("page failed for a stranger", extra={"why": str(error)})
        return _told(request, HTTPStatus.SERVICE_UNAVAILABLE, _NOT_NOW)  # its words may hold a path
    match error:
        case InputError():
            status = HTTPStatus.BAD_REQUEST
        case ServiceError() | SpoolFullError() | LedgerError():
            status = HTTPStatus.SERVICE_UNAVAILABLE
        case SpoolError() if request.method in {"GET", "HEAD"}:  # who reads is in conflict with nothing
            status = HTTPStatus.SERVICE_UNAVAILABLE
        case _:
            status = HTTPStatus.CONFLICT
    return _told(request, status, str(error))


def _broken_off(_request: Request, _error: Exception) -> Response:
    """Answer a body that ended before its end; whoever sent it is gone, and no more is to be said."""
    return Response(status_code=HTTPStatus.BAD_REQUEST)


def _unexpected(request: Request, error: Exception) -> Response:
    fields = {"error": type(error).__name__, "where": where(error.__traceback__)}
    logger.error("page failed unexpectedly", extra=fields)  # its words may quote a patient
    return _told(
        request, HTTPStatus.INTERNAL_SERVER_ERROR, "A mistake of ours; the node's log has the details."
    )


def _told(
    request: Request, status: HTTPStatus, words: str, *, headers: dict[str, str] | None = None
) -> Response:
    """Answer in the form that the asker reads: a page for a browser, a part for a script, else plain text."""
    response: Response
    if "hx-request" in request.headers:
        response = render(request, "trouble_part.html.j2", status=status, title=status.phrase, words=words)
    elif "text/html" in request.headers.get("accept", ""):
        response = render(request, "trouble.html.j2", status=status, title=status.phrase, words=words)
    else:
        response = PlainTextResponse(f"{words}\n", status_code=status)
    response.headers.update(headers or {})
    return response


_NOT_NOW = "The node can't read what this needs; its log says why."
_WORDS = {
    404: "There is nothing here of that name; it may have been deleted.",
    405: "That can't be done with this address.",
    400: "That was not understood.",
}
