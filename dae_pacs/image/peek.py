"""Look at elements without changing them.

pydicom turns an element's bytes into a value on first access and keeps only the value, so that a text in
an ISO 2022 character set may be written back with other bytes. These functions read a value and leave the
element as it stands in the file.
"""

import struct
import warnings
from collections.abc import Iterator, Mapping
from functools import cache, lru_cache
from typing import cast

import numpy as np
from pydicom import charset, config
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag
from pydicom.uid import UID
from pydicom.values import convert_SQ

from dae_pacs.errors import NotDicomError, PixelError

# What pydicom raises on bytes that are no DICOM.
BROKEN = (
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    OSError,
    EOFError,
    OverflowError,
    NotImplementedError,
    struct.error,
    BytesLengthException,
)
# VRs whose characters depend on Specific Character Set, PS3.5 section 6.1.2.3.
TEXT_VRS = frozenset({"LO", "LT", "PN", "SH", "ST", "UC", "UT"})
# Texts in which a backslash is no separator, PS3.5 section 6.2.
_ONE_VALUE_VRS = frozenset({"LT", "ST", "UT", "UR"})
# Characters of a Specific Character Set whose meaning is remembered; real ones have less than 100.
_MOST_REMEMBERED = 256
# Binary numbers by the letters of `struct`, PS3.5 section 6.2. "US or SS" is read as unsigned; the pixel code
# gives it its sign.
_NUMBER_TYPES = {
    "US": "H",
    "SS": "h",
    "UL": "L",
    "SL": "l",
    "UV": "Q",
    "SV": "q",
    "FL": "f",
    "FD": "d",
    "OW": "H",
    "OB": "B",
    "US or SS": "H",
    "US or OW": "H",
    "US or SS or OW": "H",
}


@cache
def tag_of(keyword: str) -> BaseTag:
    """Return a keyword's tag, PS3.6; pydicom's own search for it takes longer than all that is done with it.

    Raises:
        KeyError: no such keyword.
    """
    tag = tag_for_keyword(keyword)
    if tag is None:
        raise KeyError(keyword)
    return BaseTag(tag)


def element(ds: Dataset, keyword: str) -> DataElement | RawDataElement | None:
    """Return an element as it stands, converted or not, or None."""
    # Not get_item: it looks the tag up twice, after making tags of it, and headers are read for every object.
    found: DataElement | RawDataElement | None = ds._dict.get(tag_of(keyword))
    return found


def strings(ds: Dataset, keyword: str) -> tuple[str, ...]:
    """Return the values of a textual element without their padding; () where it is absent or empty."""
    elem = element(ds, keyword)
    if elem is None or elem.value is None or elem.value in (b"", ""):
        return ()
    if not isinstance(elem, RawDataElement):
        values = elem.value if isinstance(elem.value, MultiValue | list | tuple) else [elem.value]
        return tuple(str(value).strip(" \0") for value in values)
    vr = value_representation(elem)
    text = decode_text(elem.value or b"", ds) if vr in TEXT_VRS else (elem.value or b"").decode("latin-1")
    if vr in _ONE_VALUE_VRS:
        return (text.rstrip(" \0"),)
    return tuple(part.strip(" \0") for part in text.split("\\"))


def string(ds: Dataset, keyword: str) -> str:
    """Return the first value of a textual element, or ""."""
    return next(iter(strings(ds, keyword)), "")


def numbers(ds: Dataset, keyword: str) -> tuple[float, ...]:
    """Return the values of a numeric element; () where it is absent or empty.

    Raises:
        PixelError: a decimal or integer string that is no number.
    """
    elem = element(ds, keyword)
    if elem is None or elem.value is None:
        return ()
    if isinstance(elem, RawDataElement):
        number_type = _NUMBER_TYPES.get(value_representation(elem))
        if number_type is not None:
            order, data = "<" if elem.is_little_endian else ">", elem.value or b""
            count = len(data) // struct.calcsize(order + number_type)
            return tuple(map(float, struct.unpack_from(f"{order}{count}{number_type}", data)))
    try:
        return tuple(float(text) for text in strings(ds, keyword) if text)
    except ValueError as error:
        raise PixelError(
            f"{keyword} is {strings(ds, keyword)!r}, which is no number; correct the header"
        ) from error


