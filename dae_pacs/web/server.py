"""The HTTP server: opens the port, and serves the application until the node's end of the pipe is closed."""

import logging
import os
import signal
import socket
import sys
import threading
from multiprocessing.connection import Connection

import uvicorn

from dae_pacs.config.model import Settings
from dae_pacs.config.web import WebSettings
from dae_pacs.errors import DaePacsError, ServiceError
from dae_pacs.node.asking import Listening
from dae_pacs.web.app import create_app
from dae_pacs.web.connections import connections_of
from dae_pacs.web.context import open_context
from dae_pacs.web.desk import Desk
from dae_pacs.web.doorstep import doorstep_of
from dae_pacs.web.headers import HEADERS_BYTES
from dae_pacs.web.tls import tls_of

logger = logging.getLogger(__name__)

KEEP_ALIVE_S = 15
BACKLOG = 128
_LAST_ANSWERS_S = 2


def serve(pipe: Connection, settings: Settings) -> None:
    """Serve until the node closes the pipe; ends the process with 3 where that can't be done."""
    desk = Desk(pipe)
    try:
        listener = listen(settings.web)
        context = open_context(settings, desk)
        config = _config(create_app(context), settings.web)
    except DaePacsError as error:
        logger.error("console can't start", extra={"why": str(error)})  # noqa: TRY400  words, no traceback
        sys.exit(3)
    server = uvicorn.Server(config)
    http = threading.Thread(target=_run, args=(server, listener), name="http", daemon=True)
    http.start()
    desk_told = Listening(address_of(settings.web, listener))
    threading.Thread(target=desk.ask, args=(desk_told,), name="tell-address", daemon=True).start()
    try:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        desk.listen()
    finally:
        server.should_exit = True
        http.join(_LAST_ANSWERS_S + 1)
        os._exit(0)


def _run(server: uvicorn.Server, listener: socket.socket) -> None:
    try:
        server.run([listener])
    finally:
        if not server.should_exit:  # it failed; without it, this process is of no use
            os._exit(4)


def listen(web: WebSettings) -> socket.socket:
    """Open the console's port.

    Raises:
        ServiceError: it is taken, or the address is not this machine's.
    """
    family = socket.AF_INET6 if ":" in web.bind else socket.AF_INET
    try:
        return socket.create_server((web.bind, web.port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise ServiceError(
            f"Console: can't listen on {web.bind} port {web.port} ({error.strerror or error}). Free the "
            "port, or set web.port and web.bind to others; the node itself runs on."
        ) from error


def address_of(web: WebSettings, listener: socket.socket) -> str:
    """Say where people reach the console."""
    if web.url:
        return web.url
    host, port = listener.getsockname()[:2]
    host = f"[{host}]" if ":" in host else host
    return f"{'https' if web.certificate else 'http'}://{host}:{port}"


def _config(app: object, web: WebSettings) -> uvicorn.Config:
    inside, context = connections_of(web), tls_of(web)
    config = uvicorn.Config(
        app,  # type: ignore[arg-type]  # uvicorn spells the types of ASGI out, Starlette does not
        http=inside if context is None else doorstep_of(web, context, inside),
        ws="none",
        loop="asyncio",
        lifespan="off",
        log_config=None,
        access_log=False,  # paths may say which study was looked at
        server_header=False,
        proxy_headers=bool(web.proxies),
        forwarded_allow_ips=list(web.proxies),
        limit_concurrency=web.max_connections,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=_LAST_ANSWERS_S,
        h11_max_incomplete_event_size=HEADERS_BYTES,
    )
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)  # strangers must not be able to fill the log
    return config
