"""Make pages from templates."""

from typing import Final

from starlette.requests import Request
from starlette.responses import HTMLResponse

from dae_pacs import __version__
from dae_pacs.web.context import context_of
from dae_pacs.web.doorman import csrf_token
from dae_pacs.web.role import Role
from dae_pacs.web.roles import known_visitor

NAVIGATION: Final = (
    ("/", "Overview", Role.VIEWER),
    ("/studies", "Studies", Role.VIEWER),
    ("/rules", "Rules", Role.VIEWER),
    ("/models", "Models", Role.VIEWER),
    ("/accounts", "Accounts", Role.ADMINISTRATOR),
)
"""The places of every page's head: path, label, and the least role that sees it."""


def render(request: Request, template: str, *, status: int = 200, **values: object) -> HTMLResponse:
    """Make a page, or a part of one, from a template of web/templates.

    Beside `values` every template has `visitor` (None for a stranger), `nav`, `csrf`, `path`, `ae_title`,
    `version` and `status`.
    """
    context = context_of(request)
    visitor = known_visitor(request)
    nav = [(place, label) for place, label, role in NAVIGATION if visitor and visitor.role >= role]
    text = context.templates.get_template(template).render(
        visitor=visitor,
        nav=nav,
        csrf=csrf_token(request),
        path=request.url.path,
        ae_title=context.settings.node.ae_title,
        version=__version__,
        status=int(status),
        **values,
    )
    return HTMLResponse(text, status_code=status)
