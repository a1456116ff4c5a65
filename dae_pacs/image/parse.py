"""Read a DICOM file's structure without trusting a length in it.

Part 10 files and bare data sets (PS3.10 section 7, PS3.5 section 7). Every length is compared with the
bytes that are really there before memory is spent on it, and the elements stay as they stand in the file.
"""

import io
import struct
import warnings
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filereader import read_dataset
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)
from pydicom.valuerep import EXPLICIT_VR_LENGTH_32

from dae_pacs.errors import NotDicomError
from dae_pacs.image.peek import BROKEN, open_sequence, string, value_representation
from dae_pacs.image.scan import MOST_BYTES, scan
from dae_pacs.image.span import Span

PIXEL_TAGS = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})
UNDEFINED_LENGTH = 0xFFFFFFFF
# Real objects nest fewer than ten deep; a thousand levels are an attack on the stack.
DEEPEST_SEQUENCE = 32
# Outside of sequences real objects have some hundreds; a gigabyte of zeros would be read as 100 million.
MOST_ELEMENTS = 100_000
# A deflated data set says nothing about its real size, so limits stand in for the missing length: what may
# come out of little, how many times its size out of much, and what may come out at all. Images deflate to a
# half or a quarter, zlib could pack a thousand to one.
SMALL_INFLATED_BYTES = 64 << 20
LARGEST_INFLATION = 16
LARGEST_INFLATED_BYTES = 2 << 30
_PERHAPS_SEQUENCES = frozenset({None, "SQ", "UN"})  # where None is implicit, and the dictionary knows
_ITEM, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE0DD


@dataclass(frozen=True)
class Encoding:
    """How a data set's elements are written down."""

    transfer_syntax_uid: str
    is_implicit: bool
    is_little: bool


_EXPLICIT_LITTLE = Encoding(str(ExplicitVRLittleEndian), is_implicit=False, is_little=True)
_EXPLICIT_BIG = Encoding(str(ExplicitVRBigEndian), is_implicit=False, is_little=False)
_IMPLICIT_LITTLE = Encoding(str(ImplicitVRLittleEndian), is_implicit=True, is_little=True)


class BoundedFile:
    """A file that refuses to give fewer bytes than it was asked for, and never makes room for them first."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        here = file.tell()
        self.size_bytes = file.seek(0, io.SEEK_END)
        file.seek(here)

    def read(self, size: int = -1) -> bytes:
        """Read exactly `size` bytes, or none at the very end.

        Raises:
            NotDicomError: the file ends before that.
        """
        left = self.size_bytes - self._file.tell()
        if size > left > 0:
            raise NotDicomError(
                f"The file is cut off: an element asks for {size} bytes where {left} are left. Send it again"
            )
        return self._file.read(size)

    def tell(self) -> int:
        """Return the position."""
        return self._file.tell()

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move the position; beyond the end is refused.

        Raises:
            NotDicomError: the position lies beyond the end.
        """
        position = self._file.seek(offset, whence)
        if position > self.size_bytes:
            missing = position - self.size_bytes
            raise NotDicomError(
                f"The file is cut off: {missing} bytes of its last element are missing. Send it again"
            )
        return position


def parse(file: BinaryIO, *, with_pixels: bool, path: Path | None = None) -> Dataset:
    """Read a whole object, or everything but its pixel data, whose presence is checked all the same.

    Args:
        file: stands at its beginning.
        with_pixels: whether the object gets its pixel data element.
        path: of the file; the element then carries a `Span` of it in place of the bytes.

    Raises:
        NotDicomError: no DICOM object, one cut off, or one nested beyond reason.
    """
    try:
        with warnings.catch_warnings():
            # pydicom warns of odd character sets and the like; what matters is checked where it is used.
            warnings.simplefilter("ignore")
            return _parse(BoundedFile(file), with_pixels=with_pixels, path=path)
    except RecursionError as error:
        raise NotDicomError(
            "The object's sequences are nested beyond reason; it is not read further"
        ) from error
    except (*BROKEN, MemoryError) as error:
        raise NotDicomError(f"The bytes do not follow the DICOM encoding: {error}") from error


