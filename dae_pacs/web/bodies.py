"""Bodies of requests come with a bound on their size, and on the silence within them."""

import asyncio
import time
from collections.abc import MutableMapping
from typing import Any, Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import Receive

FORM_BYTES: Final = 256_000
"""More than any form of ours holds."""
SLOWEST_BYTES_PER_S: Final = 1000
"""A body that trickles in more slowly than any network does holds a connection for no good."""


def bounded(request: Request, *, most_bytes: int | None, silence_s: float) -> Request:
    """Give the request with its body bounded; a body that is announced too long is refused unread.

    Args:
        request: whose body nobody has read yet.
        most_bytes: None takes as many as come.
        silence_s: how long the next part may take.

    Raises:
        HTTPException: 413 at once; 413 and 408 also while the body is read.
    """
    announced = request.headers.get("content-length", "")
    if most_bytes is not None and announced.isdecimal() and int(announced) > most_bytes:
        raise _too_long(most_bytes)
    return Request(request.scope, _bounded(request.receive, most_bytes, silence_s))


def _bounded(receive: Receive, most_bytes: int | None, silence_s: float) -> Receive:
    taken = 0
    is_whole = False
    began = time.monotonic()

    async def part() -> MutableMapping[str, Any]:  # Any: ASGI's messages
        nonlocal taken, is_whole
        if is_whole:  # from now on, only the end of the connection can come
            return await receive()
        try:
            message = await asyncio.wait_for(receive(), silence_s)
        except TimeoutError:
            raise _too_slow(f"Nothing came for {silence_s:.0f} s.") from None
        taken += len(message.get("body", b""))
        is_whole = not message.get("more_body", False)
        if most_bytes is not None and taken > most_bytes:
            raise _too_long(most_bytes)
        if not is_whole and taken < SLOWEST_BYTES_PER_S * (time.monotonic() - began - silence_s):
            raise _too_slow(f"Less than {SLOWEST_BYTES_PER_S} bytes came in a second.")
        return message

    return part


def _too_slow(words: str) -> HTTPException:
    return HTTPException(408, words, headers={"Connection": "close"})


def _too_long(most_bytes: int) -> HTTPException:
    return HTTPException(
        413, f"This is longer than the {most_bytes / 1e6:g} MB taken here.", headers={"Connection": "close"}
    )
