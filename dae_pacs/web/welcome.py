"""The first page: what the node is."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from dae_pacs.node.asking import WhoAreYou
from dae_pacs.web.context import context_of
from dae_pacs.web.pages import render
from dae_pacs.web.role import Role
from dae_pacs.web.roles import needs


@needs(Role.VIEWER)
def welcome(request: Request) -> Response:
    """Show what the node is, and what it holds."""
    context = context_of(request)
    about = context.desk.ask(WhoAreYou())
    return render(request, "welcome.html.j2", about=about, counts=context.ledger.counts())


ROUTES: list[BaseRoute] = [Route("/", welcome, methods=["GET"])]
