"""The process of everything that the node says over HTTP: spawned beside the node, watched, started again.

It has no say in receiving: it can be killed at any moment, and the node goes on. Nothing here imports the
web framework, which only the spawned process holds.
"""

import logging
import multiprocessing
import os
import signal
import time
from collections.abc import Mapping
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

from dae_pacs.config.model import Settings
from dae_pacs.log import configure
from dae_pacs.node.answers import Answer
from dae_pacs.node.asking import Listening
from dae_pacs.node.child import die_with_the_node
from dae_pacs.node.desk import NodeDesk
from dae_pacs.privacy import log_crashes, seal_process

logger = logging.getLogger(__name__)

NICENESS = 10
"""The receiving process and the worker go first (nice(2)); measured in benchmarks/console.py."""
FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 60.0
"""Between a console's end and the next one; each that ends at once doubles it."""
STEADY_S = 30.0
"""A console that lived this long starts the pauses anew."""
STOP_GRACE_S = 3.0


class WebProcess:
    """Owns the console's process: `start`, `keep_running` every second or so, `stop`."""

    def __init__(self, settings: Settings, answers: Mapping[type, Answer]) -> None:
        self._settings = settings
        self._desk = NodeDesk({**answers, Listening: self._listening})
        self._process: BaseProcess | None = None
        self._pipe: Connection | None = None
        self._started_at = 0.0
        self._pause_s = FIRST_PAUSE_S
        self._next_at = 0.0
        self.url: str | None = None
        """Where it is reached; None until it has told us."""

    @property
    def pid(self) -> int | None:
        """Process id, None while there is none."""
        return self._process.pid if self._process is not None else None

    def start(self) -> None:
        """Spawn the process, and return at once; what can't be started leaves nothing behind.

        Raises:
            OSError: the system has no process, file or memory to give.
            RuntimeError: it has no thread to give.
        """
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_run, args=(theirs, self._settings), name="console", daemon=True)
        try:
            process.start()
            if process.pid is not None:
                with suppress(OSError):  # it may have ended already
                    os.setpriority(os.PRIO_PROCESS, process.pid, NICENESS)  # from its imports on
            self._desk.serve(ours)
        except (OSError, RuntimeError):
            ours.close()
            if process.pid is not None:
                process.kill()
                process.join()
            raise
        finally:
            theirs.close()
        self._process, self._pipe, self._started_at = process, ours, time.monotonic()

    def keep_running(self) -> None:
        """Start a process where there is none, after a pause that grows while they end or do not start."""
        now = time.monotonic()
        if self._process is not None and not self._process.is_alive():
            if now - self._started_at > STEADY_S:
                self._pause_s = FIRST_PAUSE_S
            fields = {"exit_code": self._process.exitcode, "again_in_s": self._pause_s}
            logger.error("console ended, the node goes on", extra=fields)
            self._clear()
            self._pause(now)
        if self._process is None and now >= self._next_at:
            try:
                self.start()
            except (OSError, RuntimeError) as error:
                lack = {"error": type(error).__name__, "again_in_s": self._pause_s}
                logger.error("console can't be started, the node goes on", extra=lack)  # noqa: TRY400
                self._pause(now)

    def stop(self) -> None:
        """Have it end, at the latest after a few seconds."""
        process = self._process
        if process is not None:
            process.terminate()
            process.join(STOP_GRACE_S)
            if process.is_alive():
                process.kill()
                process.join()
        self._desk.close()
        self._clear()

    def _pause(self, now: float) -> None:
        self._next_at = now + self._pause_s
        self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)

    def _clear(self) -> None:
        if self._pipe is not None:
            self._pipe.close()
        self._process = self._pipe = self.url = None

    def _listening(self, told: Listening) -> bool:
        self.url = told.url
        logger.info("console started", extra={"url": told.url})
        return True


def _run(pipe: Connection, settings: Settings) -> None:
    """Be the console's process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the node decides
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    die_with_the_node()
    seal_process()
    configure(settings.log)
    log_crashes()
    from dae_pacs.web.server import serve  # noqa: PLC0415  the framework, in this process alone

    serve(pipe, settings)
