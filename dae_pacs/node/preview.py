"""Previews that the console asks for: at most one process, started when asked, ended when idle.

An asker comes again until its preview is there: nobody waits at the desk for a model to load.
"""

import logging
import multiprocessing
import os
import secrets
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import ClassVar, Final

from dae_pacs.errors import ServiceError
from dae_pacs.node.preview_process import PreviewDone, PreviewTask, run_preview
from dae_pacs.node.worker import WorkerSettings
from dae_pacs.spool.ledger import Ledger

logger = logging.getLogger(__name__)

IDLE_S: Final = 300.0
"""After so long without a request the process ends, and with it its model's memory."""
STALL_S: Final = 600.0
"""A process that is silent for so long is ended: on a busy machine a large radiograph takes minutes."""
MOST_WAITING: Final = 8
MOST_KEPT: Final = 4
"""Results on the disk, each as large as its frame in 16 bits."""
GIVEN_UP_S: Final = 10.0
"""What nobody has asked for again in so long is not made: its asker looks at another slice by now."""
MOST_THREADS: Final = 4

Key = tuple[int, int, int]
"""Instance, frame, job."""


@dataclass(frozen=True)
class Previewed:
    """Where a preview stands."""

    path: Path | None
    """Of the result, for a moment; None while it is in work."""


@dataclass(frozen=True)
class Preview:
    """Ask what the model of a job would take from one frame; ask again while the answer has no path."""

    instance_id: int
    frame: int
    job_id: int
    answer: ClassVar = Previewed


class Previewer:
    """Owns the preview process, its thread and its results; for any thread."""

    def __init__(
        self, ledger: Ledger, settings: WorkerSettings, *, folder: Path, idle_s: float = IDLE_S
    ) -> None:
        """Set up; nothing is started.

        Args:
            ledger: knows objects and jobs.
            settings: those of the worker: where models are, and which.
            folder: for results; what is left in it goes when a node starts.
            idle_s: how long the process outlives its last request.
        """
        self._ledger = ledger
        self._settings = settings
        self._folder = folder
        self._idle_s = idle_s
        self._changed = threading.Condition()
        self._waiting: OrderedDict[Key, tuple[PreviewTask, float]] = OrderedDict()
        """With when it was last asked for."""
        self._done: OrderedDict[Key, Path] = OrderedDict()
        self._failed: dict[Key, str] = {}
        self._at_work: Key | None = None
        self._thread: threading.Thread | None = None
        self._process: BaseProcess | None = None
        self._is_closed = False

    @property
    def pid(self) -> int | None:
        """Of the process, None while there is none."""
        process = self._process
        return process.pid if process is not None else None

    def answer(self, request: Preview) -> Previewed:
        """Give a result that is there, or see that it will be.

        Raises:
            ServiceError: it failed, for a reason in words; or too many are wanted.
            SpoolError: the ledger can't be read.
        """
        key = (request.instance_id, request.frame, request.job_id)
        with self._changed:
            reason = self._failed.pop(key, None)
            if reason is not None:
                raise ServiceError(reason)
            if key in self._done:
                self._done.move_to_end(key)
                return Previewed(self._done[key])
            if key == self._at_work:
                return Previewed(None)
            if key in self._waiting:
                self._waiting[key] = self._waiting[key][0], time.monotonic()
                return Previewed(None)
        task = self._task(request)
        with self._changed:
            if self._is_closed:
                raise ServiceError("The node is stopping.")
            if len(self._waiting) >= MOST_WAITING:
                raise ServiceError("Too many previews are waiting; try again in a minute.")
            self._waiting[key] = task, time.monotonic()
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="previews", daemon=True)
                self._thread.start()
            self._changed.notify_all()
        return Previewed(None)

    def close(self) -> None:
        """End the process and delete the results."""
        with self._changed:
            self._is_closed = True
            self._waiting.clear()
            process, thread = self._process, self._thread
            self._changed.notify_all()
        if process is not None:
            process.kill()
        if thread is not None:
            thread.join()
        self._forget(0)

    def _task(self, request: Preview) -> PreviewTask:
        instance = self._ledger.views.instance(request.instance_id)
        if instance is None or not instance.path.exists():
            raise ServiceError("The original is no longer in the spool; it was deleted meanwhile.")
        job = self._ledger.job(request.job_id)
        if job.StudyInstanceUID != instance.StudyInstanceUID:
            raise ServiceError(f"Job {request.job_id} is not one of this study.")
        target = self._folder / f"{secrets.token_hex(16)}.tmp"
        return PreviewTask(instance.path, request.frame, job.model, job.noise, target)

    def _run(self) -> None:
        """Serve until nothing waits any more; a request that comes while the process ends has a new one."""
        while True:
            self._serve()
            with self._changed:
                if self._is_closed or not self._waiting:
                    self._thread = None
                    return

    def _serve(self) -> None:
        """Work on what waits until nothing has come for `idle_s`, then end the process."""
        pipe: Connection | None = None
        try:
            while (found := self._next()) is not None:
                if pipe is None or self._process is None or not self._process.is_alive():
                    pipe = self._start(pipe)
                self._note(*found, self._ask(pipe, found[1]))
        finally:
            self._at_work = None
            self._end(pipe)

    def _next(self) -> tuple[Key, PreviewTask] | None:
        """Wait for a task that somebody still asks for; None after `idle_s` without one."""
        with self._changed:
            while self._changed.wait_for(lambda: self._waiting or self._is_closed, timeout=self._idle_s):
                if self._is_closed:
                    return None
                key, (task, asked_at) = self._waiting.popitem(last=False)
                if time.monotonic() - asked_at < GIVEN_UP_S:
                    self._at_work = key
                    return key, task
            return None

    def _ask(self, pipe: Connection, task: PreviewTask) -> PreviewDone:
        begun = time.monotonic()
        try:
            pipe.send(task)
            if pipe.poll(STALL_S):
                done: PreviewDone = pipe.recv()
                logger.info("preview made", extra={"seconds": round(time.monotonic() - begun, 3)})
                return done
        except (EOFError, OSError):
            self._end(pipe)
            return PreviewDone("The preview process ended; there may be too little memory for it.")
        self._end(pipe)
        return PreviewDone("The preview took too long and was given up; the machine has other work.")

    def _note(self, key: Key, task: PreviewTask, done: PreviewDone) -> None:
        with self._changed:
            self._at_work = None
            if done.error is None:
                self._done[key] = task.target
            else:
                self._failed = {**dict(list(self._failed.items())[-MOST_WAITING:]), key: done.error}
        self._forget(MOST_KEPT)

    def _forget(self, most: int) -> None:
        with self._changed:
            old = [self._done.popitem(last=False)[1] for _ in range(len(self._done) - most)]
        for path in old:
            path.unlink(missing_ok=True)

    def _start(self, old: Connection | None) -> Connection:
        self._end(old)
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        threads = max(1, min(MOST_THREADS, (os.cpu_count() or 2) // 2))
        process = context.Process(
            target=run_preview, args=(theirs, self._settings, threads), name="previews", daemon=True
        )
        process.start()
        theirs.close()
        self._process = process
        return ours

    def _end(self, pipe: Connection | None) -> None:
        process, self._process = self._process, None
        if pipe is not None:
            pipe.close()
        if process is not None:
            process.join(timeout=1.0)
            if process.is_alive():
                process.kill()
                process.join()
