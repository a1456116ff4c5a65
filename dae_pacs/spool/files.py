"""The spool's folders: what arrives, what is kept, what we made, and what is set apart.

incoming/     being received; worth nothing until settled; swept at start-up
objects/ab/   kept objects, named by a digest of ours, never by a value off the wire
derived/ab/   objects that we made; they can be made again
quarantine/   objects that contradict what is kept, for a person to look at
"""

import errno
import fcntl
import hashlib
import logging
import os
import secrets
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from dae_pacs.durable import flush_file, flush_folder, move_into_place
from dae_pacs.errors import SpoolError, SpoolFullError
from dae_pacs.failpoints import reach

_log = logging.getLogger(__name__)

LEDGER_NAME: Final = "ledger.sqlite"
_FULL: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_META_LENGTH_END: Final = 144
"""PS3.10 7.1: 128 bytes preamble, "DICM", then (0002,0000) UL 4: the length of the rest of the file meta."""
_META_START: Final = b"DICM\x02\x00\x00\x00UL\x04\x00"
_RIGHTS: Final = 0o700
"""Of the spool's root: patients are in it."""
_FLUSHERS: Final = 32
"""Flushes of files that may be under way at once; threads start as they are needed."""
_QUICK_FLUSH_S: Final = 0.0003
"""Below this, on a disk with a safe cache, two flushes after each other cost less than a thread's help."""
_LARGEST_META_BYTES: Final = 65536
"""A file meta group beyond this is none; ours are a few hundred bytes."""


def spool_error(error: OSError, doing: str) -> SpoolError:
    """Put a disk's refusal into words."""
    if error.errno in _FULL:
        return SpoolFullError(
            f"The disk under the spool is full: {doing} failed ({error.strerror}). "
            "Make room, or set node.spool to a larger disk; nothing that was acknowledged is lost."
        )
    return SpoolError(
        f"The spool can't be used: {doing} failed ({error.strerror}). "
        "Check that the folder of node.spool exists, is writable for this user and that its disk is healthy."
    )


class IncomingFile:
    """One object while it arrives; it is nothing until the spool has settled it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = 0
        """Bytes written so far."""
        self._hash = hashlib.sha256()
        self._head: bytearray | None = bytearray()
        self._meta_bytes_left = 0
        try:
            reach("receive.opening")
            self._file: BinaryIO = path.open("xb")
        except OSError as error:
            raise spool_error(error, "opening a file for an incoming object") from error

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append bytes as they came.

        Raises:
            SpoolFullError: no room; discard the file and answer A700.
            SpoolError: the disk refuses.
        """
        try:
            reach("receive.writing")
            self._file.write(data)
        except OSError as error:
            raise spool_error(error, "writing an incoming object") from error
        self.size += len(data)
        if self._head is None and self._meta_bytes_left == 0:
            self._hash.update(data)
        else:
            self._digest_head(bytes(data))

    def _digest_head(self, data: bytes) -> None:
        """Leave the preamble and the file meta group out of the digest."""
        if self._head is not None:
            self._head += data
            if len(self._head) < _META_LENGTH_END:
                return
            data, self._head = bytes(self._head), None
            length = int.from_bytes(data[140:144], "little")
            if data[128:140] == _META_START and length <= _LARGEST_META_BYTES:
                self._meta_bytes_left = length
                data = data[_META_LENGTH_END:]
        skipped = min(self._meta_bytes_left, len(data))
        self._meta_bytes_left -= skipped
        self._hash.update(memoryview(data)[skipped:])

    @property
    def digest(self) -> str:
        """SHA-256, in hexadecimal, of what was written after the file meta group (of all, without one)."""
        digest = self._hash.copy()
        if self._head:
            digest.update(self._head)
        return digest.hexdigest()

    @contextmanager
    def reading(self) -> Iterator[BinaryIO]:
        """Open what was written so far for reading."""
        try:
            self._file.flush()
            file = self.path.open("rb")
        except OSError as error:
            raise spool_error(error, "reading back an incoming object") from error
        with file:
            yield file

    def flush(self) -> None:
        """Put everything written on stable storage, and close."""
        try:
            flush_file(self._file)
            self._file.close()
        except OSError as error:
            raise spool_error(error, "flushing an incoming object to the disk") from error

    def discard(self) -> None:
        """Delete the file; safe to repeat, and harmless once it is settled."""
        try:
            self._file.close()
        except OSError:
            # The last buffer found no room; the file goes anyway.
            _log.debug("an incoming file could not be flushed before it was discarded")
        self.path.unlink(missing_ok=True)


