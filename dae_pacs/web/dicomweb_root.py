"""Where DICOMweb lies below the console's address, and what its paths hold."""

import re
from typing import Final

from starlette.requests import Request

from dae_pacs.errors import RequestError
from dae_pacs.web.context import context_of

ROOT: Final = "/dicom-web"
_UID: Final = re.compile(r"[0-9.]{1,64}")


def root_url(request: Request) -> str:
    """Say the service's root, as the one who asks reaches it."""
    web = context_of(request).settings.web
    if web.url:
        return web.url + ROOT
    base = request.base_url
    _, port = request.scope.get("server") or ("", None)
    if base.port is None and port is not None and not web.proxies:
        base = base.replace(port=port)  # dicomweb-client leaves the port out of its Host header
    return str(base).rstrip("/") + ROOT


def checked_uid(value: str) -> str:
    """Give a UID of a path.

    Raises:
        RequestError: it is none (PS3.5 9.1).
    """
    if not _UID.fullmatch(value):
        raise RequestError("the path holds a UID that is none; UIDs are digits and dots, 64 at most")
    return value
