"""Keep what the memory holds out of core dumps, of others' sight, and of messages about crashes."""

import logging
import os
import resource
import sys
import threading
import traceback
from pathlib import Path
from types import TracebackType
from typing import Final

logger = logging.getLogger(__name__)

_OURS_ALONE: Final = 0o077
_CORE_FILTER: Final = Path("/proc/self/coredump_filter")
"""Which kinds of pages a dump holds, as a mask."""
_FRAMES: Final = 12
"""The last steps to a failure; more than that says little, and fills the log when a loop fails."""


def seal_process() -> None:
    """Make this process's files its owner's alone, and keep its memory, which holds patients, out of dumps.

    A limit of 0 stops a core file, but not a program that the system hands the dump to, as many do (core(5)):
    for that one, the filter leaves every page of memory out. Both are passed on to child processes.
    """
    os.umask(_OURS_ALONE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        _CORE_FILTER.write_text("0")
    except OSError:  # no Linux, or /proc can't be written
        logger.warning("memory may end up in core dumps, switch them off for this machine")


def log_crashes() -> None:
    """Have errors that nobody foresaw logged by where they happened: their words may quote a patient."""

    def say(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt | SystemExit):
            return
        logger.critical(
            "unexpected error; this is a mistake in dae-pacs, please report it",
            extra={
                "error": kind.__name__,
                "where": where(trace),
                "in_thread": threading.current_thread().name,
            },
        )

    logging.raiseExceptions = False  # a log that can't be written would print the record it failed on
    sys.excepthook = say
    threading.excepthook = lambda crash: say(crash.exc_type, crash.exc_value, crash.exc_traceback)
    sys.unraisablehook = lambda crash: say(crash.exc_type, crash.exc_value, crash.exc_traceback)


def where(trace: TracebackType | None) -> str:
    """Say which lines of code led to an error, the last one last, without a word of the error itself."""
    frames = traceback.extract_tb(trace)[-_FRAMES:]
    return " > ".join(f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames)
