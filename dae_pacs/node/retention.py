"""Make room: delete what was delivered, once it is old or when the disk fills; never what is owed."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from dae_pacs.errors import SpoolError
from dae_pacs.node.auditing import Auditor
from dae_pacs.spool.ledger import Ledger
from dae_pacs.spool.records import Instance

logger = logging.getLogger(__name__)

_LOOK_S: Final = 5.0
"""How often the room is looked at: a statement of the disk, of no cost."""
_FRUITLESS_S: Final = 60.0
"""How long the ledger is left alone when the disk is full of what is owed."""
_AT_A_TIME: Final = 100
"""Objects between two looks at the room."""


@dataclass(frozen=True)
class Keeping:
    """How long what was delivered stays."""

    keep_hours: float
    sweep_s: float
    make_room_below_mb: float
    """With less room than this, what was delivered goes before its time."""


class Sweeper:
    """One thread that deletes what nobody waits for any more."""

    def __init__(
        self, ledger: Ledger, audit: Auditor, keeping: Keeping, *, free_mb: Callable[[], float]
    ) -> None:
        """Set up.

        Args:
            ledger: knows what is owed.
            audit: is told what goes.
            keeping: how long.
            free_mb: tells the room on the spool's disk.
        """
        self._ledger = ledger
        self._audit = audit
        self._keeping = keeping
        self._free_mb = free_mb
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        # Age counts from the start by the clock that never jumps: a wall clock that is set a year ahead by
        # mistake must not empty the spool.
        self._ahead_s = time.time() - time.monotonic()
        self._next_sweep = time.monotonic()
        self._next_search = time.monotonic()

    def keep_running(self) -> None:
        """Start the thread, or another in its place when an error ended it."""
        if self._stopping.is_set() or (self._thread is not None and self._thread.is_alive()):
            return
        if self._thread is not None:
            logger.critical("sweeper died, starting another")
        self._thread = threading.Thread(target=self._run, name="sweeper")
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self.look()
            except SpoolError as error:  # a full disk passes, and perhaps by what is deleted next time
                logger.error("retention can't delete", extra={"why": str(error)})  # noqa: TRY400
            self._stopping.wait(_LOOK_S)

    def look(self) -> None:
        """Delete what is due to be deleted now."""
        moment = time.monotonic()
        if moment >= self._next_sweep:
            self._next_sweep = moment + self._keeping.sweep_s
            before = moment + self._ahead_s - self._keeping.keep_hours * 3600.0
            self._while_any(lambda: self._ledger.removable(before, limit=_AT_A_TIME), "age")
        if self._is_short() and moment >= self._next_search:
            found = self._while_any(self._expendable, "room")
            if not found and self._is_short():
                self._next_search = moment + _FRUITLESS_S
                logger.warning(
                    "little room left, and nothing that may be deleted: see dae-pacs status for what is owed",
                    extra={"free_mb": round(self._free_mb())},
                )

    def _is_short(self) -> bool:
        return self._free_mb() < self._keeping.make_room_below_mb

    def _expendable(self) -> Sequence[Instance]:
        return self._ledger.expendable(limit=_AT_A_TIME) if self._is_short() else ()

    def _while_any(self, find: Callable[[], Sequence[Instance]], why: str) -> int:
        """Delete as long as something is found; say how many files went."""
        count = 0
        while not self._stopping.is_set():
            found = find()
            gone = self._ledger.remove(*(instance.id for instance in found))
            if not gone:
                break
            count += len(gone)
            self._tell([instance for instance in found if instance.id in gone])
        if count:
            logger.info("retention removed delivered objects", extra={"count": count, "for": why})
        return count

    def _tell(self, removed: Sequence[Instance]) -> None:
        studies = {instance.StudyInstanceUID for instance in removed}
        still_held = [study for study in studies if self._ledger.holds_any(study)]
        self._audit.removed(removed, still_held=still_held)
