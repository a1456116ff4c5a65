"""What every answer says to browsers, and which hosts are answered at all."""

import socket
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dae_pacs.config.web import WebSettings, is_loopback

CONTENT_SECURITY_POLICY: Final = (
    "default-src 'self'; img-src 'self' blob: data:; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'"
)
_ALWAYS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
HEADERS_BYTES: Final = 16384
"""A request's address and headers together; browsers send about 1 kB."""
_A_YEAR_OF_TLS: Final = "max-age=31536000"


class Guard:
    """Refuses foreign hosts, and puts the headers on every answer."""

    def __init__(self, app: ASGIApp, *, web: WebSettings) -> None:
        self._app = app
        self._hosts = known_hosts(web)
        self._is_secure = web.is_secure

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _ALWAYS.items():
                    headers.setdefault(name, value)
                headers.setdefault("Cache-Control", "no-store")
                if self._is_secure:
                    headers.setdefault("Strict-Transport-Security", _A_YEAR_OF_TLS)
            await send(message)

        if _length_of(scope) > HEADERS_BYTES:
            answer = PlainTextResponse("This request's address and headers are too long.\n", status_code=431)
            await answer(scope, receive, send_with_headers)
            return
        if host_of(Headers(scope=scope).getlist("host")) not in self._hosts:
            words = "This is not the console of that host. Name it in web.hosts, or use another address.\n"
            answer = PlainTextResponse(words, status_code=421)
            await answer(scope, receive, send_with_headers)
            return
        await self._app(scope, receive, send_with_headers)


def _length_of(scope: Scope) -> int:
    """Say how long a request's first line and headers are; the server bounds them only while they come."""
    headers = sum(len(name) + len(value) for name, value in scope["headers"])
    return headers + len(scope.get("raw_path") or b"") + len(scope["query_string"])


def known_hosts(web: WebSettings) -> frozenset[str]:
    """List the hosts that the console answers for."""
    names = {"localhost", "127.0.0.1", "::1", web.bind, *web.hosts}
    if not is_loopback(web.bind):
        names |= {socket.gethostname(), socket.getfqdn()}
    if web.url:
        names.add(urlsplit(web.url).hostname or "")
    return frozenset(name.lower().strip("[]") for name in names if name)


def host_of(said: list[str]) -> str:
    """Take the host out of a request's Host headers; "" where there is none, or more than one."""
    if len(said) != 1:
        return ""
    value = said[0].lower()
    if value.startswith("["):
        return value[1:].partition("]")[0]
    return value.partition(":")[0]
