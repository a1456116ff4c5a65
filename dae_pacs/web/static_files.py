"""The route of static files."""

from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from dae_pacs.web.context import context_of
from dae_pacs.web.role import Role
from dae_pacs.web.roles import needs

_A_YEAR: Final = "public, max-age=31536000, immutable"
_ASK_EACH_TIME: Final = "no-cache"
"""For what scripts import from each other, without a version in the address."""


@needs(Role.PUBLIC)
def static(request: Request) -> Response:
    """Give one file."""
    asset = context_of(request).assets.by_path.get(request.path_params["path"])
    if asset is None:
        raise HTTPException(404)
    is_pinned = request.query_params.get("v") == asset.version
    headers = {"ETag": f'"{asset.version}"', "Cache-Control": _A_YEAR if is_pinned else _ASK_EACH_TIME}
    if request.headers.get("if-none-match") == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    return Response(asset.body, media_type=asset.media_type, headers=headers)


ROUTES: list[BaseRoute] = [Route("/static/{path:path}", static, methods=["GET"])]