class SpoolFiles:
    """The spool's folders, made and checked."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self.incoming = self.root / "incoming"
        self.objects = self.root / "objects"
        self.derived = self.root / "derived"
        self.quarantine = self.root / "quarantine"
        self.ledger_path = self.root / LEDGER_NAME
        self._folder_flush_s = 0.0
        """How long the last flush of a folder took: what the disk is like."""
        self._settling: set[Path] = set()
        self._settling_changed = threading.Condition()
        self._flusher = ThreadPoolExecutor(_FLUSHERS, thread_name_prefix="spool-flush")
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
        for folder in (self.incoming, self.objects, self.derived, self.quarantine):
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
        """Open a file for an object that is about to arrive."""
        return IncomingFile(self.incoming / f"{secrets.token_hex(16)}.dcm")

    def settle(self, incoming: IncomingFile, *, SOPInstanceUID: str, transfer_syntax_uid: str) -> Path:
        """Move an incoming object into its durable place; afterwards it survives a power cut.

        The name is a digest over UID, transfer syntax and content, so no two instances ever share a file,
        and the same object sent again lands on the same name.

        Raises:
            SpoolFullError: no room.
            SpoolError: the disk refuses.
        """
        key = f"{SOPInstanceUID}\n{transfer_syntax_uid}\n{incoming.digest}"
        target = self._sharded(self.objects, key)
        try:
            with self._alone_with(target):
                reach("receive.settling")
                if target.exists():
                    # The same object again: the one that is durable stays until this one is.
                    incoming.flush()
                    move_into_place(incoming.path, target)
                else:
                    self._move_then_flush(incoming, target)
        except OSError as error:
            raise spool_error(error, "moving a received object into the spool") from error
        return target

    def _move_then_flush(self, incoming: IncomingFile, target: Path) -> None:
        """Flush a file and its new folder at once: the disk has one journal commit to wait for, not two.

        What a power cut leaves cut off under its final name is in no ledger, and start-up sets it apart.
        """
        incoming.path.replace(target)
        try:
            reach("receive.moved")
            if self._folder_flush_s < _QUICK_FLUSH_S:
                incoming.flush()
                self._flush_folder_of(target)
            else:
                flushing = self._flusher.submit(incoming.flush)
                try:
                    self._flush_folder_of(target)
                finally:
                    flushing.result()
        except (OSError, SpoolError):
            target.unlink(missing_ok=True)
            raise

    def _flush_folder_of(self, target: Path) -> None:
        started = time.monotonic()
        flush_folder(target.parent)
        self._folder_flush_s = time.monotonic() - started

    @contextmanager
    def _alone_with(self, target: Path) -> Iterator[None]:
        """Keep two threads with the same object from moving it at the same time."""
        with self._settling_changed:
            self._settling_changed.wait_for(lambda: target not in self._settling)
            self._settling.add(target)
        try:
            yield
        finally:
            with self._settling_changed:
                self._settling.discard(target)
                self._settling_changed.notify_all()

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
        try:
            disk = os.statvfs(self.root)
        except OSError as error:
            raise spool_error(error, "asking the disk for its free space") from error
        return disk.f_bavail * disk.f_frsize / 1e6

    def sweep_incoming(self) -> int:
        """Delete what was still arriving when the last node ended: none of it was acknowledged.

        Call it only while holding the spool.

        Returns:
            How many files were deleted.
        """
        swept = 0
        try:
            for leftover in self.incoming.iterdir():
                leftover.unlink(missing_ok=True)
                swept += 1
        except OSError as error:
            raise spool_error(error, "sweeping unfinished incoming objects") from error
        return swept
