"""The spool's folders: what arrives, what is kept, what we made, and what is set apart.

incoming/     being received, or received and not yet moved on; what is not whole is swept at start-up
ready/        the same, in files that were made ahead
objects/ab/   kept objects, named by a digest of ours, never by a value off the wire
derived/ab/   objects that we made; they can be made again
quarantine/   objects that contradict what is kept, for a person to look at
"""

import fcntl
import hashlib
import logging
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dae_pacs.durable import flush_folder
from dae_pacs.errors import SpoolError
from dae_pacs.failpoints import reach
from dae_pacs.spool.incoming import IncomingFile, spool_error
from dae_pacs.spool.receipt import Sealed
from dae_pacs.spool.slots import Slots

__all__ = ["LEDGER_NAME", "IncomingFile", "SpoolFiles", "spool_error"]

_log = logging.getLogger(__name__)

LEDGER_NAME: Final = "ledger.sqlite"
_RIGHTS: Final = 0o700
"""Of the spool's root: patients are in it."""


@dataclass(frozen=True)
class Room:
    """The spool's disk, in bytes."""

    free_bytes: int
    """What we may still take."""
    total_bytes: int


class SpoolFiles:
    """The spool's folders, made and checked."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self.incoming = self.root / "incoming"
        self.ready = self.root / "ready"
        self.objects = self.root / "objects"
        self.derived = self.root / "derived"
        self.quarantine = self.root / "quarantine"
        self.ledger_path = self.root / LEDGER_NAME
        self.slots = Slots(self.ready)
        try:
            self._make_folders()
        except OSError as error:
            raise spool_error(error, f"making the spool's folders in {self.root}") from error

    def _make_folders(self) -> None:
        self.root.mkdir(mode=_RIGHTS, parents=True, exist_ok=True)
        if self.root.stat().st_mode & ~_RIGHTS & 0o777:
            try:
                self.root.chmod(_RIGHTS)  # nobody else comes in, whatever the rights of what is below
            except PermissionError:
                _log.warning("the spool is another account's, who else may read it is not ours to say")
        for folder in (self.incoming, self.ready, self.objects, self.derived, self.quarantine):
            folder.mkdir(parents=True, exist_ok=True)
            probe = folder / f".probe.{secrets.token_hex(8)}"
            probe.touch()
            probe.unlink()
        for folder in (self.objects, self.derived):
            # All shards now: settling an object then has one folder to flush, not two.
            present = {entry.name for entry in os.scandir(folder)}
            missing = {f"{shard:02x}" for shard in range(256)} - present
            for name in missing:
                (folder / name).mkdir(exist_ok=True)
            if missing:
                flush_folder(folder)
        flush_folder(self.root)

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Hold the spool for one node: start-up sweeps and reconciles, which a second node must not.

        Raises:
            SpoolError: another node holds it.
        """
        try:
            lock = (self.root / "node.lock").open("wb")
        except OSError as error:
            raise spool_error(error, f"locking {self.root / 'node.lock'}") from error
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise SpoolError(
                    f"The spool {self.root} is in use by another node. Stop that one, or give this one "
                    "a spool of its own (node.spool)."
                ) from error
            except OSError as error:
                raise spool_error(error, f"locking {self.root / 'node.lock'}") from error
            yield

    def open_incoming(self) -> IncomingFile:
        """Open a file for an object that is about to arrive: one made ahead, if there is one.

        Raises:
            SpoolError: the disk refuses.
        """
        made_ahead = self.slots.take()
        if made_ahead is not None:
            return IncomingFile(made_ahead, has_durable_name=True)
        return IncomingFile(self.incoming / f"{secrets.token_hex(16)}.dcm")

    def make_ahead(self) -> None:
        """Begin to make files ahead for objects to come; a node does, once it has reconciled the spool.

        Raises:
            SpoolError: the disk refuses.
        """
        try:
            self.slots.start()
        except OSError as error:
            raise spool_error(error, "making files ahead in ready/") from error

    def settle(self, incoming: IncomingFile, *, SOPInstanceUID: str, transfer_syntax_uid: str) -> Path:
        """Move an object to its final name, flushed before if it was not.

        The name is a digest over UID, transfer syntax and content, so no two instances ever share a file,
        and the same object sent again lands on the same name. The move itself is not flushed: a power cut
        finds the file, whole and durable, under its old name or its new one, and start-up looks at both.

        Raises:
            SpoolFullError: no room.
            SpoolError: the disk refuses.
        """
        target = self.object_path(SOPInstanceUID, transfer_syntax_uid, digest=incoming.digest)
        if not incoming.is_durable:
            incoming.flush()
        try:
            reach("receive.settling")
            incoming.trim()
            incoming.path.replace(target)
            incoming.path, incoming.is_settled = target, True
            reach("receive.moved")
        except OSError as error:
            raise spool_error(error, "moving a received object into the spool") from error
        incoming.close()
        self.slots.note_size(incoming.size)
        return target

    def settle_again(self, sealed: Sealed) -> Path:
        """Move an object to its final name that a node which is no more had received.

        Raises:
            OSError: the disk refuses.
        """
        with sealed.path.open("r+b") as file:
            file.truncate(sealed.size_bytes)
        target = self.object_path(
            sealed.meta.SOPInstanceUID, sealed.meta.transfer_syntax_uid, digest=sealed.digest()
        )
        sealed.path.replace(target)
        return target

    def object_path(self, SOPInstanceUID: str, transfer_syntax_uid: str, *, digest: str) -> Path:
        """Say where a received object belongs."""
        return self._sharded(self.objects, f"{SOPInstanceUID}\n{transfer_syntax_uid}\n{digest}")

    def derived_path(self, name: str) -> Path:
        """Say where the derived object of that name belongs; the same name has the same place for ever."""
        return self._sharded(self.derived, name)

    @staticmethod
    def _sharded(folder: Path, key: str) -> Path:
        digest = hashlib.sha256(key.encode()).hexdigest()
        return folder / digest[:2] / f"{digest}.dcm"

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """Give a path for a file of a moment: it is gone afterwards, at the latest when a node starts."""
        path = self.incoming / f"{secrets.token_hex(16)}.tmp"
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)

    def free_mb(self) -> float:
        """Tell the room left on the spool's disk, in units of 10^6 bytes."""
        return self.room().free_bytes / 1e6

    def room(self) -> Room:
        """Tell the room on the spool's disk.

        Raises:
            SpoolError: the disk does not say.
        """
        try:
            disk = os.statvfs(self.root)
        except OSError as error:
            raise spool_error(error, "asking the disk for its free space") from error
        return Room(disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize)

    def left_behind(self) -> list[Path]:
        """List what was arriving, or not yet under its final name, when the last node ended.

        Call it only while holding the spool.
        """
        try:
            return [path for folder in (self.incoming, self.ready) for path in folder.iterdir()]
        except OSError as error:
            raise spool_error(error, "looking for incoming objects") from error
