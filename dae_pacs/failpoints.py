"""Named places where a test can make the node die, fail or wait; in production every one is a no-op.

    export DAE_PACS_FAILPOINTS="receive.flushed=kill;journal.committed=exit@3;send.answered=raise:OSError"

One entry a point: what happens there, and from which pass on. `name=action` acts once, at the first pass;
`name=action@3` once, at the third; `name=action@3+` at the third and every later one. Actions:

kill            SIGKILL to the process, as a power cut would have it
exit            the process ends at once, with code 70, without any clean-up
raise:NAME      an exception: OSError, MemoryError, RuntimeError, ValueError, or one of `dae_pacs.errors`
enospc, eio     an OSError as a full disk, or a broken one, gives it
delay:SECONDS   the thread waits

Passes are counted in each process by itself: the receiving one, and the worker, which inherits the variable.
With DAE_PACS_FAILPOINTS_ONCE=FOLDER an entry acts once among all processes that share the folder, which
holds a file for each that did; so a worker that is killed is not killed again when it comes back.

Nothing here is armed but by that variable: no setting and no command reaches it.
"""

import builtins
import errno
import logging
import os
import re
import signal
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from dae_pacs import errors
from dae_pacs.errors import ConfigError

logger = logging.getLogger(__name__)

VARIABLE: Final = "DAE_PACS_FAILPOINTS"
ONCE_VARIABLE: Final = "DAE_PACS_FAILPOINTS_ONCE"
VARIABLES: Final = frozenset({VARIABLE, ONCE_VARIABLE})
EXIT_CODE: Final = 70  # sysexits.h: EX_SOFTWARE

POINTS: Final[Mapping[str, str]] = {
    "receive.opening": "receiving process: a command came, the object's file is about to be opened",
    "receive.writing": "receiving process: a fragment of the data set is about to be written",
    "receive.arrived": "receiving process: the data set is whole in incoming/, nothing is checked yet",
    "receive.sealed": "receiving process: checked, its receipt is written, nothing is flushed",
    "receive.flushing": "receiving process: the file is flushed, the name of a new one is not",
    "receive.flushed": "receiving process: file and name are on stable storage",
    "receive.kept": "receiving process: kept; the answer is about to be written to the socket",
    "receive.answered": "receiving process: the answer was written to the socket",
    "receive.settling": "receiving process, behind the answer: about to move to objects/",
    "receive.moved": "receiving process, behind the answer: under its final name, no row in the ledger",
    "receive.quarantining": "receiving process: other bytes under a known UID, about to be set apart",
    "receive.association_ended": "receiving process: an association with objects ended, not recorded yet",
    "journal.writing": "receiving process: a transaction of the ledger is written, about to commit",
    "journal.committed": "receiving process: a transaction of the ledger is durable",
    "job.claimed": "receiving process: a job is taken, its worker not told yet",
    "job.told": "receiving process: the worker said something of a job, not recorded yet",
    "job.finishing": "receiving process: the worker is through, the job not ended in the ledger yet",
    "decode.opening": "worker: an image of the series is about to be decoded",
    "infer.starting": "worker: decoded frames are about to go through the model",
    "infer.done": "worker: the frames came back from the model",
    "derive.writing": "worker: a derived object's header is made, its file about to be written",
    "derive.written": "worker: a derived object is flushed under its final name, nobody knows of it",
    "send.taken": "receiving process: deliveries are marked as being sent, no association yet",
    "send.storing": "receiving process: an object is about to go out on an association",
    "send.answered": "receiving process: the destination answered, the ledger does not know",
    "mark.delivered": "receiving process: the ledger knows that the destination has the object",
    "retention.removing": "receiving process: an object's file is about to be deleted by retention",
    "thread.accept": "receiving process: the listener is about to wait for a caller",
    "thread.clock": "receiving process: the clock is about to look after series, leases and threads",
    "thread.courier": "receiving process: a courier is about to look for what is owed",
    "thread.puller": "receiving process: a puller is about to look what its rule asks for",
    "thread.pulling": "receiving process: a puller is about to have a series sent",
    "thread.dispatcher": "receiving process: the dispatcher is about to look for a job",
}
"""Each point and where it stands; an unknown name is refused at start."""

