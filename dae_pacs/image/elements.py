"""Copy and write elements byte for byte.

A derived object keeps what it inherits as bytes: a name in any character set, a trailing space, a decimal
string's spelling. Only the wrapping changes, to explicit VR little endian (PS3.5 section 7.1.2); nothing is
decoded and encoded again, and nothing is shared with the source.
"""

import copy
import io
import struct
from collections.abc import Callable, Iterator

import numpy as np
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_data_element
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag
from pydicom.valuerep import EXPLICIT_VR_LENGTH_32

from dae_pacs.image import peek
from dae_pacs.image.span import Span

# Bytes per number of each VR whose values have a byte order, PS3.5 section 6.2 and 7.3.
_WIDTHS = {
    "AT": 2,
    "US": 2,
    "SS": 2,
    "OW": 2,
    "UL": 4,
    "SL": 4,
    "FL": 4,
    "OF": 4,
    "OL": 4,
    "FD": 8,
    "OD": 8,
    "SV": 8,
    "UV": 8,
    "OV": 8,
}
_LONG_HEADER, _SHORT_HEADER = struct.Struct("<HH2sHL"), struct.Struct("<HH2sH")
_ITEM_HEADER = struct.Struct("<HHL")
_UNDEFINED_LENGTH = 0xFFFFFFFF
_BLOCK_BYTES = 1 << 24
_SHORT_LENGTH_LIMIT = 0xFFFF
SEQUENCE_END = b"\xfe\xff\xdd\xe0\x00\x00\x00\x00"
_ITEM_END = b"\xfe\xff\x0d\xe0\x00\x00\x00\x00"

Wanted = Callable[[Dataset, BaseTag], bool]


def exact_copy(source: Dataset, wanted: Wanted) -> Dataset:
    """Copy a data set to explicit VR little endian, values byte for byte, sharing nothing with the source.

    Args:
        source: as `parse` or pydicom read it, or made in memory.
        wanted: says of a data set (the root or an item) and a tag whether the element comes along.
    """
    return _copy(source, wanted, is_signed=(peek.number(source, "PixelRepresentation") or 0) == 1)


def _copy(source: Dataset, wanted: Wanted, *, is_signed: bool) -> Dataset:
    target = Dataset()
    target.set_original_encoding(
        is_implicit_vr=False, is_little_endian=True, character_encoding=peek.encodings(source)
    )
    is_signed = _is_signed(source, otherwise=is_signed)
    for elem in peek.walk(source):
        tag = BaseTag(elem.tag)
        # Group lengths are retired and would be wrong (PS3.5 section 7.2).
        if tag & 0xFFFF and wanted(source, tag):
            target._dict[tag] = _copy_element(elem, source, wanted, is_signed=is_signed)
    return target


def exact_element(source: Dataset, tag: BaseTag) -> DataElement | RawDataElement:
    """Copy one element that is there, as `exact_copy` does, with all that it holds."""
    elem = source._dict[tag]
    return _copy_element(elem, source, lambda _ds, _tag: True, is_signed=_is_signed(source, otherwise=False))


def _is_signed(ds: Dataset, *, otherwise: bool) -> bool:
    if peek.element(ds, "PixelRepresentation") is None:
        return otherwise
    return peek.number(ds, "PixelRepresentation") == 1


def _copy_element(
    elem: DataElement | RawDataElement, source: Dataset, wanted: Wanted, *, is_signed: bool
) -> DataElement | RawDataElement:
    if isinstance(elem, RawDataElement):
        if peek.value_representation(elem) != "SQ":
            return _explicit_little(elem, is_signed=is_signed)
        return _copy_sequence(_opened(elem, source), wanted, is_signed=is_signed)
    if isinstance(elem.value, Sequence):
        return _copy_sequence(elem, wanted, is_signed=is_signed)
    return copy.deepcopy(elem)


def _opened(elem: RawDataElement, ds: Dataset) -> DataElement:
    opened = DataElement(elem.tag, "SQ", peek.open_sequence(elem, ds), already_converted=True)
    opened.is_undefined_length = False
    return opened


def _copy_sequence(elem: DataElement, wanted: Wanted, *, is_signed: bool) -> DataElement:
    copied_items = []
    for item in elem.value:
        copied_item = _copy(item, wanted, is_signed=is_signed)
        copied_item.is_undefined_length_sequence_item = bool(
            getattr(item, "is_undefined_length_sequence_item", False)
        )
        copied_items.append(copied_item)
    copied = DataElement(elem.tag, "SQ", Sequence(copied_items), already_converted=True)
    copied.is_undefined_length = bool(elem.is_undefined_length)
    return copied


