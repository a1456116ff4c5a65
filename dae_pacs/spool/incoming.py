"""One object while it arrives: written as it comes, then signed, then flushed; from there on it is kept.

The file's head is written last. Until then the file is worth nothing, whatever a crash leaves of it; after
its flush it is the durable record of the object, and all that follows can be done again from it alone.
"""

import errno
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final, Self

import xxhash

from dae_pacs import part10
from dae_pacs.durable import flush_folder
from dae_pacs.errors import SpoolError, SpoolFullError
from dae_pacs.failpoints import reach
from dae_pacs.spool import receipt
from dae_pacs.spool.receipt import Receipt, data_digest

_log = logging.getLogger(__name__)

_BLOCK_BYTES: Final = 1 << 18
_FULL: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


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
    """One object while it arrives; it is nothing until it is sealed and flushed."""

    def __init__(self, path: Path, *, has_durable_name: bool = False) -> None:
        """Open the file.

        Args:
            path: a name of ours: of a file made ahead, or of one that is not there yet.
            has_durable_name: it was made ahead, and its name is on stable storage.

        Raises:
            SpoolError: the disk refuses.
        """
        self.path = path
        self._has_durable_name = has_durable_name
        self._is_sealed = False
        self._is_durable = False
        self._digest = ""
        self.is_settled = False
        """Whether it has its final name."""
        self._head = b""
        self._gathered: bytearray | None = bytearray()
        """What came before the head was whole; None once it is."""
        self._data_bytes = 0
        self._check = xxhash.xxh3_64()
        flags = os.O_RDWR if has_durable_name else os.O_RDWR | os.O_CREAT | os.O_EXCL
        try:
            reach("receive.opening")
            self._handle: int | None = os.open(path, flags | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise spool_error(error, "opening a file for an incoming object") from error

    @classmethod
    def reopened(cls, path: Path) -> Self:
        """Open a file that another process of ours wrote and flushed, and take its check value anew.

        Raises:
            SpoolError: the disk refuses.
        """
        file = cls(path, has_durable_name=True)
        file._has_durable_name = False  # whoever wrote it may have flushed another name
        try:
            file._take_in()
        except OSError as error:
            file.close()
            raise spool_error(error, "reading back an incoming object") from error
        return file

    def _take_in(self) -> None:
        handle, self._gathered = self._open_handle(), None
        size = part10.head_size(os.pread(handle, part10.LENGTH_END, 0))
        self._head = os.pread(handle, size, 0)
        end = os.fstat(handle).st_size
        block = memoryview(bytearray(_BLOCK_BYTES))
        while len(self._head) + self._data_bytes < end:
            count = os.preadv(handle, [block], len(self._head) + self._data_bytes)
            self._check.update(block[:count])
            self._data_bytes += count

    @property
    def size(self) -> int:
        """Bytes that the object's file has, head and data set."""
        return len(self._head) + self._data_bytes + len(self._gathered or b"")

    @property
    def data_bytes(self) -> int:
        """Bytes of the data set written so far."""
        return self._data_bytes

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append bytes as they came: first the head as `part10.encode` writes it, then the data set.

        Raises:
            SpoolFullError: no room; discard the file and answer A700.
            SpoolError: the disk refuses.
        """
        if self._gathered is None:
            self._append(data)
        else:
            self._gather(data)

    def _append(self, data: bytes | bytearray | memoryview) -> None:
        try:
            reach("receive.writing")
            done = os.write(self._open_handle(), data)
            while done < len(data):
                done += os.write(self._open_handle(), memoryview(data)[done:])
        except OSError as error:
            raise spool_error(error, "writing an incoming object") from error
        self._check.update(data)
        self._data_bytes += len(data)
        self._digest = ""

    def _gather(self, data: bytes | bytearray | memoryview) -> None:
        """Take the head apart from the data set, and leave room for it and the receipt."""
        gathered = self._gathered if self._gathered is not None else bytearray()
        gathered += data
        if len(gathered) < part10.LENGTH_END:
            return
        size = part10.head_size(gathered)
        if len(gathered) < size:
            return
        if size:
            self._head = receipt.with_room(bytes(gathered[:size]))
            os.lseek(self._open_handle(), len(self._head), os.SEEK_SET)
        self._gathered = None
        if len(gathered) > size:
            self._append(bytes(gathered[size:]))

    def _end_gathering(self) -> None:
        """Take for the data set what is too short for a head."""
        if self._gathered is not None:
            gathered, self._gathered = bytes(self._gathered), None
            if gathered:
                self._append(gathered)

    def start(self, limit: int) -> bytes:
        """Give the data set's first bytes, at most `limit`.

        Raises:
            SpoolError: the disk refuses.
        """
        self._end_gathering()
        try:
            return os.pread(self._open_handle(), min(limit, self._data_bytes), len(self._head))
        except OSError as error:
            raise spool_error(error, "reading back an incoming object") from error

    @property
    def digest(self) -> str:
        """SHA-256, in hexadecimal, of what was written after the file meta group (of all, without one)."""
        self._end_gathering()
        try:
            self._digest = self._digest or data_digest(self._open_handle(), len(self._head), self._data_bytes)
        except OSError as error:
            raise spool_error(error, "reading back an incoming object") from error
        return self._digest

    @contextmanager
    def reading(self) -> Iterator[BinaryIO]:
        """Open what was written so far, the head without its receipt, for reading."""
        self._end_gathering()
        try:
            if not self._is_sealed:
                self._write_head(self._head)
            self.trim()
            file = self.path.open("rb")
        except OSError as error:
            raise spool_error(error, "reading back an incoming object") from error
        with file:
            yield file

    def seal(self, signed: Receipt) -> None:
        """Write the head with its receipt: the file says from now on that it is whole.

        Raises:
            SpoolError: the disk refuses.
        """
        self._end_gathering()
        if not self._head:
            return  # not what `part10.encode` writes: it can be kept, but says nothing of its receipt
        self._head = receipt.sign(self._head, signed, self._check, data_bytes=self._data_bytes)
        try:
            self._write_head(self._head)
        except OSError as error:
            raise spool_error(error, "writing an incoming object") from error
        self._is_sealed = True

    def _write_head(self, head: bytes) -> None:
        if head and os.pwrite(self._open_handle(), head, 0) != len(head):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def flush(self) -> None:
        """Put the file on stable storage, under the name that it has now.

        POSIX promises that fdatasync writes a file's bytes and what is needed to find them, its length
        included, but says nothing of its name: a file that was not made ahead has its folder flushed too.

        Raises:
            SpoolError: the disk refuses.
        """
        self._end_gathering()
        try:
            if not self._is_sealed:
                self._write_head(self._head)
            os.fdatasync(self._open_handle())
            if not self._has_durable_name:
                reach("receive.flushing")
                flush_folder(self.path.parent)
        except OSError as error:
            raise spool_error(error, "flushing an incoming object to the disk") from error
        self._is_durable = self._has_durable_name = True

    @property
    def is_durable(self) -> bool:
        """Whether it is on stable storage."""
        return self._is_durable

    def trim(self) -> None:
        """Give back the room that was made ahead and not used.

        Raises:
            OSError: the disk refuses.
        """
        self._end_gathering()
        if os.fstat(self._open_handle()).st_size != self.size:
            os.ftruncate(self._open_handle(), self.size)

    def close(self) -> None:
        """Close the file; safe to repeat."""
        handle, self._handle = self._handle, None
        if handle is not None:
            with suppress(OSError):
                os.close(handle)

    def discard(self) -> None:
        """Delete the file; safe to repeat, and harmless once it is settled or handed on."""
        if not self._is_durable:
            self.delete()

    def delete(self) -> None:
        """Delete the file, flushed or not."""
        self.close()
        self.path.unlink(missing_ok=True)

    def _open_handle(self) -> int:
        if self._handle is None:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        return self._handle
