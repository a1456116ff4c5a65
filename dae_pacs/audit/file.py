"""The audit trail as a file: one message a line, for its owner alone, rotated by size.

Several processes may append, the node and a person's command beside it: each takes the file's lock, and looks
whether the file still is the one of that name.
"""

import fcntl
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from dae_pacs.audit.entry import Entry

_RIGHTS: Final = 0o600
_FOLDER_RIGHTS: Final = 0o700
_OPEN: Final = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


class AuditFile:
    """A file of messages; `deliver` puts them on stable storage or leaves it as it was."""

    def __init__(self, path: Path, *, most_bytes: int, kept: int) -> None:
        self._path = path
        self._most_bytes = most_bytes
        self._kept = kept

    def deliver(self, entries: Sequence[Entry]) -> None:
        """Append messages, flushed to the disk.

        Raises:
            OSError: the disk refuses; not one of them was appended.
        """
        lines = b"".join(entry.xml + b"\n" for entry in entries)
        self._path.parent.mkdir(mode=_FOLDER_RIGHTS, parents=True, exist_ok=True)
        with self._locked() as handle:
            size = os.fstat(handle).st_size
            if size and size + len(lines) > self._most_bytes:
                self._rotate()
                with self._locked() as fresh:
                    _append(fresh, lines)
            else:
                _append(handle, lines)

    def close(self) -> None:
        """Nothing is held open between deliveries."""

    @contextmanager
    def _locked(self) -> Iterator[int]:
        """Open the file of that name under its lock, for its owner alone."""
        while True:
            handle = os.open(self._path, _OPEN, _RIGHTS)
            try:
                if not stat.S_ISREG(os.fstat(handle).st_mode):
                    raise OSError(0, "it is no regular file", str(self._path))
                fcntl.flock(handle, fcntl.LOCK_EX)
                if not self._is_current(handle):
                    continue  # another process rotated it meanwhile
                os.fchmod(handle, _RIGHTS)
                yield handle
                return
            finally:
                os.close(handle)

    def _is_current(self, handle: int) -> bool:
        try:
            found = self._path.stat(follow_symlinks=False)
        except FileNotFoundError:
            return False
        held = os.fstat(handle)
        return (found.st_dev, found.st_ino) == (held.st_dev, held.st_ino)

    def _rotate(self) -> None:
        """Number the files anew; the oldest goes."""
        for number in range(self._kept - 1, 0, -1):
            older = self._numbered(number)
            if older.exists():
                older.replace(self._numbered(number + 1))
        self._path.replace(self._numbered(1))

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")


def _append(handle: int, lines: bytes) -> None:
    """Write lines whole or not at all."""
    before = os.fstat(handle).st_size
    if before and os.pread(handle, 1, before - 1) != b"\n":
        lines = b"\n" + lines  # a power cut left half a line; it spoils no other
    try:
        rest = memoryview(lines)
        while rest:
            rest = rest[os.write(handle, rest) :]
        os.fsync(handle)
    except OSError:
        os.ftruncate(handle, before)
        raise
