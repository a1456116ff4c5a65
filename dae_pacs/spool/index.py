"""Record what arrived, behind the answer: many objects in one transaction, in the order of their arrival.

The durable record of an object is its file, which says itself who sent it and when. The ledger's row is made
from it, here, some tens of milliseconds later; a node that dies in between makes it when it starts. How far
the rows may lag is bounded: beyond that, and while the ledger can't be written, nothing more is taken.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from dae_pacs.errors import SpoolError
from dae_pacs.spool.incoming import IncomingFile
from dae_pacs.spool.records import KeepOutcome, Lag, NewInstance, Plan

_log = logging.getLogger(__name__)

MOST_WAITING: Final = 512
"""Objects that may wait for their rows."""
MOST_WAITING_BYTES: Final = 1 << 30
MOST_LAG_S: Final = 5.0
"""How old the oldest of them may be before receiving waits for it."""
_PATIENCE_S: Final = 5.0
"""How long an object waits for room before it is refused."""
_FAILING_PATIENCE_S: Final = 1.0
"""The same while the ledger can't be written: time for one try."""
_QUIET_S: Final = 0.02
"""A pause of the senders in which rows are written: they stand in nobody's way then."""
_LINGER_S: Final = 0.5
"""How long rows wait for such a pause, or for company."""
_BATCH: Final = 256
_RETRY_S: Final = 0.5
_MOST_TRIES: Final = 5
"""Of an object that fails where others do not; it stays on disk, and the next start tries again."""


@dataclass(eq=False)
class Arrival:
    """One object that is on stable storage, on its way into the ledger."""

    uid: str
    file: IncomingFile
    settle: Callable[[], tuple[NewInstance, Plan]]
    """Moves the file to its final name, and says what to record; safe to repeat."""
    recorded: Callable[[KeepOutcome], None] = lambda _outcome: None
    """Told what came of it, once the row is durable."""
    arrived_at: float = field(default_factory=time.monotonic)
    tries: int = 0
    is_awaited: bool = False
    """Whether its sender waits for what comes of it."""
    outcome: KeepOutcome | None = None
    error: SpoolError | None = None
    done: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True)
class Writes:
    """What the index does to the ledger."""

    keep_all: Callable[[Sequence[tuple[NewInstance, Plan]]], list[KeepOutcome]]
    abandon: Callable[[NewInstance], None]
    association_ended: Callable[[str], None]
    touch: Callable[[], None]
    """Writes something that changes nothing; fails where any write fails."""


