"""Data sets in the DICOM JSON Model (PS3.18 Annex F); big binary values left to a URI of their own."""

import base64
import math
import warnings
from collections.abc import Callable, Iterator
from typing import Any, Final

from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag

from dae_pacs.image.peek import BROKEN

Json = dict[str, Any]  # Any: what JSON holds
"""A data set, or an item: by tag in eight hexadecimal digits, each with `vr` and `Value`."""
Uri = Callable[[str], str]
"""Gives the URI of a binary value from its path within the object: `00281201`, or `54000100/1/54001010`."""

LARGEST_INLINE_BYTES: Final = 1024
"""Binary values beyond this go by URI."""
_BINARY: Final = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN"})
_AMBIGUOUS: Final = {"OB or OW": "OW", "US or OW": "OW", "US or SS or OW": "OW"}
_CHARACTER_SET: Final = "00080005"
_UTF_8: Final = "ISO_IR 192"
"""What the JSON text is in, whatever the object was in (PS3.18 F.2.1.1.1)."""
_LONGEST: Final = 64


def encode(ds: Dataset, *, uri: Uri | None = None) -> Json:
    """Write a data set; an element whose value can't be read is left out.

    Args:
        ds: without its file meta information.
        uri: gives the place of a large binary value; without it such a value is left out.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what is odd about a value was said when it came
        return _encode(ds, uri, "")


def _encode(ds: Dataset, uri: Uri | None, path: str) -> Json:
    found: Json = {}
    for tag in sorted(ds.keys()):
        if tag.group == 0x0002 or tag.element == 0x0000:
            continue
        try:
            name, elem = f"{tag:08X}", ds[tag]
            found[name] = _element(elem, ds, uri, path + name)
        except (*BROKEN, RecursionError):
            continue
    if _CHARACTER_SET in found and found[_CHARACTER_SET].get("Value"):
        found[_CHARACTER_SET]["Value"] = [_UTF_8]
    return found


def _element(elem: DataElement, ds: Dataset, uri: Uri | None, path: str) -> Json:
    vr = _AMBIGUOUS.get(str(elem.VR), str(elem.VR))
    if vr == "US or SS":
        vr = "SS" if ds.get("PixelRepresentation") == 1 else "US"
    if vr == "SQ":
        items = [
            _encode(item, uri, f"{path}/{number}/") for number, item in enumerate(elem.value or (), start=1)
        ]
        return {"vr": "SQ", "Value": items} if items else {"vr": "SQ"}
    if vr in _BINARY:
        return _binary(vr, elem.value, uri, path)
    said: Json = elem.to_json_dict(None, 0)
    said["vr"] = vr
    if "Value" in said:
        said["Value"] = [_plain(value) for value in said["Value"]]
    return said


def _binary(vr: str, value: object, uri: Uri | None, path: str) -> Json:
    data = value if isinstance(value, bytes) else b""
    if not data:
        return {"vr": vr}
    if len(data) <= LARGEST_INLINE_BYTES:
        return {"vr": vr, "InlineBinary": base64.b64encode(data).decode("ascii")}
    return {"vr": vr, "BulkDataURI": uri(path)} if uri else {"vr": vr}


def _plain(value: object) -> object:
    """Make a value one that JSON has: neither empty text among several, nor a number that is none."""
    if value is None or value == "" or (isinstance(value, float) and not math.isfinite(value)):
        return None
    if isinstance(value, bool | int | float | str | dict):
        return value
    return str(value)


def bulk_data(ds: Dataset, path: str) -> bytes | None:
    """Find the binary value of a path that `encode` gave to its `uri`; None where there is none."""
    steps = path.split("/")
    if len(steps) % 2 == 0 or len(path) > _LONGEST * 4:
        return None
    try:
        for tag, number in zip(steps[0:-1:2], steps[1::2], strict=True):
            ds = ds[BaseTag(int(tag, 16))].value[int(number) - 1]
        elem = ds[BaseTag(int(steps[-1], 16))]
    except (*BROKEN, IndexError):
        return None
    return elem.value if isinstance(elem.value, bytes) else None


def values(item: Json, tag: str) -> list[Any]:  # Any: what JSON holds
    """Give an element's values; none where it is absent or empty."""
    elem = item.get(tag)
    found = elem.get("Value") if isinstance(elem, dict) else None
    return found if isinstance(found, list) else []


def text(item: Json, tag: str) -> str:
    """Give an element's first value as text, of a person's name its alphabetic part; "" without one."""
    return next(texts(item, tag), "")


def texts(item: Json, tag: str) -> Iterator[str]:
    """Give an element's values as texts."""
    for value in values(item, tag):
        if isinstance(value, dict):
            yield str(value.get("Alphabetic", ""))
        elif value is not None:
            yield str(value)
