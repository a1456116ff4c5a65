"""The console's side of its desk: ask the node, and wait for what it says. For any thread."""

import itertools
import threading
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import TypeVar

from dae_pacs.errors import DaePacsError, ServiceError
from dae_pacs.node.asking import Request
from dae_pacs.node.desk import Answered, Asked

PATIENCE_S = 10.0
"""Most answers take milliseconds; a ledger that another process has locked takes longer."""

Answer = TypeVar("Answer")


@dataclass
class _Waiting:
    """One who asked, until there is an answer."""

    is_there: threading.Event = field(default_factory=threading.Event)
    answered: Answered | None = None


class Desk:
    """Asks the node through one pipe; somebody must call `listen`, which ends when the node ends."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._waiting: dict[int, _Waiting] = {}
        self._is_closed = False

    def ask(self, request: Request[Answer], *, timeout_s: float = PATIENCE_S) -> Answer:
        """Ask the node for something.

        Raises:
            DaePacsError: what the node raised, in its words and of its class.
            ServiceError: the node does not answer, or is gone.
        """
        waiting = _Waiting()
        with self._lock:
            if self._is_closed:
                raise ServiceError("The node has ended; nothing can be asked of it.")
            number = next(self._numbers)
            self._waiting[number] = waiting
            try:
                self._pipe.send(Asked(number, request))
            except OSError as error:
                del self._waiting[number]
                raise ServiceError("The node has ended; nothing can be asked of it.") from error
        waiting.is_there.wait(timeout_s)
        with self._lock:
            self._waiting.pop(number, None)
        return _opened(waiting.answered, request.answer, timeout_s)

    def listen(self) -> None:
        """Take the node's answers until its end of the pipe is closed."""
        try:
            while True:
                answered: Answered = self._pipe.recv()
                with self._lock:
                    waiting = self._waiting.get(answered.number)
                if waiting is not None:
                    waiting.answered = answered
                    waiting.is_there.set()
        except (EOFError, OSError):
            with self._lock:
                self._is_closed = True
                for waiting in self._waiting.values():
                    waiting.is_there.set()


def _opened(answered: Answered | None, kind: type[Answer], timeout_s: float) -> Answer:
    if answered is None:
        raise ServiceError(
            f"The node did not answer within {timeout_s:.0f} s. What was asked may still be done: look again."
        )
    if answered.error is not None:
        try:
            error = answered.error(answered.words)
        except TypeError:  # one that wants more than words
            error = DaePacsError(answered.words)
        raise error
    if not isinstance(answered.answer, kind):
        raise ServiceError(f"The node's answer is no {kind.__name__}: console and node differ in version.")
    return answered.answer
