"""Connections with patience that ends: headers come in time, answers are taken, nobody takes all the places.

uvicorn waits for ever for the first request of a connection, and for the rest of its headers; and it reads
the body of a request that was refused to its end, however long that is.
"""

import asyncio
import ipaddress
from typing import Final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from dae_pacs.config.web import WebSettings
from dae_pacs.web.bodies import SLOWEST_BYTES_PER_S

_SHARE: Final = 4
"""One address gets this fraction of all connections, unless it is this machine's or a proxy's."""
_LEAST_SHARE: Final = 20
"""A browser opens six; a hospital's people may share an address."""

UNREAD_BYTES: Final = 1_000_000
UNREAD_S: Final = 2.0
"""What is still taken of a body whose request was answered without it, so that the answer is seen."""


def connections_of(web: WebSettings) -> type[asyncio.Protocol]:
    """Make the class of the server's connections."""
    most = share_of(web)
    unbounded = frozenset(web.proxies)

    class Connection(H11Protocol):
        """One connection."""

        _deadline: asyncio.TimerHandle | None = None
        _unread_bytes = 0
        _taking: asyncio.TimerHandle | None = None
        _untaken_bytes = 0

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            if self._is_one_too_many():
                transport.abort()
            else:
                self._wait()

        def data_received(self, data: bytes) -> None:
            if self._is_unread():  # the rest of a body that was answered already
                self._unread_bytes += len(data)
                if self._unread_bytes > UNREAD_BYTES:
                    self.transport.abort()
                    return
            elif not self._is_answering():
                self._wait()
            super().data_received(data)
            if self._is_answering():
                self._wait_no_more()

        def pause_writing(self) -> None:
            super().pause_writing()
            self._watch_taker()

        def resume_writing(self) -> None:
            self._watch_taker_no_more()
            super().resume_writing()

        def connection_lost(self, exc: Exception | None) -> None:
            self._wait_no_more()
            self._watch_taker_no_more()
            super().connection_lost(exc)

        def on_response_complete(self) -> None:
            super().on_response_complete()
            if self._is_unread():
                self.loop.call_later(UNREAD_S, self._end_unread)

        def _is_unread(self) -> bool:
            return not self._is_answering() and self.conn.their_state is h11.SEND_BODY

        def _end_unread(self) -> None:
            if self._is_unread():
                self.transport.abort()

        def _is_answering(self) -> bool:
            return self.cycle is not None and not self.cycle.response_complete

        def _wait(self) -> None:
            """Give the headers of the next request their time, from its first byte on."""
            if self._deadline is None:
                self._deadline = self.loop.call_later(web.request_timeout_s, self.transport.abort)

        def _wait_no_more(self) -> None:
            if self._deadline is not None:
                self._deadline.cancel()
                self._deadline = None

        def _watch_taker(self) -> None:
            """Give up an answer that is not taken: it holds a place, a file, perhaps a copy on the disk."""
            self._untaken_bytes = self.transport.get_write_buffer_size()
            self._taking = self.loop.call_later(web.request_timeout_s, self._look_at_taker)

        def _look_at_taker(self) -> None:
            taken = self._untaken_bytes - self.transport.get_write_buffer_size()
            if taken < SLOWEST_BYTES_PER_S * web.request_timeout_s:
                self.transport.abort()
            else:
                self._watch_taker()

        def _watch_taker_no_more(self) -> None:
            if self._taking is not None:
                self._taking.cancel()
                self._taking = None

        def _is_one_too_many(self) -> bool:
            if self.client is None or not is_bounded(self.client[0], unbounded):
                return False
            callers = [getattr(one, "client", None) for one in self.connections]
            return [caller[0] for caller in callers if caller].count(self.client[0]) > most

    return Connection


def share_of(web: WebSettings) -> int:
    """Say how many connections one address gets."""
    return max(_LEAST_SHARE, web.max_connections // _SHARE)


def is_bounded(address: str, unbounded: frozenset[str]) -> bool:
    """Tell whether an address gets its share of connections alone."""
    if address in unbounded:
        return False
    try:
        return not ipaddress.ip_address(address).is_loopback
    except ValueError:
        return True
