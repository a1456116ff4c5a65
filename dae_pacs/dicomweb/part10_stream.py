"""Take the file meta information off a Part 10 file that comes as a stream (PS3.10 7.1)."""

import io
import struct
from typing import Final

from dae_pacs import part10
from dae_pacs.errors import NotDicomError
from dae_pacs.part10 import FileMeta

_LONGEST_META: Final = 65536
_META_START: Final = b"\x02\x00"
_LONG_VRS: Final = frozenset(
    (b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV")
)


class Unwrapping:
    """A Part 10 file on its way: first its meta, then its data set's bytes as they stand."""

    def __init__(self) -> None:
        self._gathered: bytearray | None = bytearray()
        self._meta: FileMeta | None = None

    @property
    def meta(self) -> FileMeta | None:
        """What the file meta information says; None before it is whole."""
        return self._meta

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes of the file; gives the data set's among them.

        Raises:
            NotDicomError: it is no Part 10 file, or does not say what it is.
        """
        if self._gathered is None:
            return data
        self._gathered += data
        if len(self._gathered) < len(part10.PREAMBLE):
            return b""
        if self._gathered[128:132] != b"DICM" and self._gathered.startswith(_META_START):
            self._gathered[:0] = part10.PREAMBLE  # dicomweb-client leaves it out of what was made in memory
        if self._gathered[128:132] != b"DICM":
            raise NotDicomError("no DICOM file: expected the letters DICM after 128 bytes (PS3.10 7.1)")
        end = _end_of_meta(self._gathered)
        if end is None:
            if len(self._gathered) > _LONGEST_META:
                raise NotDicomError("file meta information that does not end")
            return b""
        rest = bytes(self._gathered[end:])
        meta = part10.read(io.BytesIO(self._gathered[:end]))
        if not meta.SOPClassUID or not meta.SOPInstanceUID:
            raise NotDicomError(
                "file meta information without Media Storage SOP Class or Instance UID (0002,0002/3)"
            )
        self._meta, self._gathered = meta, None
        return rest

    def close(self) -> FileMeta:
        """Hear that the file is over; gives its meta.

        Raises:
            NotDicomError: it ended before its data set.
        """
        if self._meta is None:
            raise NotDicomError("the object ends before its data set begins")
        return self._meta


def _end_of_meta(start: bytearray) -> int | None:
    """Say where group 0002 ends; None where that is still to come."""
    position = len(part10.PREAMBLE)
    while len(start) >= position + 8:
        group, _number, vr, length = struct.unpack_from("<HH2sH", start, position)
        if group != 0x0002:
            return position
        position += 8
        if vr in _LONG_VRS:
            if len(start) < position + 4:
                return None
            (length,) = struct.unpack_from("<I", start, position)
            position += 4
        position += length
    return None
