"""Hold a derived object against its source: what differs, and whether it may.

The header is made once more from the source, by the same table of rules, and compared element by element.
What no source can foretell (new UIDs, times, texts with the model's name) is checked for its form.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType

from pydicom.datadict import keyword_for_tag
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag, Tag

from dae_pacs.errors import InputError
from dae_pacs.image import peek
from dae_pacs.image.compare import Sigma, compare_pixels
from dae_pacs.image.derive import derive_header
from dae_pacs.image.elements import encode, exact_copy, raw
from dae_pacs.image.finding import Finding
from dae_pacs.image.own import MANUFACTURER, is_own
from dae_pacs.image.provenance import Derivation, Kind, derivation_codes
from dae_pacs.image.removed import changes_for

Values = Mapping[BaseTag, bytes]

_PIXEL_GROUP = 0x7FE0
_OVERLAY_GROUPS = 0x60
_GROUPS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
_EXTREMES = frozenset({"SmallestImagePixelValue", "LargestImagePixelValue"})
# Made from the noise of the series, which one image does not tell.
_FROM_NOISE = frozenset({"WindowWidth", "VOILUTFunction"})


@dataclass(frozen=True)
class Verdict:
    """What came of holding a derived object against its source."""

    findings: tuple[Finding, ...]
    same: int
    """Elements that are the source's, byte for byte."""

    @property
    def is_right(self) -> bool:
        """Whether nothing differs that may not."""
        return all(finding.may_differ for finding in self.findings)


def check(source: Dataset, derived: Dataset, *, sigma_of: Sigma | None = None) -> Verdict:
    """Compare header and pixels.

    Args:
        source: the whole object that was denoised.
        derived: the whole object that was made of it.
        sigma_of: gives the noise's standard deviation at values in the modality's unit; without it, the size
            of the changes is told and not judged.

    Raises:
        InputError: one of them can't be read, or the source can't be denoised at all.
    """
    if not is_own(derived):
        words = "Contributing Equipment does not name dae-pacs: this object was not made here"
        return Verdict((Finding("ContributingEquipmentSequence", words, may_differ=False),), 0)
    kind: Kind = "removed" if _is_removed(derived) else "denoised"
    derivation = Derivation(MANUFACTURER, "", "", 0.0, "", "", kind=kind, window_sigma=1.0)
    expected = derive_header(
        source, derivation=derivation, content_digest="", series_number=0, now=datetime.now(UTC)
    )
    findings, same = _compare_headers(source, derived, expected, derivation)
    try:
        findings += compare_pixels(source, derived, kind=kind, sigma_of=sigma_of)
    except InputError as error:
        findings.append(Finding("pixels", str(error), may_differ=False))
    return Verdict(tuple(findings), same)


def _is_removed(derived: Dataset) -> bool:
    """Tell what a derived object shows by the code that only one of the kinds has."""
    marker = derivation_codes(Derivation("", "", "", 0.0, "", "", kind="removed"))[0].CodeValue
    holders = [derived]
    for keyword in _GROUPS:
        for group in peek.items(derived, keyword):
            holders += peek.items(group, "DerivationImageSequence")[-1:]
    return any(
        peek.string(code, "CodeValue") == marker
        for holder in holders
        for code in peek.items(holder, "DerivationCodeSequence")[-2:]  # those before are the source's
    )


def _compare_headers(
    source: Dataset, derived: Dataset, expected: Dataset, derivation: Derivation
) -> tuple[list[Finding], int]:
    is_difference = derivation.kind == "removed"
    before, found, right = (_canonical(ds, is_difference=is_difference) for ds in (source, derived, expected))
    ruled = set(changes_for(derivation))
    findings: list[Finding] = []
    same = 0
    for tag in sorted({*before, *found, *right}):
        keyword = keyword_for_tag(tag)
        free = _FREE.get(keyword)
        if tag.group == _PIXEL_GROUP or (keyword in _EXTREMES and (tag in found) == (tag in right)):
            continue  # compared with the pixels
        if is_difference and keyword in _FROM_NOISE:
            free = _any_value
        if free is not None and (tag in found or tag in right):
            wrong = free(source, derived)
            words = wrong or f"changed, as the rule for {keyword} wants"
            findings.append(Finding(keyword, words, may_differ=not wrong))
        elif found.get(tag) == right.get(tag):
            if found.get(tag) == before.get(tag):
                same += 1
                continue
            how = "changed" if tag in found else "dropped"
            words = f"{how}, as {_rule_for(tag, ruled)} wants"
            findings.append(Finding(_name(tag), words, may_differ=True))
        else:
            words = _wrong(found.get(tag), right.get(tag), before.get(tag))
            findings.append(Finding(_name(tag), words, may_differ=False))
    return findings, same