def _parse(file: BoundedFile, *, with_pixels: bool, path: Path | None) -> Dataset:
    start, has_preamble = _find_start(file)
    file.seek(start)
    meta = FileMetaDataset(_elements(file, _EXPLICIT_LITTLE, lambda tag: tag >> 16 != 2))
    encoding = _encoding(file, string(meta, "TransferSyntaxUID"))
    origin: Path | bytes = b"" if path is None else path
    if encoding.transfer_syntax_uid == DeflatedExplicitVRLittleEndian:
        inflated = _inflate(file.read())
        file, origin = BoundedFile(io.BytesIO(inflated)), inflated
    ds = _elements(file, encoding, PIXEL_TAGS.__contains__)
    pixels = _pixel_element(file, encoding, origin)
    if pixels is not None and with_pixels:
        if path is None:
            pixels.value = _read_place(file, pixels.value)
        ds[pixels.tag] = pixels
        ds.update(_elements(file, encoding, lambda _: False))
    if not len(ds) or not (has_preamble or len(meta) or string(ds, "SOPClassUID")):
        raise NotDicomError("The file holds no DICOM data set: no SOP Class UID was found in it")
    if not string(meta, "TransferSyntaxUID"):
        meta.TransferSyntaxUID = UID(encoding.transfer_syntax_uid)
    ds.file_meta = meta
    open_sequences(ds, encoding)
    return ds


def _find_start(file: BoundedFile) -> tuple[int, bool]:
    """Find the first element: behind the preamble, or at the very start of a bare data set."""
    if file.size_bytes >= 132:
        file.seek(128)
        if file.read(4) == b"DICM":
            return 132, True
    file.seek(0)
    head = file.read(min(8, file.size_bytes))
    # A bare data set begins with group 0002 or 0008, in either byte order.
    if len(head) == 8 and head[:2] in (b"\x02\x00", b"\x08\x00", b"\x00\x08"):
        return 0, False
    raise NotDicomError(
        "The file is no DICOM file: neither the prefix DICM nor a data set's first element is there"
    )


def _elements(file: BoundedFile, encoding: Encoding, stop: Callable[[int], bool]) -> Dataset:
    """Read elements up to the first whose tag is to be stopped at, where the file then stands."""
    here = file.tell()
    if encoding.is_little:
        plain = scan(
            file.read(min(MOST_BYTES, file.size_bytes - here)),
            is_implicit=encoding.is_implicit,
            start=here,
            stop=stop,
        )
        if plain is not None:
            file.seek(here + plain[1])
            return plain[0]
        file.seek(here)
    count = 0

    def stop_when(tag: int, _vr: str | None, _length: int) -> bool:
        nonlocal count
        count += 1
        if count > MOST_ELEMENTS:
            raise NotDicomError(
                f"The data set has more than {MOST_ELEMENTS} elements; it is not read further"
            )
        return stop(tag)

    return read_dataset(cast(BinaryIO, file), encoding.is_implicit, encoding.is_little, stop_when=stop_when)


def _encoding(file: BoundedFile, transfer_syntax_uid: str) -> Encoding:
    """Decide how the data set is written; without a transfer syntax by looking at its first element."""
    if transfer_syntax_uid == ImplicitVRLittleEndian:
        return _IMPLICIT_LITTLE
    if transfer_syntax_uid == ExplicitVRBigEndian:
        return _EXPLICIT_BIG
    if transfer_syntax_uid:
        return Encoding(transfer_syntax_uid, is_implicit=False, is_little=True)
    here = file.tell()
    head = file.read(min(6, file.size_bytes - here))
    file.seek(here)
    if not (head[4:6].isalpha() and head[4:6].isupper()):
        return _IMPLICIT_LITTLE
    if head[:1] == b"\x00":
        return _EXPLICIT_BIG
    return _EXPLICIT_LITTLE


