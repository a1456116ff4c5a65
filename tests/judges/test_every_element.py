"""Every element of source and derived object is accounted for: the same bytes, or a rule that has a name."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag, Tag

from dae_pacs.image import files, peek
from dae_pacs.image.rules import HEADER_CHANGES, KEPT_PRIVATE, has_functional_groups
from dae_pacs.image.stored import embedded_overlays

WIDTHS = {"AT": 2, "US": 2, "SS": 2, "OW": 2, "UL": 4, "SL": 4, "FL": 4, "OF": 4, "OL": 4, "FD": 8, "OD": 8}
SEALS = {Tag("DigitalSignaturesSequence"), Tag("MACParametersSequence"), Tag("DataSetTrailingPadding")}
RULED = {Tag(keyword) for keyword in HEADER_CHANGES}
PIXELS = {Tag("PixelData"), Tag("FloatPixelData"), Tag("DoubleFloatPixelData")}
MADE_BY_GROUPS = {Tag("FrameType"), Tag("DerivationImageSequence")}
# What an overlay gets that is moved out of the pixel cells: its own bits, and its frames.
MOVED_OVERLAY = {0x0015, 0x0051, 0x0100, 0x0102, 0x3000}
FUNCTIONAL_GROUPS = {Tag("SharedFunctionalGroupsSequence"), Tag("PerFrameFunctionalGroupsSequence")}


def value_of(elem: Any) -> bytes:
    """An element's bytes as explicit VR little endian writes them, without padding."""
    assert isinstance(elem, RawDataElement), elem.tag
    value, vr = elem.value or b"", str(elem.VR or "")
    if not elem.is_little_endian:
        try:
            width = WIDTHS.get(vr or dictionary_VR(elem.tag), 1)
        except KeyError:
            width = 1
        value = np.frombuffer(value, f">u{width}").astype(f"<u{width}").tobytes() if width > 1 else value
    return value + (b"\0" if vr in ("UI", "OB", "UN") else b" ") * (len(value) % 2)


def unexplained(source: Dataset, derived: Dataset, path: tuple[Any, ...] = ()) -> Iterator[str]:
    """Name each difference for which no rule stands."""
    root = not path
    before, after = ({elem.tag: elem for elem in peek.walk(ds)} for ds in (source, derived))
    for tag in sorted({*before, *after}):
        if rule_for(source, BaseTag(tag), is_root=root, path=path):
            continue
        where = " > ".join(map(str, (*path, BaseTag(tag))))
        if tag not in after:
            yield f"{where} is lost"
        elif tag not in before:
            yield f"{where} appeared"
        elif isinstance(before[tag], RawDataElement) and str(before[tag].VR) != "SQ":
            yield from unlike(before[tag], after[tag], where)
        else:
            ours, theirs = after[tag].value, before[tag].value
            if len(ours) != len(theirs):
                yield f"{where} has {len(ours)} items instead of {len(theirs)}"
            for index, (theirs_item, ours_item) in enumerate(zip(theirs, ours, strict=False)):
                yield from unexplained(theirs_item, ours_item, (*path, BaseTag(tag), index))


def unlike(before: RawDataElement, after: Any, where: str) -> Iterator[str]:
    if value_of(before) != value_of(after):
        yield f"{where} was {value_of(before)[:40]!r}, is {value_of(after)[:40]!r}"
    if before.VR is not None and before.VR != after.VR:
        yield f"{where} was {before.VR}, is {after.VR}"


def rule_for(source: Dataset, tag: BaseTag, *, is_root: bool, path: tuple[Any, ...]) -> str:
    """Name the rule by which an element may differ, or ""."""
    overlay = tag.group >> 8 == 0x60 and is_root
    in_groups = path and path[0] in FUNCTIONAL_GROUPS
    rules = {
        "group lengths are retired": tag.element == 0,
        "private elements go unless listed": tag.is_private and not is_kept_private(source, tag),
        "the table of rules": is_root and tag in RULED,
        "seals of the source": not is_root and tag in SEALS,
        "statistics of pixels under an overlay": overlay and tag.element in (0x1302, 0x1303),
        "an overlay moves out of the cells": overlay
        and tag.element in MOVED_OVERLAY
        and tag.group in embedded_overlays(source),
        "frames are derived, too": in_groups and tag in MADE_BY_GROUPS,
    }
    return next((rule for rule, holds in rules.items() if holds), "")


