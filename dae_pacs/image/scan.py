"""Split the plain beginning of a data set into elements: the way that nearly every header is written.

pydicom reads any data set, an element at a time through a file; that takes longer than all else that is done
with an object when it arrives. Here a header in memory is split in one loop, and whatever is not plain, such
as an undefined length, an unknown VR or another byte order, is left to pydicom.
"""

import struct
from collections.abc import Callable
from typing import Final, cast

from pydicom.charset import convert_encodings
from pydicom.dataelem import DataElement, RawDataElement, convert_raw_data_element, empty_value_for_VR
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag
from pydicom.valuerep import EXPLICIT_VR_LENGTH_32, VR

MOST_BYTES: Final = 65536
"""How much of a data set is looked at; a header that is longer is pydicom's."""

_EXPLICIT: Final = struct.Struct("<HH2sH")
_IMPLICIT: Final = struct.Struct("<HHL")
_LONG: Final = struct.Struct("<L")
_UNDEFINED_LENGTH: Final = 0xFFFFFFFF
_CHARACTER_SET: Final = BaseTag(0x00080005)
_ITEMS_GROUP: Final = 0xFFFE
# Value representation by its two letters, and whether its length has four bytes (PS3.5 7.1.2).
_VRS: Final = {vr.value.encode(): (vr.value, vr in EXPLICIT_VR_LENGTH_32) for vr in VR if len(vr.value) == 2}
_EMPTY: Final = {
    vr: cast("bytes | None", empty_value_for_VR(vr, raw=True))
    for vr in [None, *(vr for vr, _is_long in _VRS.values())]
}
"""What pydicom has for a value of no bytes."""


def scan(
    data: bytes, *, is_implicit: bool, start: int, stop: Callable[[int], bool]
) -> tuple[Dataset, int] | None:
    """Split little endian elements up to the first tag that `stop` names.

    Args:
        data: the beginning of a data set; what lies behind it in the file is not needed.
        is_implicit: without value representations.
        start: where `data` begins in its file.
        stop: tells whether an element's tag ends the reading.

    Returns:
        The elements, none of them converted, and where in `data` the next one starts; None when something
        was not plain, or `data` ended first.
    """
    if is_implicit and data[4:6] in _VRS:
        return None  # it has value representations all the same
    elements: dict[BaseTag, DataElement | RawDataElement] = {}
    size, position = len(data), 0
    layout = _IMPLICIT if is_implicit else _EXPLICIT
    while position + 8 <= size:
        vr: str | None = None
        here = position
        if is_implicit:
            group, number, length = layout.unpack_from(data, here)
        else:
            group, number, letters, length = layout.unpack_from(data, here)
            if letters not in _VRS:
                return None
            vr, is_long = _VRS[letters]
            if is_long:
                if here + 12 > size:
                    return None
                (length,) = _LONG.unpack_from(data, here + 8)
                position += 4
        tag = BaseTag(group << 16 | number)
        if stop(tag):
            return _data_set(elements, is_implicit=is_implicit), here
        position += 8
        if length == _UNDEFINED_LENGTH or group == _ITEMS_GROUP or position + length > size:
            return None
        value = data[position : position + length] if length else _EMPTY[vr]
        elements[tag] = RawDataElement(
            tag, vr, length, value, start + position, is_implicit, is_little_endian=True
        )
        position += length
    return None


def _data_set(elements: dict[BaseTag, DataElement | RawDataElement], *, is_implicit: bool) -> Dataset:
    ds = Dataset(elements)
    found = elements.get(_CHARACTER_SET)
    encodings: list[str] | str = "iso8859"
    if isinstance(found, RawDataElement):
        encodings = convert_encodings(convert_raw_data_element(found).value)
    ds.set_original_encoding(is_implicit, is_little_endian=True, character_encoding=encodings)
    return ds