def _wrong(found: bytes | None, right: bytes | None, before: bytes | None) -> str:
    if found is None:
        return "is missing, and no rule drops it"
    if right is None:
        return "is there, and a rule drops it" if before is not None else "was added, and no rule adds it"
    if right == before:
        return "differs from the source's, and no rule changes it"
    return "is not what its rule makes of the source"


def _rule_for(tag: BaseTag, ruled: set[str]) -> str:
    keyword = keyword_for_tag(tag)
    if keyword in ruled:
        return f"the rule for {keyword}"
    if tag.is_private:
        return "the rule for private elements"
    if tag.group >> 8 == _OVERLAY_GROUPS:
        return "the rule for overlays"
    if keyword in _GROUPS:
        return "the rule that marks frames as derived"
    return "the rule for seals and private elements in items"


def _name(tag: BaseTag) -> str:
    return keyword_for_tag(tag) or str(tag)


def _canonical(ds: Dataset, *, is_difference: bool) -> dict[BaseTag, bytes]:
    """Encode each element by itself, in one way whatever the transfer syntax, but pixels and free parts."""
    copied = exact_copy(ds, lambda _ds, tag: tag.group != _PIXEL_GROUP)
    for keyword in _GROUPS:
        for group in peek.items(copied, keyword):
            _blank_free_parts(group, is_difference=is_difference)
    _close(copied)
    values = {}
    for elem in peek.walk(copied):
        alone = Dataset()
        alone._dict[elem.tag] = elem
        values[BaseTag(elem.tag)] = b"".join(encode(alone))
    return values


def _blank_free_parts(group: Dataset, *, is_difference: bool) -> None:
    for item in peek.items(group, "DerivationImageSequence")[-1:]:
        item._dict[Tag("DerivationDescription")] = raw(Tag("DerivationDescription"), "ST", b"")
    if is_difference:
        for item in peek.items(group, "FrameVOILUTSequence"):
            for keyword in _FROM_NOISE:
                item._dict.pop(Tag(keyword), None)


def _close(ds: Dataset) -> None:
    """Give every sequence and item in a copy its length: how they end is a matter of encoding."""
    for elem in peek.walk(ds):
        if isinstance(elem, DataElement) and isinstance(elem.value, Sequence):
            elem.is_undefined_length = False
            for item in elem.value:
                item.is_undefined_length_sequence_item = False
                _close(item)


FreeCheck = Callable[[Dataset, Dataset], str]
"""Says what is wrong with a value that the source does not foretell; "" where nothing is."""


def _any_value(_source: Dataset, _derived: Dataset) -> str:
    return ""


def _new_uid(keyword: str) -> FreeCheck:
    def look(source: Dataset, derived: Dataset) -> str:
        value = peek.string(derived, keyword)
        if value == peek.string(source, keyword):
            return "is the source's own; an archive would take one for the other"
        return "" if value.startswith("2.25.") else "is not one of the UIDs that dae-pacs makes (2.25.)"

    return look


def _series_number(source: Dataset, derived: Dataset) -> str:
    is_same = peek.integer(source, "SeriesNumber") == peek.integer(derived, "SeriesNumber")
    return "is the source's own; viewers would mix the series" if is_same else ""


def _present(keyword: str) -> FreeCheck:
    return lambda _source, derived: "" if peek.string(derived, keyword) else "is missing or empty"


def _description(source: Dataset, derived: Dataset) -> str:
    said, inherited = (peek.string(ds, "DerivationDescription") for ds in (derived, source))
    if MANUFACTURER not in said:
        return "does not say that dae-pacs made the object"
    is_kept = said.startswith(inherited[:100]) or len(said) > 1000
    return "" if is_kept else "lost what the source said of its own derivation"


def _equipment(source: Dataset, derived: Dataset) -> str:
    before = len(peek.items(source, "ContributingEquipmentSequence"))
    items = peek.items(derived, "ContributingEquipmentSequence")
    if not before < len(items) <= before + 2:  # ours, and the acquisition's where the source does not name it
        return "does not hold the source's equipment, the acquisition's and ours"
    return "" if peek.string(items[-1], "Manufacturer") == MANUFACTURER else "does not end with dae-pacs"


_FREE: Mapping[str, FreeCheck] = MappingProxyType(
    {
        "SOPInstanceUID": _new_uid("SOPInstanceUID"),
        "SeriesInstanceUID": _new_uid("SeriesInstanceUID"),
        "ConcatenationUID": _new_uid("ConcatenationUID"),
        "SeriesNumber": _series_number,
        "SeriesDescription": _any_value,
        "InstanceCreationDate": _present("InstanceCreationDate"),
        "InstanceCreationTime": _present("InstanceCreationTime"),
        "ContentDate": _present("ContentDate"),
        "ContentTime": _present("ContentTime"),
        "DerivationDescription": _description,
        "ContributingEquipmentSequence": _equipment,
    }
)
