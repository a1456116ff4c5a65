"""Put bytes on stable storage so that a power cut finds either all of them or none.

`os.replace` is atomic but not durable: the new name lives in the folder, so the folder is flushed too.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


def flush_file(file: BinaryIO) -> None:
    """Force a file's bytes to the disk.

    Raises:
        OSError: the disk refuses; the bytes must then be counted as lost.
    """
    file.flush()
    os.fsync(file.fileno())


def flush_folder(folder: Path) -> None:
    """Force a folder's list of names to the disk."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def move_into_place(source: Path, target: Path) -> None:
    """Give a flushed file its final name, and flush the folder that holds the name."""
    source.replace(target)
    flush_folder(target.parent)


@contextmanager
def durable_file(target: Path) -> Iterator[BinaryIO]:
    """Open a file that appears under its name only when it was written whole and flushed.

    On any error inside the block nothing is left behind, and an older file of that name stays as it was.
    """
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            yield file
            flush_file(file)
        move_into_place(part, target)
    finally:
        part.unlink(missing_ok=True)
