"""The first page: what the node does now, live."""

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from dae_pacs.errors import PeerError
from dae_pacs.node.acting import Echo
from dae_pacs.node.asking import WhoAreYou
from dae_pacs.web import snapshot
from dae_pacs.web.context import Context, context_of
from dae_pacs.web.live import Live
from dae_pacs.web.pages import render
from dae_pacs.web.role import Role
from dae_pacs.web.roles import needs, visitor_of

_ECHO_PATIENCE_S = 60.0
"""More than a peer's own time-outs come to, by default."""


def live_of(context: Context) -> Live:
    """Make the source of the page's news."""

    def look() -> dict[str, object]:
        taken = snapshot.take(context)
        return {**snapshot.rendered(context, taken), "chart": snapshot.chart_of(taken)}

    return Live(look)


@needs(Role.VIEWER)
def overview(request: Request) -> Response:
    """Show the page as it is now; its script keeps it so."""
    context = context_of(request)
    taken = snapshot.take(context)
    return render(
        request,
        "overview.html.j2",
        about=context.desk.ask(WhoAreYou()),
        parts=snapshot.rendered(context, taken),
        chart=snapshot.chart_of(taken),
    )


@needs(Role.VIEWER)
async def live(request: Request) -> Response:
    """Send what changes on the first page, for a minute."""
    stream = request.app.state.live.stream()
    headers = {"X-Accel-Buffering": "no"}  # nginx would hold the news back
    return StreamingResponse(stream, media_type="text/event-stream", headers=headers)


@needs(Role.OPERATOR)
def echo(request: Request) -> Response:
    """Ask a destination whether it is there, and say what it answers."""
    name = str(request.path_params["name"])
    try:
        seconds = context_of(request).desk.ask(
            Echo(name, visitor_of(request).person), timeout_s=_ECHO_PATIENCE_S
        )
    except PeerError as error:
        return _said(request, name, str(error), tone="bad")
    return _said(request, name, f"answers after {seconds * 1000:.0f} ms.", tone="ok")


def _said(request: Request, name: str, words: str, *, tone: str) -> Response:
    if "hx-request" not in request.headers:
        return PlainTextResponse(f"{name}: {words}\n")
    return render(request, "overview/echo.html.j2", name=name, words=words, tone=tone)


ROUTES: list[BaseRoute] = [
    Route("/", overview, methods=["GET"]),
    Route("/live", live, methods=["GET"]),
    Route("/destinations/{name}/echo", echo, methods=["POST"]),
]