class Index:
    """The queue of objects without a row, and the thread that writes the rows."""

    def __init__(self, writes: Writes) -> None:
        self._writes = writes
        self._queue: deque[Arrival | str] = deque()
        """Objects, and names of associations that ended after them."""
        self._in_hand: list[Arrival | str] = []
        self._after: dict[str, Callable[[], None]] = {}
        """What is to be done when an association's end is recorded."""
        self._uids: dict[str, int] = {}
        """SOP Instance UIDs between their arrival and their row, and how many arrivals hold each."""
        self._waiting = 0
        self._waiting_bytes = 0
        self._newest_at = 0.0
        self._changed = threading.Condition()
        self._hurried = 0
        self._failure: SpoolError | None = None
        self._retry_at = 0.0
        self._is_stopping = False
        self._thread: threading.Thread | None = None
        self._listeners: list[Callable[[], None]] = []

    def on_commit(self, listener: Callable[[], None]) -> None:
        """Have a function called after rows were written."""
        self._listeners.append(listener)

    def claim(self, uid: str) -> bool:
        """Announce an object; False where another of its UID is on its way into the ledger."""
        with self._changed:
            count = self._uids.get(uid, 0)
            self._uids[uid] = count + 1
            return count == 0

    def release(self, uid: str) -> None:
        """Take an announcement back, or end it."""
        with self._changed:
            self._release(uid)

    def _release(self, uid: str) -> None:
        count = self._uids.get(uid, 0)
        if count > 1:
            self._uids[uid] = count - 1
        else:
            self._uids.pop(uid, None)

    def await_room(self) -> None:
        """Wait until another object may be taken.

        Raises:
            SpoolError: the ledger can't be written, or does not keep up.
        """
        with self._changed:
            if self._has_room():
                return
            self._hurried += 1
            self._retry_at = 0.0
            self._changed.notify_all()
            try:
                has_room = self._changed.wait_for(
                    self._has_room, _PATIENCE_S if self._failure is None else _FAILING_PATIENCE_S
                )
            finally:
                self._hurried -= 1
            if not has_room:
                raise self._failure or SpoolError(
                    f"The ledger does not keep up: {self._waiting} objects wait for it. "
                    "Check that its disk is healthy; nothing that was acknowledged is lost."
                )

    def _has_room(self) -> bool:
        if self._failure is not None:
            return False
        if not self._waiting:
            return True
        oldest = (self._in_hand or self._queue)[0]
        lag_s = time.monotonic() - oldest.arrived_at if isinstance(oldest, Arrival) else 0.0
        return (
            self._waiting < MOST_WAITING and self._waiting_bytes < MOST_WAITING_BYTES and lag_s < MOST_LAG_S
        )

    def lag(self) -> Lag:
        """Tell how far the rows are behind."""
        with self._changed:
            queued = (*self._in_hand, *self._queue)
            at = next((one.arrived_at for one in queued if isinstance(one, Arrival)), time.monotonic())
            why = "" if self._failure is None else str(self._failure)
            return Lag(self._waiting, self._waiting_bytes, time.monotonic() - at, why)

    def add(self, arrival: Arrival) -> None:
        """Queue an object; its UID is claimed, and is released when the row is there."""
        with self._changed:
            self._queue.append(arrival)
            self._waiting += 1
            self._waiting_bytes += arrival.file.size
            self._newest_at = arrival.arrived_at
            self._keep_running()
            if self._waiting == 1 or arrival.is_awaited:
                self._changed.notify_all()

    def record(self, arrival: Arrival) -> KeepOutcome:
        """Queue an object, and wait for what comes of it.

        Raises:
            SpoolError: it could not be recorded; nothing of it is left.
        """
        arrival.is_awaited = True
        with self._changed:
            if self._is_stopping:
                raise SpoolError("The node is stopping; send the object again.")
            self._hurried += 1
        try:
            self.add(arrival)
            arrival.done.wait()
        finally:
            with self._changed:
                self._hurried -= 1
        if arrival.outcome is None:
            raise arrival.error or SpoolError("an object could not be recorded")
        return arrival.outcome

    def association_ended(self, association: str, *, then: Callable[[], None] = lambda: None) -> None:
        """Note, after all of its objects, that no more come on an association; `then` is called after that.

        Nobody waits: an association that is over must not keep its place while others bring more.
        """
        with self._changed:
            self._after[association] = then
            self._queue.append(association)
            self._keep_running()
            self._changed.notify_all()

    def drain(self, timeout_s: float) -> bool:
        """Wait until everything that was added until now has its row; False where it has not in time.

        What is added meanwhile is not waited for: under load the queue is hardly ever empty.
        """
        with self._changed:
            if not self._queue and not self._in_hand:
                return True
            last = (self._queue or self._in_hand)[-1]  # of those that are there: they go in their order
            self._keep_running()
            self._hurried += 1
            self._changed.notify_all()
            try:
                return self._changed.wait_for(
                    lambda: last not in self._in_hand and last not in self._queue, timeout_s
                )
            finally:
                self._hurried -= 1

    def stop(self, timeout_s: float) -> None:
        """Write what is queued, and end the thread; what can't be written is found at the next start."""
        self.drain(timeout_s)
        with self._changed:
            self._is_stopping = True
            self._changed.notify_all()
            left = [item for item in self._queue if isinstance(item, Arrival)]
        for arrival in left:
            arrival.done.set()
        if left:
            _log.error("objects left without a row until the next start", extra={"count": len(left)})
        if self._thread is not None:
            self._thread.join()

    def keep_running(self) -> None:
        """Start another thread where an error ended the one there was."""
        with self._changed:
            if self._thread is not None and not self._thread.is_alive() and not self._is_stopping:
                _log.critical("index died, starting another")
                self._keep_running()

    def _keep_running(self) -> None:
        if (self._thread is None or not self._thread.is_alive()) and not self._is_stopping:
            self._queue.extendleft(reversed(self._in_hand))
            self._in_hand = []
            self._thread = threading.Thread(target=self._run, name="index", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while self._take():
            self._write()

    def _take(self) -> bool:
        """Wait for a batch, and take it in hand; False when the thread is to end."""
        with self._changed:
            while not self._is_stopping:
                wait_s = self._wait_s()
                if wait_s is not None and wait_s <= 0:
                    while self._queue and len(self._in_hand) < _BATCH:
                        self._in_hand.append(self._queue.popleft())
                    return True
                self._changed.wait(wait_s)
        return False

    def _wait_s(self) -> float | None:
        """Say how long the next batch may wait; None without one."""
        if not self._queue:
            return None
        now = time.monotonic()
        if self._failure is not None:
            return self._retry_at - now
        if self._hurried or len(self._queue) >= _BATCH:
            return 0.0
        oldest = self._queue[0]
        oldest_at = oldest.arrived_at if isinstance(oldest, Arrival) else now - _LINGER_S
        return min(self._newest_at + _QUIET_S, oldest_at + _LINGER_S) - now

    def _write(self) -> None:
        """Write what is in hand, in its order; what could not be written goes back to the queue."""
        run: list[Arrival] = []
        failure: SpoolError | None = None
        for item in list(self._in_hand):
            if isinstance(item, Arrival):
                run.append(item)
                continue
            failure = self._write_run(run) or self._end(item)
            run = []
            if failure is not None:
                break
        failure = failure or self._write_run(run)
        self._note(failure)
        with self._changed:
            self._queue.extendleft(reversed(self._in_hand))
            self._in_hand = []
            self._changed.notify_all()
        for listener in self._listeners:
            listener()

    def _note(self, failure: SpoolError | None) -> None:
        if failure is not None and self._failure is None:
            why = {"why": str(failure)}
            _log.error("ledger not writable: nothing more is taken until it is", extra=why)
        elif failure is None and self._failure is not None:
            _log.warning("ledger writable again")
        self._failure = failure
        self._retry_at = time.monotonic() + _RETRY_S

    def _end(self, association: str) -> SpoolError | None:
        try:
            self._writes.association_ended(association)
        except SpoolError as error:
            return error
        with self._changed:
            self._in_hand.remove(association)
            then = self._after.pop(association, None)
        if then is not None:
            then()
        return None

    def _write_run(self, run: list[Arrival]) -> SpoolError | None:
        """Write objects in one transaction or, where that fails, each by itself; gives what is in the way."""
        failure: SpoolError | None = None
        items: list[tuple[Arrival, NewInstance, Plan]] = []
        for arrival in run:
            try:
                items.append((arrival, *arrival.settle()))
            except (SpoolError, OSError, MemoryError) as error:
                refusal = error if isinstance(error, SpoolError) else _in_words(error)
                if not self._gives_up(arrival, refusal, is_hopeless=not arrival.file.path.exists()):
                    failure = refusal
        if not items:
            return failure
        try:
            outcomes = self._writes.keep_all([(new, plan) for _arrival, new, plan in items])
        except SpoolError:
            return self._write_each(items) or failure
        for (arrival, _new, _plan), outcome in zip(items, outcomes, strict=True):
            self._finish(arrival, outcome)
        return failure

    def _write_each(self, items: list[tuple[Arrival, NewInstance, Plan]]) -> SpoolError | None:
        failed: list[tuple[Arrival, SpoolError]] = []
        for arrival, new, plan in items:
            try:
                self._finish(arrival, self._writes.keep_all([(new, plan)])[0])
            except SpoolError as error:
                if arrival.is_awaited:
                    with suppress(SpoolError):
                        self._writes.abandon(new)
                failed.append((arrival, error))
        is_healthy = len(failed) < len(items) or self._is_writable()
        left = [
            error for arrival, error in failed if not self._gives_up(arrival, error, is_hopeless=is_healthy)
        ]
        return None if is_healthy or not left else left[0]

    def _is_writable(self) -> bool:
        with suppress(SpoolError):
            self._writes.touch()
            return True
        return False

    def _gives_up(self, arrival: Arrival, error: SpoolError, *, is_hopeless: bool) -> bool:
        """End the tries of an object whose sender can try again, or that fails where others do not."""
        arrival.tries += 1
        if arrival.is_awaited:
            arrival.error = error
        elif is_hopeless and arrival.tries >= _MOST_TRIES:
            _log.critical("object without a row until the next start", extra={"why": str(error)})
        else:
            return False
        self._finish(arrival, None)
        return True

    def _finish(self, arrival: Arrival, outcome: KeepOutcome | None) -> None:
        arrival.outcome = outcome
        if outcome is not None:
            arrival.recorded(outcome)
        with self._changed:
            self._in_hand.remove(arrival)
            self._waiting -= 1
            self._waiting_bytes -= arrival.file.size
            self._release(arrival.uid)
        arrival.done.set()


def _in_words(error: OSError | MemoryError) -> SpoolError:
    finding = error.strerror if isinstance(error, OSError) else "no memory left"
    return SpoolError(
        f"A received object could not be moved to its place: {finding or type(error).__name__}. "
        "It is safe where it is, and is moved as soon as that goes; check the spool's disk."
    )
