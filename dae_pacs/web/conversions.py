"""Kept objects in explicit VR little endian, in a copy on the spool's disk that is gone when it was read.

A copy must not take the room of what is received: there are few at a time (`Context.conversions`), and none
while the disk has less room than the node asks for.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from dae_pacs.dicomweb import frames
from dae_pacs.errors import SpoolFullError
from dae_pacs.image import files as image_files
from dae_pacs.spool.files import SpoolFiles
from dae_pacs.spool.records import Instance

IMPLICIT: Final = "1.2.840.10008.1.2"


@contextmanager
def explicit_copy(instance: Instance, files: SpoolFiles, *, least_free_mb: float) -> Iterator[Path]:
    """Give an object's copy in explicit VR little endian.

    Args:
        instance: in implicit VR little endian, or compressed without loss.
        files: of the spool.
        least_free_mb: what must be left on its disk beside the copy.

    Raises:
        SpoolFullError: there is too little room.
        DaePacsError: it can't be converted, or is no longer there.
    """
    check_room(instance, files, least_free_mb=least_free_mb)
    with files.scratch() as path:
        if instance.transfer_syntax_uid == IMPLICIT:
            image_files.write(image_files.open_object(instance.path), path)
        else:
            image_files.plain_copy(instance.path, path)
        yield path


def check_room(instance: Instance, files: SpoolFiles, *, least_free_mb: float) -> None:
    """See that an object's copy finds room.

    Raises:
        SpoolFullError: it does not.
        DaePacsError: the object can't be read.
    """
    needed = instance.size_bytes
    if instance.transfer_syntax_uid != IMPLICIT:
        needed += frames.uncompressed_bytes(frames.open_frames(instance.path))
    if files.free_mb() < least_free_mb + needed / 1e6:
        raise SpoolFullError(
            "The spool's disk has too little room to convert objects (node.minimum_free_mb). Ask for them as "
            "they are kept, with transfer-syntax=*."
        )
