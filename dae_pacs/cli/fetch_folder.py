"""A folder that fetched objects go to: STUDY/SERIES/INSTANCE.dcm, by their UIDs alone."""

import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from dae_pacs.dimse import statuses
from dae_pacs.dimse.commands import uid_fault
from dae_pacs.dimse.reception import Incoming, Store
from dae_pacs.dimse.refusals import Answer
from dae_pacs.durable import flush_folder
from dae_pacs.errors import SpoolError
from dae_pacs.image.header import Summary, read_header, summarise

_LARGEST_BYTES = 16 << 30
_PART = ".fetching-{}.part"


class FolderFile:
    """An object on its way into a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("wb")

    def write(self, data: bytes | memoryview) -> None:
        """Append bytes."""
        self._file.write(data)

    @contextmanager
    def reading(self) -> Iterator[BinaryIO]:
        """Open what was written so far."""
        self._file.flush()
        with self.path.open("rb") as file:
            yield file

    def settle(self, target: Path) -> None:
        """Put it on stable storage under its name."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        target.parent.mkdir(parents=True, exist_ok=True)
        self.path.replace(target)
        flush_folder(target.parent)

    def discard(self) -> None:
        """Drop it; harmless when it was settled."""
        self._file.close()
        with suppress(OSError):
            self.path.unlink(missing_ok=True)


class Folder:
    """Where objects go that are fetched without a node."""

    def __init__(self, root: Path, on_kept: Callable[[Incoming, Summary], None]) -> None:
        """Make the folder, and sweep what an earlier run left half written.

        Args:
            root: the folder.
            on_kept: told of each object.

        Raises:
            OSError: it can't be made.
        """
        self.root = root
        root.mkdir(parents=True, exist_ok=True)
        for left in root.glob(_PART.format("*")):
            left.unlink(missing_ok=True)
        self._on_kept = on_kept
        self.count = 0
        """Objects that came in this run."""

    def store(self) -> Store:
        """Give what takes objects."""
        return Store(self._open, self._keep, _LARGEST_BYTES)

    def held(self, StudyInstanceUID: str, SeriesInstanceUID: str) -> frozenset[str]:
        """List what is here of a series, by SOP Instance UID."""
        return frozenset(path.stem for path in self.files(StudyInstanceUID, SeriesInstanceUID))

    def files(self, StudyInstanceUID: str, SeriesInstanceUID: str) -> list[Path]:
        """List the files of a series."""
        return sorted((self.root / StudyInstanceUID / SeriesInstanceUID).glob("*.dcm"))

    def _open(self) -> FolderFile:
        try:
            return FolderFile(self.root / _PART.format(secrets.token_hex(16)))
        except OSError as error:
            raise SpoolError(f"{self.root}: can't be written: {error.strerror}") from error

    def _keep(self, incoming: Incoming) -> Answer:
        file = incoming.file
        if not isinstance(file, FolderFile):
            raise SpoolError("the object arrived in a file that is not of this folder")
        with file.reading() as opened:
            summary = summarise(read_header(opened))
        uids = (summary.StudyInstanceUID, summary.SeriesInstanceUID, summary.SOPInstanceUID)
        # They become names of files: nothing but digits and dots may be in them.
        if any(map(uid_fault, uids)) or summary.SOPInstanceUID != incoming.SOPInstanceUID:
            file.discard()
            return Answer(statuses.MISMATCH, "its UIDs are not what was announced")
        file.settle(self.root / uids[0] / uids[1] / f"{uids[2]}.dcm")
        self.count += 1
        self._on_kept(incoming, summary)
        return Answer(statuses.SUCCESS)
