"""`/metrics`: the node's figures for Prometheus; the page comes whatever became of the node."""

import ipaddress
import logging
import os
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from prometheus_client.core import CollectorRegistry, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from dae_pacs.dimse import certificates
from dae_pacs.errors import ConfigError, SpoolError
from dae_pacs.node.processes import process
from dae_pacs.spool.files import Room
from dae_pacs.web.context import Context, context_of
from dae_pacs.web.exposition import Seen, families, samples_of
from dae_pacs.web.figures import ask_figures, read_backlog
from dae_pacs.web.role import Role
from dae_pacs.web.roles import needs

logger = logging.getLogger(__name__)

_FORWARDED: Final = ("x-forwarded-for", "forwarded", "via")
"""Headers of reverse proxies: who comes through one is not on this machine, whatever the address says."""


class _Once(Collector):
    """Gives prometheus-client what was seen."""

    def __init__(self, seen: Seen) -> None:
        self._seen = seen

    def collect(self) -> Iterable[Metric]:
        """Give every metric that there is a value for."""
        return families(samples_of(self._seen))


@needs(Role.PUBLIC)
def metrics(request: Request) -> Response:
    """Give all figures, to this machine itself or to who shows the token."""
    context = context_of(request)
    settings = context.settings.metrics
    if not settings.enabled:
        raise HTTPException(404)
    if not (is_local(request) or _shows_token(request, settings.token_file)):
        raise HTTPException(
            401,
            "From another machine, metrics need the token of metrics.token_file.",
            headers={"WWW-Authenticate": 'Bearer realm="dae-pacs metrics"'},
        )
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Once(look(context)))
    encode, content_type = choose_encoder(request.headers.get("accept", ""))
    return Response(encode(registry), media_type=content_type)


def look(context: Context) -> Seen:
    """Learn all that can be learnt now."""
    return Seen(
        figures=ask_figures(context),
        backlog=read_backlog(context),
        room=_room(context),
        minimum_free_bytes=context.settings.node.minimum_free_mb * 1_000_000,
        web=process(os.getpid()),
        certificates=_own_certificates(context),
    )


def is_local(request: Request) -> bool:
    """Tell whether a request comes from this machine, and through no proxy."""
    if request.client is None or any(name in request.headers for name in _FORWARDED):
        return False
    try:
        return ipaddress.ip_address(request.client.host).is_loopback
    except ValueError:
        return False


def _shows_token(request: Request, token_file: Path | None) -> bool:
    scheme, _, shown = request.headers.get("authorization", "").partition(" ")
    if token_file is None or scheme.lower() != "bearer":
        return False
    try:
        token = token_file.read_bytes().strip()
    except OSError as error:
        logger.warning("token of the metrics not readable", extra={"error": error.strerror or str(error)})
        return False
    return bool(token) and secrets.compare_digest(token, shown.strip().encode())


def _room(context: Context) -> Room | None:
    try:
        return context.files.room()
    except SpoolError:
        return None


def _own_certificates(context: Context) -> dict[str, float]:
    path = context.settings.web.certificate
    if path is None:
        return {}
    try:
        return {"console": min(one.not_after.timestamp() for one in certificates.read(path))}
    except ConfigError:  # the server itself says what is wrong with it
        return {}


ROUTES: list[BaseRoute] = [Route("/metrics", metrics)]
