"""`/healthz`: this process lives. `/readyz`: the node receives, computes, delivers; each with its reason."""

from dataclasses import asdict
from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from dae_pacs.node.health import UNREACHABLE, Health, State, health_of
from dae_pacs.web.context import Context, context_of
from dae_pacs.web.figures import ask_figures, read_backlog
from dae_pacs.web.role import Role
from dae_pacs.web.roles import needs


def look(context: Context) -> Health:
    """Say how the node is now."""
    figures = ask_figures(context)
    if figures is None:
        return UNREACHABLE
    return health_of(figures, read_backlog(context), context.settings)


@needs(Role.PUBLIC)
def healthz(_request: Request) -> Response:
    """Say that this process lives; of the node it says nothing."""
    return JSONResponse({"state": State.READY})


@needs(Role.PUBLIC)
def readyz(request: Request) -> Response:
    """Say how each part of the node is; 503 where one is down."""
    health = look(context_of(request))
    told = {"state": health.state, **{name: asdict(part) for name, part in health.parts.items()}}
    return JSONResponse(told, status_code=_status(health.state))


@needs(Role.PUBLIC)
def readyz_part(request: Request) -> Response:
    """Say how one part is; 503 where it is down."""
    part = look(context_of(request)).parts.get(request.path_params["part"])
    if part is None:
        raise HTTPException(404, "There are receive, compute and deliver.")
    return JSONResponse(asdict(part), status_code=_status(part.state))


def _status(state: State) -> HTTPStatus:
    return HTTPStatus.SERVICE_UNAVAILABLE if state is State.DOWN else HTTPStatus.OK


ROUTES: list[BaseRoute] = [
    Route("/healthz", healthz),
    Route("/readyz", readyz),
    Route("/readyz/{part}", readyz_part),
]