def is_kept_private(source: Dataset, tag: BaseTag) -> bool:
    block = tag.element if tag.is_private_creator else tag.element >> 8
    creator = source.get_item(BaseTag(tag.group << 16 | block))
    name = str(creator.value, "latin-1").strip(" \0") if creator is not None and creator.value else ""
    listed = {offset for known, group, offset in KEPT_PRIVATE if (known, group) == (name, tag.group)}
    if tag.is_private_creator:
        return any((tag.group << 16 | block << 8 | offset) in source for offset in listed)
    return tag.element & 0xFF in listed


def test_every_element_of_every_object_is_accounted_for(pairs: list[Any]) -> None:
    for pair in pairs:
        source, derived = files.read(pair.source), files.read(pair.derived)
        assert list(unexplained(source, derived)) == [], pair.name
        assert list(untrue(source, derived)) == [], pair.name


def untrue(source: Dataset, derived: Dataset) -> Iterator[str]:
    """Hold what the rules made against what a derived object must say, told once more in other words."""
    dropped = [
        keyword
        for keyword in (
            *("IconImageSequence", "DigitalSignaturesSequence", "MACParametersSequence", "HistogramSequence"),
            *("SmallestPixelValueInSeries", "LargestPixelValueInSeries", "InstanceCreatorUID"),
            *("ExtendedOffsetTable", "ExtendedOffsetTableLengths", "DataSetTrailingPadding", "RetrieveURL"),
        )
        if keyword in derived
    ]
    yield from (f"{keyword} is still there" for keyword in dropped)
    for keyword in ("SOPInstanceUID", "SeriesInstanceUID"):
        if not peek.string(derived, keyword).startswith("2.25."):
            yield f"{keyword} is not ours"
    types = peek.strings(source, "ImageType"), peek.strings(derived, "ImageType")
    if types[1][0] != "DERIVED" or (types[1][2:] != types[0][2:] and types[0][2:]):
        yield f"ImageType {types[0]} became {types[1]}"
    if peek.string(source, "LossyImageCompression") == "01":
        for keyword in ("Method", "Ratio", ""):
            name = f"LossyImageCompression{keyword}"
            if name in source and peek.strings(source, name) != peek.strings(derived, name):
                yield f"{name} forgets what was lost"
    for keyword in ("SmallestImagePixelValue", "LargestImagePixelValue"):
        if keyword in derived and keyword not in source:
            yield f"{keyword} appeared"
    named = "SourceImageSequence" in derived, "DerivationDescription" in derived
    if not has_functional_groups(source) and named != (True, True):
        yield "it does not say what it was derived from, and how"
    if not PIXELS & {elem.tag for elem in peek.walk(derived)}:
        yield "it has no pixels"


@pytest.mark.parametrize(
    ("keyword", "value"),
    [("PatientID", b"P2"), ("WindowCenter", b"40.0"), ("StudyInstanceUID", b"1.2.3.9\0")],
)
def test_the_account_notices_a_change(pairs: list[Any], keyword: str, value: bytes) -> None:
    pair = next(pair for pair in pairs if pair.name.endswith("CT_small.dcm"))
    source, derived = files.read(pair.source), files.read(pair.derived)
    assert not list(unexplained(source, derived))
    tag = Tag(keyword)
    vr = dictionary_VR(tag)
    derived._dict[tag] = RawDataElement(
        tag, vr, len(value), value, 0, is_implicit_VR=False, is_little_endian=True
    )
    assert len(list(unexplained(source, derived))) == 1
