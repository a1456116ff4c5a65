"""Identifiers of queries: what is asked for and what is answered, by DICOM keyword (PS3.4 C.2.2.2).

Answers come off the wire from a peer: they are taken apart by `data_sets`, which trusts no length, and their
texts are read by their own character set, never failing.
"""

import struct
from collections.abc import Collection, Mapping
from typing import Final

from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from dae_pacs.dimse import data_sets
from dae_pacs.errors import ConfigError
from dae_pacs.image import peek
from dae_pacs.image.text import encode_text

Keys = Mapping[str, str]
"""Values by keyword; several values of one element are separated by backslashes."""

UTF_8: Final = "ISO_IR 192"
_CHARACTER_SET: Final = 0x00080005
_US: Final = frozenset({"US"})


class CharacterSetError(ConfigError):
    """The character set of a query can't hold a value of it."""


def encode(keys: Keys, *, is_explicit: bool, character_set: str = UTF_8) -> bytes:
    """Write an identifier.

    Args:
        keys: what to ask; an empty value asks the peer to tell the element.
        is_explicit: whether value representations are written.
        character_set: Specific Character Set of what is asked, and so the one that answers may use.

    Raises:
        CharacterSetError: the character set can't hold a value.
    """
    holder = _holder(character_set)
    wanted = {**keys, **({"SpecificCharacterSet": character_set} if character_set else {})}
    elements = sorted((_tag(keyword), keyword) for keyword in wanted)
    return b"".join(
        _element(tag, keyword, _bytes_of(keyword, wanted[keyword], holder), is_explicit=is_explicit)
        for tag, keyword in elements
    )


def _holder(character_set: str) -> Dataset:
    """Make a data set that has nothing but a character set."""
    ds = Dataset()
    raw = character_set.encode("latin-1")
    tag = Tag(_CHARACTER_SET)
    ds[tag] = RawDataElement(
        tag, "CS", len(raw), raw, value_tell=0, is_implicit_VR=False, is_little_endian=True
    )
    return ds


def _bytes_of(keyword: str, value: str, holder: Dataset) -> bytes:
    data = encode_text(value, holder)
    if peek.decode_text(data, holder) != value:
        raise CharacterSetError(
            f"{keyword}: the character set {peek.string(holder, 'SpecificCharacterSet') or 'ISO_IR 6'} "
            f"can't hold what is asked for; ask in {UTF_8}, or in a set that has these characters"
        )
    return data


def _tag(keyword: str) -> int:
    tag = tag_for_keyword(keyword)
    if tag is None:
        raise ConfigError(f"{keyword}: no DICOM keyword")
    return tag


def _element(tag: int, keyword: str, value: bytes, *, is_explicit: bool) -> bytes:
    vr = str(dictionary_VR(keyword))
    value += (b"\x00" if vr == "UI" else b" ") * (len(value) % 2)
    if is_explicit:
        return struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr.encode("ascii"), len(value)) + value
    return struct.pack("<HHI", tag >> 16, tag & 0xFFFF, len(value)) + value


def decode(data: bytes, wanted: Collection[str], *, is_explicit: bool) -> dict[str, str]:
    """Read an identifier: the wanted elements as text, "" for what it leaves out.

    Raises:
        ProtocolError: it is none.
    """
    elements = data_sets.read(data, is_explicit=is_explicit, sequences=frozenset())
    holder = _holder(data_sets.text(elements, _CHARACTER_SET))
    return {keyword: _text_of(elements, keyword, holder) for keyword in wanted}


def _text_of(elements: data_sets.DataSet, keyword: str, holder: Dataset) -> str:
    value = elements.get(_tag(keyword), b"")
    if not isinstance(value, bytes):
        return ""
    if str(dictionary_VR(keyword)) in _US:
        return str(int.from_bytes(value, "little")) if len(value) == 2 else ""
    text = peek.decode_text(value.rstrip(b"\x00 "), holder)
    return "\\".join(part.strip(" \x00") for part in text.split("\\"))