def number(ds: Dataset, keyword: str) -> float | None:
    """Return the first value of a numeric element, or None."""
    return next(iter(numbers(ds, keyword)), None)


def integer(ds: Dataset, keyword: str) -> int | None:
    """Return the first value of a numeric element as an integer, or None.

    Raises:
        PixelError: it is no number, or no whole one.
    """
    value = number(ds, keyword)
    if value is None:
        return None
    if not np.isfinite(value) or value != int(value):
        raise PixelError(f"{keyword} is {value}, which is no whole number; correct the header")
    return int(value)


def uid_name(value: str) -> str:
    """Return a UID's name in PS3.6, or the UID itself; a malformed one is no reason to warn."""
    return str(UID(value, validation_mode=config.IGNORE).name)


def items(ds: Dataset, keyword: str) -> tuple[Dataset, ...]:
    """Return the items of a sequence; () where it is absent or empty.

    Raises:
        NotDicomError: its bytes are no sequence.
    """
    elem = element(ds, keyword)
    if isinstance(elem, RawDataElement):
        return tuple(open_sequence(elem, ds))
    if elem is None or not elem.value:
        return ()
    return tuple(elem.value)


def open_sequence(elem: RawDataElement, ds: Dataset) -> Sequence:
    """Turn a sequence that is still bytes into items whose elements are still bytes.

    Raises:
        NotDicomError: its bytes are no sequence.
    """
    # The content of a sequence under VR UN is implicit little endian, PS3.5 section 6.2.2.
    is_unknown = str(elem.VR) == "UN"
    is_implicit, is_little = elem.is_implicit_VR or is_unknown, elem.is_little_endian or is_unknown
    try:
        return convert_SQ(elem.value or b"", is_implicit, is_little, encodings(ds))
    except (*BROKEN, RecursionError) as error:
        raise NotDicomError(
            f"The bytes of sequence {elem.tag} do not follow the DICOM encoding: {error}"
        ) from error


def walk(ds: Dataset) -> Iterator[DataElement | RawDataElement]:
    """Yield a data set's elements in the order of their tags, none of them converted."""
    # pydicom declares the converted kind alone.
    elements = cast("Mapping[BaseTag, DataElement | RawDataElement]", ds._dict)
    # As plain numbers: tags compare with each other in Python, one by one.
    for tag in sorted(elements, key=int):
        found = elements.get(tag)
        if found is not None:
            yield found


def value_representation(elem: DataElement | RawDataElement) -> str:
    """Return an element's VR, looked up where implicit VR or UN leaves it open; "UN" where nobody knows."""
    if elem.VR is not None and str(elem.VR) != "UN":
        return str(elem.VR)
    try:
        return str(dictionary_VR(elem.tag))
    except KeyError:
        return "UN"


def decode_text(data: bytes, ds: Dataset) -> str:
    """Decode text bytes by the data set's own character set, never failing."""
    if data.isascii() and b"\x1b" not in data:
        return data.decode("ascii")
    with warnings.catch_warnings():
        # An unknown term or a broken byte costs a character in a message, not the object.
        warnings.simplefilter("ignore")
        text = str(charset.decode_bytes(data, encodings(ds), {0x5C}))
    # pydicom 3.0.2 leaves this one sequence in the text (ISO IR 58 into G1, PS3.3 table C.12-4).
    return text.replace("\x1b$)A", "")


def encodings(ds: Dataset) -> list[str]:
    """Return Python's names for the data set's character sets, PS3.3 section C.12.1.1.2."""
    if element(ds, "SpecificCharacterSet") is None:
        inherited = ds.original_character_set or ["iso8859"]
        return [inherited] if isinstance(inherited, str) else list(inherited)
    terms = strings(ds, "SpecificCharacterSet") or ("",)
    # What a stranger writes at length is not kept in memory.
    is_short = sum(map(len, terms)) <= _MOST_REMEMBERED
    return list((_encodings_of if is_short else _encodings_of.__wrapped__)(terms))


@lru_cache(maxsize=64)
def _encodings_of(terms: tuple[str, ...]) -> tuple[str, ...]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return tuple(charset.convert_encodings(list(terms)))
