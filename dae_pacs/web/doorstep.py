"""TLS handshakes with patience that ends: who says nothing holds few places, and those not for long.

asyncio waits a minute for a handshake, and uvicorn, which counts connections from their first request on,
has no setting for it. So uvicorn is given a plain listener, and the handshake is ours.
"""

import asyncio
import ssl
from collections import Counter
from collections.abc import Callable
from typing import Any, Final

from dae_pacs.config.web import WebSettings
from dae_pacs.web.connections import is_bounded, share_of

HANDSHAKE_S: Final = 5.0
"""A handshake takes two round trips: under a second over any line that pictures are looked at through."""


def doorstep_of(
    web: WebSettings,
    context: ssl.SSLContext,
    inside: Callable[..., asyncio.Protocol],
    *,
    is_bounded: Callable[[str, frozenset[str]], bool] = is_bounded,
) -> type[asyncio.Protocol]:
    """Make the class that stands before the server's connections and shakes hands with who comes.

    Args:
        web: whose shares and patience hold.
        context: of the handshakes.
        inside: makes the connection that goes on after the handshake; gets what uvicorn says.
        is_bounded: tells whether an address gets its share alone.
    """
    patience_s = min(HANDSHAKE_S, web.request_timeout_s)
    most, proxies = share_of(web), frozenset(web.proxies)
    under_way: Counter[str] = Counter()
    running: set[asyncio.Task[None]] = set()  # the loop itself holds tasks weakly

    class Doorstep(asyncio.Protocol):
        """One connection until its handshake is over."""

        def __init__(self, **said: Any) -> None:  # Any: uvicorn's own, for its connection
            self._said = said
            self._early = bytearray()
            self._is_lost = False

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            peer = transport.get_extra_info("peername")
            address = str(peer[0]) if peer else ""
            is_full = under_way.total() >= web.max_connections
            if is_full or (is_bounded(address, proxies) and under_way[address] >= most):
                transport.abort()
                return
            under_way[address] += 1
            task = asyncio.get_running_loop().create_task(self._shake_hands(transport, address))
            running.add(task)
            task.add_done_callback(running.discard)

        def data_received(self, data: bytes) -> None:
            self._early += data  # came with the handshake's end

        def connection_lost(self, exc: Exception | None) -> None:
            self._is_lost = True

        async def _shake_hands(self, transport: asyncio.Transport, address: str) -> None:
            try:
                async with asyncio.timeout(2 * patience_s):  # a place must come back, whatever asyncio does
                    secured = await asyncio.get_running_loop().start_tls(
                        transport,
                        self,
                        context,
                        server_side=True,
                        ssl_handshake_timeout=patience_s,
                        ssl_shutdown_timeout=patience_s,
                    )
            except OSError:  # too slow, gone, or no TLS that we speak: strangers must not fill the log
                transport.abort()
                return
            finally:
                under_way[address] -= 1
                if not under_way[address]:
                    del under_way[address]
            if secured is not None and not self._is_lost:  # None: it left within the handshake
                self._hand_over(secured)

        def _hand_over(self, secured: asyncio.Transport) -> None:
            connection = inside(**self._said)
            secured.set_protocol(connection)
            connection.connection_made(secured)
            if self._early:
                connection.data_received(bytes(self._early))

    return Doorstep