_ENTRY = re.compile(
    r"(?P<point>[\w.]+)=(?P<action>\w+)(?::(?P<argument>[\w.]+))?(?:@(?P<hit>\d+)(?P<on>\+)?)?"
)
_BUILT_IN: Final = ("OSError", "MemoryError", "RuntimeError", "ValueError")
_DISK: Final = {"enospc": errno.ENOSPC, "eio": errno.EIO}
_FORMS: Final = "kill, exit, raise:NAME, enospc, eio or delay:SECONDS"


@dataclass
class _Trap:
    """What happens at one point, and how often it was passed."""

    action: str
    argument: str
    first_hit: int
    is_lasting: bool
    marker: Path | None
    hits: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def is_sprung(self) -> bool:
        """Count a pass, and tell whether this one acts."""
        with self.lock:
            self.hits += 1
            if self.hits < self.first_hit or (self.hits > self.first_hit and not self.is_lasting):
                return False
        return self.marker is None or _is_first(self.marker)


_armed: dict[str, _Trap] = {}


def reach(point: str) -> None:
    """Pass a point: nothing happens unless a test armed it.

    Raises:
        Exception: what the point was armed with.
    """
    if _armed:
        _spring(point)


def arm_from_environment() -> None:
    """Arm what the environment names, with a warning; does nothing where it names nothing.

    Raises:
        ConfigError: an entry can't be read, or names no point.
    """
    text = os.environ.get(VARIABLE, "")
    if not text.strip():
        return
    folder = os.environ.get(ONCE_VARIABLE, "")
    arm(text, once=Path(folder) if folder else None)
    logger.warning(
        "failpoints are armed: this process will fail on purpose; never in production",
        extra={"variable": VARIABLE, "points": ", ".join(_armed)},
    )


def arm(text: str, *, once: Path | None = None) -> None:
    """Arm the points that a text names, and no others.

    Args:
        text: entries as the module describes them, with semicolons between.
        once: a folder that remembers, for all processes, what has acted.

    Raises:
        ConfigError: an entry can't be read, or names no point.
    """
    traps = {}
    for entry in filter(None, (part.strip() for part in text.split(";"))):
        match = _ENTRY.fullmatch(entry)
        if match is None:
            raise ConfigError(
                f"{VARIABLE}: {entry!r} is no entry; expected POINT=ACTION, the action {_FORMS}"
            )
        point = match["point"]
        if point not in POINTS:
            raise ConfigError(f"{VARIABLE}: there is no point {point!r}; there are {', '.join(POINTS)}")
        _check_action(entry, match["action"], match["argument"] or "")
        traps[point] = _Trap(
            match["action"],
            match["argument"] or "",
            first_hit=int(match["hit"] or 1),
            is_lasting=bool(match["on"]),
            marker=once / point if once is not None else None,
        )
    disarm()
    _armed.update(traps)


def disarm() -> None:
    """Make every point a no-op again."""
    _armed.clear()


def _check_action(entry: str, action: str, argument: str) -> None:
    if action in {"kill", "exit", *_DISK} and not argument:
        return
    if action == "raise" and _exception(argument) is not None:
        return
    if action == "delay" and re.fullmatch(r"\d+(\.\d+)?", argument):
        return
    raise ConfigError(f"{VARIABLE}: {entry!r} names no action; expected {_FORMS}")


def _exception(name: str) -> type[Exception] | None:
    found = getattr(builtins, name) if name in _BUILT_IN else getattr(errors, name, None)
    return found if isinstance(found, type) and issubclass(found, Exception) else None


def _is_first(marker: Path) -> bool:
    """Leave the mark of an entry that acts; False where another process left it before."""
    try:
        marker.touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def _spring(point: str) -> None:
    trap = _armed.get(point)
    if trap is None or not trap.is_sprung():
        return
    if trap.action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif trap.action == "exit":
        os._exit(EXIT_CODE)
    elif trap.action == "delay":
        time.sleep(float(trap.argument))
    elif trap.action in _DISK:
        code = _DISK[trap.action]
        raise OSError(code, f"{os.strerror(code)} (failpoint {point})")
    else:
        raise (_exception(trap.argument) or RuntimeError)(f"failpoint {point}")