def _explicit_little(elem: RawDataElement, *, is_signed: bool) -> RawDataElement:
    vr, value = peek.value_representation(elem), elem.value or b""
    is_right = elem.VR is not None and elem.is_little_endian and not elem.is_implicit_VR
    if is_right and value and elem.length == len(value):
        # It is what would be made of it, and can't be changed: bytes in a tuple.
        return elem
    if elem.VR is not None:
        # Somebody wrote a VR down: it stays, even UN for a tag that we know.
        vr = str(elem.VR)
    elif "SS" in vr:
        vr = _settle_ambiguous(vr, value, is_signed=is_signed)
    elif " or " in vr:
        vr = "OW"
    width = _WIDTHS.get(vr)
    if not elem.is_little_endian and width and len(value) % width == 0:
        value = np.frombuffer(value, dtype=f">u{width}").astype(f"<u{width}").tobytes()
    length = elem.length if elem.length == _UNDEFINED_LENGTH else len(value)
    return RawDataElement(
        BaseTag(elem.tag), vr, length, value, 0, is_implicit_VR=False, is_little_endian=True
    )


def _settle_ambiguous(vr: str, value: bytes, *, is_signed: bool) -> str:
    """Choose among US and SS by Pixel Representation, and OW for what is longer than a descriptor."""
    if "OW" in vr and len(value) > 6:
        return "OW"
    return "SS" if is_signed else "US"


def raw(keyword_tag: int, vr: str, value: bytes) -> RawDataElement:
    """Make an element from bytes that are already encoded."""
    value = _even(vr, value)
    return RawDataElement(
        BaseTag(keyword_tag), vr, len(value), value, 0, is_implicit_VR=False, is_little_endian=True
    )


def raw_uid(keyword: str, value: str) -> RawDataElement:
    """Make a UID element; a malformed UID is handed on as it came."""
    return raw(peek.tag_of(keyword), "UI", value.encode("latin-1"))


def _even(vr: str, value: bytes) -> bytes:
    """Pad a value to an even length, PS3.5 section 6.2."""
    if len(value) % 2 == 0:
        return value
    return value + (b"\0" if vr in ("UI", "OB", "UN") else b" ")


def encode(ds: Dataset, wanted: Callable[[BaseTag], bool] = lambda _tag: True) -> Iterator[bytes]:
    """Encode a data set that is in explicit VR little endian, element by element, raw values as they are."""
    for elem in peek.walk(ds):
        tag = BaseTag(elem.tag)
        if not tag & 0xFFFF or not wanted(tag):
            continue
        if isinstance(elem, RawDataElement):
            value = _even(str(elem.VR), elem.value or b"")
            is_open = elem.length == _UNDEFINED_LENGTH
            yield element_header(tag, str(elem.VR), _UNDEFINED_LENGTH if is_open else len(value))
            yield value
            if is_open:
                yield SEQUENCE_END
        elif isinstance(elem.value, Sequence):
            yield from _encode_sequence(elem)
        elif isinstance(elem.value, bytes | Span) and str(elem.VR) in EXPLICIT_VR_LENGTH_32:
            # Pixel data: handed on without another copy, or piece by piece.
            span = elem.value if isinstance(elem.value, Span) else Span(elem.value, 0, len(elem.value))
            padding = b"\0" * (span.size_bytes % 2)
            yield element_header(
                tag,
                str(elem.VR),
                _UNDEFINED_LENGTH if elem.is_undefined_length else span.size_bytes + len(padding),
            )
            yield from span.blocks(_BLOCK_BYTES)
            yield SEQUENCE_END if elem.is_undefined_length else padding
        else:
            buffer = DicomBytesIO()
            buffer.is_little_endian, buffer.is_implicit_VR = True, False
            write_data_element(buffer, elem, peek.encodings(ds))
            yield buffer.getvalue()


def _encode_sequence(elem: DataElement) -> Iterator[bytes]:
    tag, is_open = BaseTag(elem.tag), bool(elem.is_undefined_length)
    body = io.BytesIO()
    for item in elem.value:
        content = b"".join(encode(item))
        is_open_item = bool(getattr(item, "is_undefined_length_sequence_item", False))
        length = _UNDEFINED_LENGTH if is_open_item else len(content)
        body.write(_ITEM_HEADER.pack(0xFFFE, 0xE000, length))
        body.write(content + _ITEM_END if is_open_item else content)
    yield element_header(tag, "SQ", _UNDEFINED_LENGTH if is_open else body.tell())
    yield body.getvalue()
    if is_open:
        yield SEQUENCE_END


def element_header(tag: BaseTag, vr: str, length: int) -> bytes:
    """Encode an element's tag, VR and length, PS3.5 section 7.1.2."""
    group, number = tag >> 16, tag & 0xFFFF
    if vr in EXPLICIT_VR_LENGTH_32:
        return _LONG_HEADER.pack(group, number, vr.encode("latin-1"), 0, length)
    if length > _SHORT_LENGTH_LIMIT:
        # A value too long for its VR's two length bytes goes under UN, PS3.5 section 6.2.2.
        return _LONG_HEADER.pack(group, number, b"UN", 0, length)
    return _SHORT_HEADER.pack(group, number, vr.encode("latin-1"), length)
