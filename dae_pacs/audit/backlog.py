"""Messages that could not be delivered yet: one file each, so that several processes may add and take."""

import itertools
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from dae_pacs.audit.entry import Entry
from dae_pacs.durable import flush_file

_ENDING: Final = ".xml"
_FOLDER_RIGHTS: Final = 0o700
_FILE_RIGHTS: Final = 0o600


class Backlog:
    """A folder that holds at most so many messages, the oldest first in the order of names."""

    def __init__(self, folder: Path, *, most: int) -> None:
        self.folder = folder
        self._most = most
        self._numbers = itertools.count()

    def __len__(self) -> int:
        """Count what waits; nothing where there is no folder yet."""
        return sum(1 for _ in self._names())

    def is_empty(self) -> bool:
        """Tell whether nothing waits."""
        return next(self._names(), None) is None

    def put(self, entries: list[Entry]) -> list[Entry]:
        """Keep messages on the disk; gives back those that found no room.

        Raises:
            OSError: the disk refuses; nothing of the message at hand, and of those after it, is kept.
        """
        self.folder.mkdir(mode=_FOLDER_RIGHTS, parents=True, exist_ok=True)
        room = max(0, self._most - len(self))
        for entry in entries[:room]:
            self._write(entry)
        return entries[room:]

    def _write(self, entry: Entry) -> None:
        name = f"{entry.time_ns:020d}-{os.getpid()}-{next(self._numbers):09d}{_ENDING}"
        part = self.folder / f".{name}.part"
        try:
            handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _FILE_RIGHTS)
            with os.fdopen(handle, "wb") as file:
                file.write(entry.xml)
                flush_file(file)
            part.rename(self.folder / name)
        except OSError:
            with suppress(OSError):
                part.unlink(missing_ok=True)
            raise

    def waiting(self, most: int) -> list[tuple[Path, Entry]]:
        """Read the oldest messages, with their files, which `done` takes away."""
        found = []
        for name in sorted(self._names())[:most]:
            path = self.folder / name
            with suppress(FileNotFoundError):  # another process was quicker
                found.append((path, Entry(int(name.split("-", 1)[0]), path.read_bytes())))
        return found

    def done(self, path: Path) -> None:
        """Forget a message that was delivered."""
        path.unlink(missing_ok=True)

    def _names(self) -> Iterator[str]:
        with suppress(FileNotFoundError), os.scandir(self.folder) as listing:
            for found in listing:
                if found.name.endswith(_ENDING) and found.name[:20].isdigit():
                    yield found.name
