"""One target of audit messages: a thread that delivers, and a backlog on the disk for when it can't.

Whoever records a message waits for nothing: no association feels a full disk or a dead receiver.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from dae_pacs.audit.backlog import Backlog
from dae_pacs.audit.entry import Entry

logger = logging.getLogger(__name__)

_IN_MEMORY: Final = 10_000
"""Messages on their way to the target or the backlog; some megabytes."""
_BATCH: Final = 500
_FIRST_PAUSE_S: Final = 1.0
_LONGEST_PAUSE_S: Final = 60.0
_LOOK_S: Final = 5.0
"""How often the backlog is looked at for what other processes left in it."""
_ALARM_S: Final = 300.0
"""A target that stays away is complained of so often."""


class Target(Protocol):
    """Where messages go: `AuditFile` or `Syslog`."""

    def deliver(self, entries: Sequence[Entry]) -> None:
        """Deliver messages, in order.

        Raises:
            OSError: they were not delivered, or may not have been.
        """
        ...

    def close(self) -> None:
        """Let go of what is held open."""
        ...


class Outlet:
    """Delivers messages in the order in which they were recorded, those of the backlog first."""

    def __init__(
        self, name: str, target: Target, backlog: Backlog, *, words_for_lost: Callable[[int], Entry]
    ) -> None:
        """Start the thread.

        Args:
            name: what the log calls the target.
            target: where messages go.
            backlog: keeps what the target does not take.
            words_for_lost: makes the message that says how many were lost.
        """
        self._name = name
        self._target = target
        self._backlog = backlog
        self._words_for_lost = words_for_lost
        self._fresh: deque[Entry] = deque()
        self._changed = threading.Condition()
        self._is_closing = False
        self._lost = 0
        self._failures = 0
        self._next_try = 0.0
        self._next_alarms: dict[str, float] = {}
        self._thread = self._started()

    def _started(self) -> threading.Thread:
        thread = threading.Thread(target=self._run, name=f"audit {self._name}", daemon=True)
        thread.start()
        return thread

    def put(self, entry: Entry) -> None:
        """Take a message; never waits for the target."""
        with self._changed:
            if len(self._fresh) < _IN_MEMORY:
                self._fresh.append(entry)
            else:
                self._lost += 1
            if not self._thread.is_alive() and not self._is_closing:
                logger.critical("audit thread died, starting another", extra={"target": self._name})
                self._thread = self._started()
            self._changed.notify()

    def close(self, *, timeout_s: float) -> None:
        """Deliver what is at hand or put it into the backlog, then end."""
        with self._changed:
            self._is_closing = True
            self._changed.notify()
        self._thread.join(timeout_s)
        self._target.close()

    def _run(self) -> None:
        while True:
            with self._changed:
                if not self._fresh and not self._is_closing:
                    self._changed.wait(self._patience_s())
                fresh = [self._fresh.popleft() for _ in range(min(_BATCH, len(self._fresh)))]
                is_last = self._is_closing and not self._fresh
            try:
                kept = self._handle(fresh, is_last=is_last)
            except BaseException:
                with self._changed:
                    self._lost += len(fresh)
                raise
            if kept:  # not even the backlog had room: they stay in memory, as far as that reaches
                self._put_back(kept)
            if is_last:
                if kept:
                    logger.critical(
                        "audit messages lost at the stop", extra={"target": self._name, "lost": len(kept)}
                    )
                return
            if kept:
                self._pause()

    def _patience_s(self) -> float:
        """How long to wait for the next message: no longer than to the next try of what failed."""
        if not self._failures:
            return _LOOK_S
        return min(_LOOK_S, max(0.05, self._next_try - time.monotonic()))

    def _handle(self, fresh: list[Entry], *, is_last: bool) -> list[Entry]:
        """Deliver, or put into the backlog; gives back what went to neither."""
        # Who stops does not wait for a target that was away a moment ago.
        may_try = time.monotonic() >= self._next_try and not (is_last and self._failures)
        if may_try and self._empty_backlog() and self._deliver(fresh):
            self._tell_of_lost()
            return []
        return self._set_aside(fresh) if fresh else []

    def _deliver(self, entries: list[Entry]) -> bool:
        if not entries:
            return True
        try:
            self._target.deliver(entries)
        except OSError as error:
            self._note_failure(error)
            return False
        if self._failures:
            logger.warning("audit trail goes on", extra={"target": self._name})
        self._failures, self._next_try = 0, 0.0
        self._next_alarms.clear()
        return True

    def _empty_backlog(self) -> bool:
        """Deliver what waits on the disk, oldest first; True when nothing waits any more."""
        try:
            while waiting := self._backlog.waiting(_BATCH):
                if not self._deliver([entry for _, entry in waiting]):
                    return False
                for path, _ in waiting:
                    self._backlog.done(path)
        except OSError as error:
            # What is new may go out all the same.
            self._alarm(logging.ERROR, "audit queue can't be read", _why(error))
        return True

    def _set_aside(self, entries: list[Entry]) -> list[Entry]:
        try:
            overflow = self._backlog.put(entries)
        except OSError as error:
            self._alarm(logging.ERROR, "audit queue can't be written; messages wait in memory", _why(error))
            return entries  # some of them may be in the backlog, too: twice is harmless
        if overflow:
            with self._changed:
                self._lost += len(overflow)
            self._alarm(logging.CRITICAL, "audit messages are being lost", "the queue is full")
        return []

    def _put_back(self, entries: list[Entry]) -> None:
        with self._changed:
            room = max(0, _IN_MEMORY - len(self._fresh))
            self._fresh.extendleft(reversed(entries[:room]))
            self._lost += max(0, len(entries) - room)

    def _pause(self) -> None:
        with self._changed:
            if not self._is_closing:
                self._changed.wait_for(lambda: self._is_closing, _FIRST_PAUSE_S)

    def _tell_of_lost(self) -> None:
        with self._changed:
            lost, self._lost = self._lost, 0
        if lost and not self._deliver([self._words_for_lost(lost)]):
            with self._changed:
                self._lost += lost

    def _note_failure(self, error: OSError) -> None:
        self._failures += 1
        pause_s = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2 ** min(self._failures - 1, 6))
        self._next_try = time.monotonic() + pause_s
        self._alarm(logging.ERROR, "audit trail can't be written; messages wait on the disk", _why(error))

    def _alarm(self, level: int, words: str, why: str) -> None:
        """Say what is wrong, but not again and again."""
        now = time.monotonic()
        if now >= self._next_alarms.get(words, 0.0):
            self._next_alarms[words] = now + _ALARM_S
            logger.log(level, words, extra={"target": self._name, "why": why})


def _why(error: OSError) -> str:
    return error.strerror or type(error).__name__
