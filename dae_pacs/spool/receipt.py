"""What a received object's file says of its own receipt: enough to record it where the ledger knows nothing.

The receipt is the last element of the file meta group, Private Information (0002,0102) of PS3.10 7.1. It has
a fixed length, so that room is left for it before the data set arrives and it is written last, with a check
value over the whole file. A file whose check value holds arrived whole; one that a crash or a power cut tore
has none, or a wrong one. Calling and called AE title stand in the group's own elements.
"""

import errno
import hashlib
import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

import xxhash

from dae_pacs import part10
from dae_pacs.errors import NotDicomError
from dae_pacs.identity import IMPLEMENTATION_CLASS_UID
from dae_pacs.part10 import FileMeta

_MAGIC: Final = b"daepacs1"
_LAYOUT: Final = struct.Struct("<8sQQdQ32s48s128s")
"""Mark, check value, bytes of the data set, time, sequence number, association, address, warning."""
_CHECK_VALUE: Final = slice(8, 16)
_BLANK: Final = bytes(_LAYOUT.size)
_CREATOR: Final = part10.text_element(part10.PRIVATE_CREATOR_UID, b"UI", IMPLEMENTATION_CLASS_UID)
_BLOCK_BYTES: Final = 1 << 18


@dataclass(frozen=True)
class Receipt:
    """Who sent an object, when, and over which association."""

    calling_ae: str
    called_ae: str
    address: str
    association: str
    received_at: float
    sequence: int
    """Counts the objects of one run of the node."""
    warning: str


@dataclass(frozen=True)
class Sealed:
    """A whole file of a received object, and what it says of itself."""

    path: Path
    meta: FileMeta
    receipt: Receipt
    data_start: int
    size_bytes: int
    """Of the object; the file may be longer, where room was made ahead."""

    def digest(self) -> str:
        """Give the SHA-256, in hexadecimal, of the data set.

        Raises:
            OSError: the disk refuses.
        """
        with self.path.open("rb") as file:
            return data_digest(file.fileno(), self.data_start, self.size_bytes - self.data_start)


def with_room(head: bytes) -> bytes:
    """Append an empty receipt to a file's head as `part10.encode` writes it."""
    return _with(head, _BLANK)


def sign(head: bytes, receipt: Receipt, data: "xxhash.xxh3_64", *, data_bytes: int) -> bytes:
    """Write the receipt into a head that has room for it.

    Args:
        head: from `with_room`.
        receipt: what to write.
        data: the running check value over the data set.
        data_bytes: the data set's length.
    """
    record = _LAYOUT.pack(
        _MAGIC,
        0,
        data_bytes,
        receipt.received_at,
        receipt.sequence,
        receipt.association.encode("latin-1", "replace"),
        receipt.address.encode("latin-1", "replace"),
        receipt.warning.encode("latin-1", "replace"),
    )
    signed = bytearray(head[: -_LAYOUT.size] + record)
    check = _check_value(signed, data)
    start = len(signed) - _LAYOUT.size
    signed[start + _CHECK_VALUE.start : start + _CHECK_VALUE.stop] = check
    return bytes(signed)


def _with(head: bytes, record: bytes) -> bytes:
    elements = head[part10.LENGTH_END :] + _CREATOR
    return part10.head(elements + part10.element(part10.PRIVATE_INFORMATION, b"OB", record))


def _check_value(head: bytes | bytearray, data: "xxhash.xxh3_64") -> bytes:
    """Continue a data set's check value over the head, whose own check value is zero."""
    running = data.copy()
    running.update(head)
    return int(running.intdigest()).to_bytes(8, "little")


def read(path: Path, *, is_checked: bool = True) -> Sealed | None:
    """Read a file's receipt; None where it has none, or is not the whole file that was signed.

    Args:
        path: of a file in the spool.
        is_checked: whether to read the file to its end and compare the check value.

    Raises:
        OSError: the disk refuses.
    """
    with path.open("rb") as file:
        try:
            values = part10.read_values(file)
        except NotDicomError:
            return None
        record = values.get(part10.PRIVATE_INFORMATION, b"")
        if len(record) != _LAYOUT.size or not record.startswith(_MAGIC):
            return None
        start = file.tell()
        sealed = _sealed(path, values, record, start)
        if is_checked and not _is_whole(file, start, sealed.size_bytes - start):
            return None
        return sealed


def read_old(path: Path) -> Sealed | None:
    """Read a file's receipt, or make one up for a file from before there were receipts.

    Raises:
        OSError: the disk refuses.
    """
    with path.open("rb") as file:
        try:
            values = part10.read_values(file)
        except NotDicomError:
            return None
        if part10.PRIVATE_INFORMATION in values:
            return read(path)
        said = Receipt(
            part10.text_of(values, part10.SOURCE_AE), "", "", "before", path.stat().st_mtime, 0, ""
        )
        return Sealed(path, part10.meta_of(values), said, file.tell(), path.stat().st_size)


def _sealed(path: Path, values: dict[int, bytes], record: bytes, start: int) -> Sealed:
    _magic, _check, data_bytes, received_at, sequence, association, address, warning = _LAYOUT.unpack(record)
    receipt = Receipt(
        calling_ae=part10.text_of(values, part10.SOURCE_AE),
        called_ae=part10.text_of(values, part10.RECEIVING_AE),
        address=_text(address),
        association=_text(association),
        received_at=received_at,
        sequence=sequence,
        warning=_text(warning),
    )
    return Sealed(path, part10.meta_of(values), receipt, start, start + data_bytes)


def _text(value: bytes) -> str:
    return value.rstrip(b"\0").decode("latin-1")


def _is_whole(file: BinaryIO, start: int, data_bytes: int) -> bool:
    """Compare the check value with what the file holds; it stands at its data set."""
    running, left = xxhash.xxh3_64(), data_bytes
    while left:
        block = file.read(min(left, _BLOCK_BYTES))
        if not block:
            return False
        running.update(block)
        left -= len(block)
    file.seek(0)
    head = bytearray(file.read(start))
    place = slice(start - _LAYOUT.size + _CHECK_VALUE.start, start - _LAYOUT.size + _CHECK_VALUE.stop)
    found = bytes(head[place])
    head[place] = bytes(8)
    return found == _check_value(head, running)


def data_digest(handle: int, start: int, data_bytes: int) -> str:
    """Give the SHA-256, in hexadecimal, of so many bytes of an open file.

    Raises:
        OSError: the disk refuses, or the file is shorter.
    """
    digest, block = hashlib.sha256(), memoryview(bytearray(min(_BLOCK_BYTES, data_bytes) or 1))
    end = start + data_bytes
    while start < end:
        count = os.preadv(handle, [block[: end - start]], start)
        if not count:
            raise OSError(errno.EIO, "the file is shorter than it was")
        digest.update(block[:count])
        start += count
    return digest.hexdigest()
