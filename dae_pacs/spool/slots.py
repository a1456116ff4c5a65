"""Files made ahead for objects to come: their names, and where there was time their room, are on the disk.

Writing a new file to stable storage takes a commit of the file system's journal for its name, its length and
its room. A file whose name is durable needs none for its name; one that was written full of zeros and flushed
before needs none at all: the object's bytes go where the zeros were, and one flush of data ends it. Nothing
but speed depends on the zeros: whatever a file lacks, its flush adds.
"""

import logging
import os
import secrets
import threading
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dae_pacs.durable import flush_folder

_log = logging.getLogger(__name__)

SUFFIX: Final = ".slot"
_HEAD_BYTES: Final = 4096
"""More than file meta group and a data set's first elements take: what has arrived begins in here."""
_MOST: Final = 256
"""Names made ahead: one for each slice of a CT series."""
_MOST_FILLED_BYTES: Final = 256 << 20
_LARGEST_FILLED_BYTES: Final = 8 << 20
"""Above this an object takes so long to write that a commit of the journal no longer shows."""
_LEAST_FREE_SHARE: Final = 10
"""Room made ahead takes at most one part in so many of what the disk has free."""
_UNIT_BYTES: Final = 65536
_IDLE_S: Final = 0.5
"""Room is made when nothing has arrived for so long: it would be in the way of what does."""
_BATCH: Final = 16
_QUICK_FLUSH_S: Final = 0.0003
"""A disk that flushes a new file and its folder in less needs nothing made ahead: memory, or a safe cache."""
_ZEROS: Final = bytes(_UNIT_BYTES)


@dataclass(frozen=True)
class _Slot:
    path: Path
    filled_bytes: int


class Slots:
    """The files made ahead in one folder, and the thread that makes them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ready: deque[_Slot] = deque()
        self._changed = threading.Condition()
        self._typical_bytes = 0
        self._last_taken = 0.0
        self._is_stopping = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Take over what an earlier node left, and make more; nothing where the disk flushes quickly.

        Raises:
            OSError: the disk refuses.
        """
        left = self._left_over()
        if self._flushes_quickly():
            for slot in left:
                slot.path.unlink(missing_ok=True)
            return
        flush_folder(self._folder)
        self._ready.extend(sorted(left, key=lambda slot: -slot.filled_bytes))
        self._thread = threading.Thread(target=self._run, name="slots", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread; what is ready stays for the next node."""
        with self._changed:
            self._is_stopping = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()

    def take(self) -> Path | None:
        """Give a file whose name is durable and whose content is worth nothing; None where there is none."""
        with self._changed:
            self._last_taken = time.monotonic()
            if len(self._ready) <= _MOST // 2:
                self._changed.notify()
            return self._ready.popleft().path if self._ready else None

    def note_size(self, size_bytes: int) -> None:
        """Hear how large an object was: those that follow are often of its size."""
        if size_bytes <= _LARGEST_FILLED_BYTES:
            self._typical_bytes = max(size_bytes, self._typical_bytes * 7 // 8)

    def _left_over(self) -> list[_Slot]:
        found: list[_Slot] = []
        for path in self._folder.iterdir():
            if not is_blank(path):
                continue  # reconciliation has not looked at it yet
            if len(found) < _MOST:
                found.append(_Slot(path, path.stat().st_size))
            else:
                path.unlink()
        return found

    def _flushes_quickly(self) -> bool:
        probe = self._folder / f".probe.{secrets.token_hex(8)}"
        started = time.monotonic()
        try:
            with probe.open("wb") as file:
                file.write(_ZEROS)
                os.fsync(file.fileno())
            flush_folder(self._folder)
            return time.monotonic() - started < _QUICK_FLUSH_S
        finally:
            probe.unlink(missing_ok=True)

    def _run(self) -> None:
        while not self._is_stopping:
            try:
                is_done = self._make_some()
            except OSError as error:  # full, read-only: objects then find no file made ahead, and say why
                _log.warning("no files made ahead", extra={"error": error.strerror or type(error).__name__})
                is_done = True
            if is_done:
                with self._changed:
                    self._changed.wait(_IDLE_S)

    def _make_some(self) -> bool:
        """Make names where few are left, and room while nothing arrives; True when there is nothing to do."""
        with self._changed:
            lacking = _MOST - len(self._ready)
            is_idle = time.monotonic() - self._last_taken > _IDLE_S
        if lacking > (0 if is_idle else _MOST // 2):
            self._make_names(lacking)
            return False
        return not (is_idle and self._make_room())

    def _make_names(self, count: int) -> None:
        made = [self._folder / f"{secrets.token_hex(16)}{SUFFIX}" for _ in range(count)]
        for path in made:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666))
        flush_folder(self._folder)
        with self._changed:
            self._ready.extend(_Slot(path, 0) for path in made)

    def _make_room(self) -> bool:
        """Fill some empty files with zeros and flush them; False when enough are filled."""
        size = -(-self._typical_bytes // _UNIT_BYTES) * _UNIT_BYTES
        disk = os.statvfs(self._folder)
        budget = min(_MOST_FILLED_BYTES, disk.f_bavail * disk.f_frsize // _LEAST_FREE_SHARE)
        with self._changed:
            used = sum(slot.filled_bytes for slot in self._ready)
            room = (budget - used) // size if size else 0
            lacking = [slot for slot in self._ready if slot.filled_bytes < size][: min(room, _BATCH)]
            for slot in lacking:
                self._ready.remove(slot)
        filled: list[_Slot] = []
        try:
            for slot in lacking:
                _fill(slot.path, size)
                filled.append(_Slot(slot.path, size))
        finally:
            with self._changed:
                self._ready.extend(slot for slot in lacking[len(filled) :])
                self._ready.extendleft(filled)
        return bool(lacking)


def is_blank(path: Path) -> bool:
    """Tell whether a file was made ahead, and never written to."""
    with path.open("rb") as file:
        return path.suffix == SUFFIX and not any(file.read(_HEAD_BYTES))


def _fill(path: Path, size_bytes: int) -> None:
    handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        for _ in range(size_bytes // _UNIT_BYTES):
            os.write(handle, _ZEROS)
        os.fsync(handle)
    except OSError:
        with suppress(OSError):
            os.ftruncate(handle, 0)
        raise
    finally:
        os.close(handle)
