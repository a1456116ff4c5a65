"""Keep what the memory holds out of core dumps, of others' sight, and of messages about crashes."""

import ctypes
import logging
import os
import resource
import sys
import threading
import traceback
from types import TracebackType
from typing import Final

logger = logging.getLogger(__name__)

_OURS_ALONE: Final = 0o077
_PR_SET_DUMPABLE: Final = 4  # linux/prctl.h
_FRAMES: Final = 12
"""The last steps to a failure; more than that says little, and fills the log when a loop fails."""


def seal_process() -> None:
    """Make this process's files its owner's alone, and its memory, which holds patients, nobody's.

    A core dump is refused twice over: a limit of 0 stops a file, but not a program that the system hands the
    dump to (core(5)); a process that is not dumpable stops both, and other processes of the same account
    from reading its memory.
    """
    os.umask(_OURS_ALONE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        refused = libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0
    except (OSError, AttributeError):  # no Linux
        refused = True
    if refused:
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
