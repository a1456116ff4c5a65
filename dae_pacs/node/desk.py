"""The node's side of the console's desk: requests come through a pipe, a few threads answer them.

A request that fails tells its asker so, in words, and harms nobody else. The console gets no more of the
node than these threads: when all are at work, its next request waits. What calls another machine, which may
take its time to answer, has threads of its own, and never holds up the rest.
"""

import logging
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing.connection import Connection

from dae_pacs.errors import DaePacsError, ServiceError
from dae_pacs.node.answers import Answer
from dae_pacs.node.asking import ConsoleEnded
from dae_pacs.privacy import where

logger = logging.getLogger(__name__)

THREADS = 4
"""Answers that are made at a time; each is short, and the ledger has one writer anyway."""
CALLS = 4
"""Requests at a time that call another machine (they say so: `calls_others`); one more is refused."""


@dataclass(frozen=True)
class Asked:
    """A request on its way, with the number under which its answer comes back."""

    number: int
    request: object


@dataclass(frozen=True)
class Answered:
    """What came of a request: an answer, or the error that is raised again on the other side."""

    number: int
    answer: object = None
    error: type[DaePacsError] | None = None
    words: str = ""
    """Of the error."""


class NodeDesk:
    """Answers what comes through pipes, until it is closed; a pipe that ends was a console that ended."""

    def __init__(self, answers: Mapping[type, Answer]) -> None:
        self._answers = answers
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="desk")
        self._free_calls = threading.BoundedSemaphore(CALLS)

    def serve(self, pipe: Connection) -> None:
        """Answer what comes through a pipe, in a thread of its own, until it ends."""
        threading.Thread(target=self._serve, args=(pipe,), name="desk", daemon=True).start()

    def close(self) -> None:
        """Answer nothing more, and wait for what is being answered; not for calls to other machines."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _serve(self, pipe: Connection) -> None:
        lock = threading.Lock()
        while True:
            try:
                asked: Asked = pipe.recv()
                if getattr(asked.request, "calls_others", False):
                    self._start_call(asked, pipe, lock)
                else:
                    self._start_reply(asked, pipe, lock)
            except (EOFError, OSError):  # the console is closed
                break
        if ConsoleEnded in self._answers:
            self._answer(Asked(0, ConsoleEnded()))

    def _start_reply(self, asked: Asked, pipe: Connection, lock: threading.Lock) -> None:
        """Answer in one of the pool's threads; a request that gets none is told so, and never carried out."""
        taken = threading.Lock()

        def reply() -> None:
            if taken.acquire(blocking=False):
                self._reply(asked, pipe, lock)

        try:
            self._pool.submit(reply)
        except RuntimeError:  # closed, or the system gives no more threads: then the pool still holds it
            if taken.acquire(blocking=False):
                words = "The node is stopping, or has no thread to spare; nothing was done. Try again."
                self._send(_failed(asked, words, ServiceError), pipe, lock)

    def _start_call(self, asked: Asked, pipe: Connection, lock: threading.Lock) -> None:
        """Answer in a thread that the node's end does not wait for, as it would for a pool's."""
        if not self._free_calls.acquire(blocking=False):
            words = "Other machines are being called already, as many as at a time; try again in a minute."
            self._send(_failed(asked, words, ServiceError), pipe, lock)
            return
        try:
            threading.Thread(target=self._call, args=(asked, pipe, lock), name="call", daemon=True).start()
        except RuntimeError:  # the system gives no more threads
            self._free_calls.release()
            self._send(
                _failed(asked, "The node has no thread to spare; try again.", ServiceError), pipe, lock
            )

    def _call(self, asked: Asked, pipe: Connection, lock: threading.Lock) -> None:
        try:
            self._reply(asked, pipe, lock)
        finally:
            self._free_calls.release()

    def _reply(self, asked: Asked, pipe: Connection, lock: threading.Lock) -> None:
        self._send(self._answer(asked), pipe, lock)

    def _send(self, answered: Answered, pipe: Connection, lock: threading.Lock) -> None:
        try:
            with lock:
                pipe.send(answered)
        except OSError:
            logger.debug("the console ended before its answer")

    def _answer(self, asked: Asked) -> Answered:
        kind = type(asked.request)
        answer = self._answers.get(kind)
        if answer is None:
            return _failed(asked, f"The node knows no answer to {kind.__name__}.")
        try:
            return Answered(asked.number, answer(asked.request))
        except DaePacsError as error:
            return _failed(asked, str(error), type(error))
        except OSError as error:
            return _failed(asked, f"The node could not do it: {error.strerror or type(error).__name__}.")
        # Whatever it is: answers read strangers' data sets and draw from them. The pool would swallow it, and
        # its asker wait in vain.
        except Exception as error:  # noqa: BLE001
            fields = {"request": kind.__name__, "error": type(error).__name__}
            logger.error(  # noqa: TRY400  its words may quote a patient
                "request of the console failed unexpectedly",
                extra=fields | {"where": where(error.__traceback__)},
            )
            return _failed(asked, f"Unexpected {type(error).__name__}; the node's log has the details.")


def _failed(asked: Asked, words: str, error: type[DaePacsError] = DaePacsError) -> Answered:
    return Answered(asked.number, error=error, words=words)
