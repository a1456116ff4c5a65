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
    base = context_of(request).settings.web.url or str(request.base_url).rstrip("/")
    return base + ROOT


def checked_uid(value: str) -> str:
    """Give a UID of a path.

    Raises:
        RequestError: it is none (PS3.5 9.1).
    """
    if not _UID.fullmatch(value):
        raise RequestError("the path holds a UID that is none; UIDs are digits and dots, 64 at most")
    return value