def _inflate(data: bytes) -> bytes:
    """Undo the deflated transfer syntax, PS3.5 section A.5."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    limit = min(LARGEST_INFLATED_BYTES, max(SMALL_INFLATED_BYTES, LARGEST_INFLATION * len(data)))
    try:
        inflated = inflater.decompress(data, limit)
    except zlib.error as error:
        raise NotDicomError(f"The deflated data set does not inflate: {error}. Send it again") from error
    if not inflater.eof:
        raise NotDicomError(
            f"The deflated data set of {len(data)} bytes is cut off, or inflates to more than the limit of "
            f"{limit} bytes; send it again, uncompressed"
        )
    return inflated


def _pixel_element(file: BoundedFile, encoding: Encoding, origin: Path | bytes) -> DataElement | None:
    """Check that the pixel data are all there, and step over them.

    The file stands before an element header, or at its end. The value names the place in `origin`.
    """
    head = file.read(8)
    if len(head) < 8:
        return None
    order = "<" if encoding.is_little else ">"
    group, number, length = struct.unpack(order + "HHL", head)
    vr = "OW"
    if not encoding.is_implicit:
        vr = head[4:6].decode("latin-1")
        if vr in EXPLICIT_VR_LENGTH_32:
            (length,) = struct.unpack(order + "L", file.read(4))
        else:
            (length,) = struct.unpack(order + "H", head[6:8])
    start = file.tell()
    end = _end_of_fragments(file, order) if length == UNDEFINED_LENGTH else file.seek(start + length)
    elem = DataElement(
        BaseTag(group << 16 | number),
        "OB" if length == UNDEFINED_LENGTH else vr,
        Span(origin, start, end - start),
        already_converted=True,
    )
    elem.is_undefined_length = length == UNDEFINED_LENGTH
    return elem


def _read_place(file: BoundedFile, place: Span) -> bytes:
    resume = file.tell()
    file.seek(place.start)
    value = file.read(place.size_bytes)
    file.seek(resume)
    return value


def _end_of_fragments(file: BoundedFile, order: str) -> int:
    """Step over encapsulated fragments, PS3.5 section A.4; return where the delimiter starts."""
    while True:
        here = file.tell()
        head = file.read(8)
        if len(head) < 8:
            raise NotDicomError(
                "The file is cut off: its compressed pixel data have no sequence delimiter. Send it again"
            )
        group, number, length = struct.unpack(order + "HHL", head)
        tag = group << 16 | number
        if tag == _SEQUENCE_END:
            return here
        if tag != _ITEM or length == UNDEFINED_LENGTH:
            raise NotDicomError(
                f"The compressed pixel data hold ({group:04X},{number:04X}) where a fragment was expected"
            )
        file.seek(here + 8 + length)


def open_sequences(ds: Dataset, encoding: Encoding, *, depth: int = 0) -> None:
    """Turn every sequence that is still bytes into items whose elements are still bytes.

    Raises:
        NotDicomError: nested deeper than `DEEPEST_SEQUENCE`, or not a sequence's encoding.
    """
    if depth > DEEPEST_SEQUENCE:
        raise NotDicomError(
            f"The object's sequences are nested more than {DEEPEST_SEQUENCE} deep; it is not read"
        )
    # pydicom declares the converted kind alone.
    elements = cast("Mapping[BaseTag, DataElement | RawDataElement]", ds._dict)
    for tag, found in list(elements.items()):
        elem = found
        if isinstance(elem, RawDataElement):
            if elem.length not in (0, UNDEFINED_LENGTH, len(elem.value or b"")):
                raise NotDicomError("The object is cut off in the middle of an element. Send it again")
            if elem.VR not in _PERHAPS_SEQUENCES or value_representation(elem) != "SQ":
                continue
            opened = DataElement(tag, "SQ", open_sequence(elem, ds), already_converted=True)
            opened.is_undefined_length = False
            # Dataset.__setitem__ would propagate the pixel representation by converting elements.
            ds._dict[tag] = opened
            elem = opened
        if isinstance(elem.value, Sequence):
            for item in elem.value:
                open_sequences(item, encoding, depth=depth + 1)
