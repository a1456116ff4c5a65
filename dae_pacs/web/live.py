"""What changes by itself, sent to everybody who looks: one look a second, made once; none while nobody does.

A stream ends after a minute and is asked for anew by the page, so that a session that is over ends it, too.
"""

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Final

from starlette.concurrency import run_in_threadpool

from dae_pacs.errors import DaePacsError

logger = logging.getLogger(__name__)

EVERY_S: Final = 1.0
STREAM_S: Final = 60.0
_SILENCE_S: Final = 15.0
"""After so long without news a comment is sent, so that no proxy takes the stream for dead."""

Look = Callable[[], Mapping[str, object]]
"""Gives the page's parts by name; runs in a thread."""


class Live:
    """One source of news and any number of streams; lives in the event loop of one process."""

    def __init__(self, look: Look) -> None:
        self._look = look
        self._now: dict[str, object] = {}
        self._news: dict[str, object] = {}
        """What is new in the last look."""
        self._number = 0
        self._viewers = 0
        self._changed = asyncio.Condition()
        self._task: asyncio.Task[None] | None = None
        self.looks = 0
        """Since the start; stands still while nobody looks."""

    async def stream(self) -> AsyncIterator[str]:
        """Give all parts at once, then those that change, as server-sent events (HTML, 9.2)."""
        ends_at = time.monotonic() + STREAM_S
        self._viewers += 1
        try:
            if self._task is None or self._task.done():
                self._task = asyncio.create_task(self._run())
            seen = 0
            while time.monotonic() < ends_at:
                told = await self._next(seen)
                if told is None:
                    yield ": still here\n\n"
                    continue
                is_next = bool(seen) and self._number == seen + 1
                seen = self._number
                news = self._news if is_next else self._now
                if news:
                    yield f"data: {json.dumps(news)}\n\n"
        finally:
            self._viewers -= 1

    async def _next(self, seen: int) -> int | None:
        try:
            async with self._changed:
                await asyncio.wait_for(
                    self._changed.wait_for(lambda: self._number > seen and bool(self._now)), _SILENCE_S
                )
                return self._number
        except TimeoutError:
            return None

    async def _run(self) -> None:
        """Look once a second while anybody does."""
        while self._viewers:
            started = time.monotonic()
            try:
                now = dict(await run_in_threadpool(self._look))
            except DaePacsError as error:  # a ledger that is locked for a while; the next look may work
                logger.warning("no look at the node", extra={"why": str(error)})
                now = self._now
            self.looks += 1
            self._news = {name: part for name, part in now.items() if self._now.get(name) != part}
            self._now = now
            self._number += 1
            async with self._changed:
                self._changed.notify_all()
            await asyncio.sleep(max(0.0, EVERY_S - (time.monotonic() - started)))
        self._now, self._news = {}, {}  # whoever comes next sees that moment, not this one
