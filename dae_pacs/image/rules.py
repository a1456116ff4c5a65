"""The header of a derived object: ONE table of what changes; the rest is inherited byte for byte."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from types import MappingProxyType

from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag

from dae_pacs.image import peek, provenance
from dae_pacs.image.elements import raw
from dae_pacs.image.layout import Layout
from dae_pacs.image.lossy import lossy_ratio
from dae_pacs.image.provenance import Derivation
from dae_pacs.image.text import INHERITED, compose
from dae_pacs.image.uids import derived_instance_uid, derived_series_uid, digest_uid


@dataclass(frozen=True)
class Making:
    """All that a derived header is made from."""

    source: Dataset
    layout: Layout
    derivation: Derivation
    content_digest: str
    series_number: int
    now: datetime
    lossy_method: str | None
    """The defined term of what the source's present compression lost, if anything."""


Element = DataElement | RawDataElement
Change = Callable[[Making], Element | None]

_CT = "1.2.840.10008.5.1.4.1.1.2"
# Classes whose frames are described in functional groups (PS3.4 table B.5-1): Enhanced CT, MR, MR Color, XA,
# XRF, PET and US Volume; X-Ray 3D and Breast Tomosynthesis; Legacy Converted CT, MR and PET.
_ENHANCED = frozenset(
    f"1.2.840.10008.5.1.4.1.1.{number}"
    for number in (
        *(
            "2.1",
            "4.1",
            "4.3",
            "12.1.1",
            "12.2.1",
            "130",
            "6.2",
            "13.1.1",
            "13.1.2",
            "13.1.3",
            "13.1.4",
            "13.1.5",
        ),
        *("2.2", "4.4", "128.1"),
    )
)
# DX, MG and IO, for presentation and processing: Image Type value 3 is there, and empty (PS3.3 C.8.11.3).
DIGITAL_X_RAY = tuple(
    f"1.2.840.10008.5.1.4.1.1.1.{number}" for number in ("1", "1.1", "2", "2.1", "3", "3.1")
)
# NM and PET allow PRIMARY alone in Image Type value 2, as functional group objects do (PS3.3 sections
# C.8.4.9.1.1, C.8.9.4.1.1 and C.8.16.1.2).
_NUCLEAR = frozenset({"1.2.840.10008.5.1.4.1.1.20", "1.2.840.10008.5.1.4.1.1.128"})
# X-Ray 3D and Breast Tomosynthesis have no place for the evidence of source images.
_WITHOUT_EVIDENCE = "1.2.840.10008.5.1.4.1.1.13.1."
_FUNCTIONAL_GROUPS = "SharedFunctionalGroupsSequence"
# Private elements that quantification needs and that stay true: Philips' factors to floating point values.
KEPT_PRIVATE = frozenset(
    {("Philips MR Imaging DD 001", 0x2005, 0x0D), ("Philips MR Imaging DD 001", 0x2005, 0x0E)}
)


def _drop(_making: Making) -> None:
    return None


def _text(keyword: str, vr: str, value: str) -> RawDataElement:
    # Inherited parts may hold what no VR allows; they are handed on as they came (peek reads them so).
    return raw(peek.tag_of(keyword), vr, value.encode("latin-1"))


def _kept(making: Making, keyword: str) -> Element | None:
    """Leave an element to the copy: None where absent, the copy's own otherwise."""
    return peek.element(making.source, keyword)


def _image_type(making: Making) -> Element:
    values = list(peek.strings(making.source, "ImageType"))
    sop_class = peek.string(making.source, "SOPClassUID")
    allows_primary_alone = has_functional_groups(making.source) or sop_class in _NUCLEAR
    second = values[1] if allows_primary_alone and len(values) > 1 else "SECONDARY"
    rest = values[2:]
    if not rest:
        rest = [""] if sop_class in DIGITAL_X_RAY else ["AXIAL"] if sop_class == _CT else []
    return _text("ImageType", "CS", "\\".join(["DERIVED", second, *rest]))


def _instance_uid(making: Making) -> Element:
    derivation = making.derivation
    value = derived_instance_uid(
        peek.string(making.source, "SOPInstanceUID"),
        content_digest=making.content_digest,
        model_digest=derivation.model_digest,
        settings=derivation.settings,
    )
    return _text("SOPInstanceUID", "UI", value)


def _series_uid(making: Making) -> Element:
    derivation = making.derivation
    value = derived_series_uid(
        peek.string(making.source, "SeriesInstanceUID"),
        model_digest=derivation.model_digest,
        settings=derivation.settings,
    )
    return _text("SeriesInstanceUID", "UI", value)


def _concatenation_uid(making: Making) -> Element | None:
    """Give the parts of a concatenation one UID that is not the source's (PS3.3 C.7.6.16.2.2.4)."""
    value = peek.string(making.source, "ConcatenationUID")
    if not value:
        return None
    derivation = making.derivation
    parts = ("concatenation", value, derivation.model_digest, derivation.settings)
    return _text("ConcatenationUID", "UI", digest_uid(*parts))


def _series_description(making: Making) -> Element:
    text = making.derivation.series_description()
    return raw(
        peek.tag_of("SeriesDescription"), "LO", compose(making.source, "SeriesDescription", text, longest=64)
    )


def _derivation_description(making: Making) -> Element | None:
    if has_functional_groups(making.source):
        return None
    said = bool(peek.string(making.source, "DerivationDescription"))
    text = f"{INHERITED}; {making.derivation.sentence}" if said else making.derivation.sentence
    return raw(
        peek.tag_of("DerivationDescription"),
        "ST",
        compose(making.source, "DerivationDescription", text, longest=1024),
    )


def _derivation_codes(making: Making) -> Element | None:
    if has_functional_groups(making.source):
        return None
    kept = provenance.copied_items(making.source, "DerivationCodeSequence")
    return provenance.sequence(
        "DerivationCodeSequence", [*kept, *provenance.derivation_codes(making.derivation)]
    )


def _source_image(making: Making) -> Element | None:
    if has_functional_groups(making.source):
        return None
    return provenance.sequence("SourceImageSequence", [provenance.source_image(making.source)])


def _source_evidence(making: Making) -> Element | None:
    """Back up the source images that functional groups name (PS3.3 table C.8-131, Source Image Evidence)."""
    kept = provenance.copied_items(making.source, "SourceImageEvidenceSequence")
    sop_class = peek.string(making.source, "SOPClassUID")
    if peek.element(making.source, _FUNCTIONAL_GROUPS) is not None and not sop_class.startswith(
        _WITHOUT_EVIDENCE
    ):
        kept.append(provenance.source_evidence(making.source))
    return provenance.sequence("SourceImageEvidenceSequence", kept) if kept else None


def _equipment(making: Making) -> Element:
    items = provenance.contributing_equipment(making.source, making.derivation, _local(making))
    return provenance.sequence("ContributingEquipmentSequence", items)


def _local(making: Making) -> datetime:
    """Tell the time in the object's own zone (PS3.3 section C.12.1.1), or local time."""
    offset = peek.string(making.source, "TimezoneOffsetFromUTC")
    if making.now.tzinfo is None:
        return making.now
    if len(offset) != 5 or not offset[1:].isdecimal() or offset[0] not in "+-" or int(offset[1:3]) >= 24:
        return making.now.astimezone()
    minutes = int(offset[1:3]) * 60 + int(offset[3:])
    return making.now.astimezone(timezone(timedelta(minutes=-minutes if offset[0] == "-" else minutes)))


def _date(keyword: str, *, only_if_present: bool) -> Change:
    return lambda making: (
        None
        if only_if_present and peek.element(making.source, keyword) is None
        else _text(keyword, "DA", _local(making).strftime("%Y%m%d"))
    )


def _time(keyword: str, *, only_if_present: bool) -> Change:
    return lambda making: (
        None
        if only_if_present and peek.element(making.source, keyword) is None
        else _text(keyword, "TM", _local(making).strftime("%H%M%S"))
    )


def _extreme(keyword: str) -> Change:
    """Keep the place of a pixel statistic that the source states; `put_extremes` fills it in."""

    def change(making: Making) -> Element | None:
        if (
            peek.element(making.source, keyword) is None
            or making.layout.is_float
            or making.layout.bits_allocated > 16
        ):
            return None
        return _extreme_element(keyword, 0, making.layout)

    return change


def _extreme_element(keyword: str, value: int, layout: Layout) -> Element:
    vr = "SS" if layout.is_signed else "US"
    return raw(peek.tag_of(keyword), vr, value.to_bytes(2, "little", signed=vr == "SS"))


def put_extremes(derived: Dataset, layout: Layout, lowest: int, highest: int) -> None:
    """Say the extremes of the stored values where a derived header has a place for them.

    They are known when the last frame is; the elements keep their size, so that they may be written late.
    """
    for keyword, value in (("SmallestImagePixelValue", lowest), ("LargestImagePixelValue", highest)):
        if peek.element(derived, keyword) is not None:
            derived._dict[peek.tag_of(keyword)] = _extreme_element(keyword, value, layout)


def _lossy(making: Making) -> Element | None:
    if making.lossy_method:
        return _text("LossyImageCompression", "CS", "01")
    return _kept(making, "LossyImageCompression")


def _lossy_method(making: Making) -> Element | None:
    kept, method = _kept(making, "LossyImageCompressionMethod"), making.lossy_method
    return _text("LossyImageCompressionMethod", "CS", method) if kept is None and method else kept


def _lossy_ratio(making: Making) -> Element | None:
    kept = _kept(making, "LossyImageCompressionRatio")
    if kept is not None or not making.lossy_method:
        return kept
    return _text("LossyImageCompressionRatio", "DS", f"{lossy_ratio(making.source, making.layout):.4g}")


def _high_bit(making: Making) -> Element | None:
    """Stored values go back right-aligned, as PS3.5 section 8.1.1 has wanted it since 2014."""
    if making.layout.is_float or peek.element(making.source, "HighBit") is None:
        return _kept(making, "HighBit")
    return raw(peek.tag_of("HighBit"), "US", (making.layout.bits_stored - 1).to_bytes(2, "little"))


HEADER_CHANGES: Mapping[str, Change] = MappingProxyType(
    {
        # Who it is
        "SOPInstanceUID": _instance_uid,
        "SeriesInstanceUID": _series_uid,
        "ConcatenationUID": _concatenation_uid,
        "SOPInstanceUIDOfConcatenationSource": _drop,
        "SeriesNumber": lambda making: _text("SeriesNumber", "IS", str(making.series_number)),
        "SeriesDescription": _series_description,
        "SeriesDescriptionCodeSequence": _drop,
        "InstanceCreationDate": _date("InstanceCreationDate", only_if_present=False),
        "InstanceCreationTime": _time("InstanceCreationTime", only_if_present=False),
        "InstanceCreatorUID": _drop,
        "ContentDate": _date("ContentDate", only_if_present=True),
        "ContentTime": _time("ContentTime", only_if_present=True),
        # What it is and where it comes from
        "ImageType": _image_type,
        "DerivationDescription": _derivation_description,
        "DerivationCodeSequence": _derivation_codes,
        "SourceImageSequence": _source_image,
        "SourceImageEvidenceSequence": _source_evidence,
        "ContributingEquipmentSequence": _equipment,
        # What was lost before us stays lost
        "LossyImageCompression": _lossy,
        "LossyImageCompressionMethod": _lossy_method,
        "LossyImageCompressionRatio": _lossy_ratio,
        # Pixels and what is said about them
        "HighBit": _high_bit,
        "SmallestImagePixelValue": _extreme("SmallestImagePixelValue"),
        "LargestImagePixelValue": _extreme("LargestImagePixelValue"),
        "SmallestPixelValueInSeries": _drop,
        "LargestPixelValueInSeries": _drop,
        "SmallestImagePixelValueInPlane": _drop,
        "LargestImagePixelValueInPlane": _drop,
        "SmallestValidPixelValue": _drop,
        "LargestValidPixelValue": _drop,
        "HistogramSequence": _drop,
        "IconImageSequence": _drop,
        "PixelDataProviderURL": _drop,
        "PixelData": _drop,
        "FloatPixelData": _drop,
        "DoubleFloatPixelData": _drop,
        "ExtendedOffsetTable": _drop,
        "ExtendedOffsetTableLengths": _drop,
        # Seals and places of the source that would be lies here
        "DigitalSignaturesSequence": _drop,
        "MACParametersSequence": _drop,
        "DataSetTrailingPadding": _drop,
        "PrivateDataElementCharacteristicsSequence": _drop,
        "RetrieveAETitle": _drop,
        "RetrieveURL": _drop,
        "RetrieveURI": _drop,
        "InstanceAvailability": _drop,
    }
)
_CHANGED_TAGS = frozenset(peek.tag_of(keyword) for keyword in HEADER_CHANGES)
_SEALS = frozenset(
    {
        peek.tag_of("DigitalSignaturesSequence"),
        peek.tag_of("MACParametersSequence"),
        peek.tag_of("DataSetTrailingPadding"),
    }
)
# Within a curve or overlay group: mean and deviation of the pixels under it (60xx,1302) and (60xx,1303).
_OVERLAY_STATISTICS = frozenset({0x1302, 0x1303})


def is_inherited(
    ds: Dataset, tag: BaseTag, *, is_root: bool, changed: Collection[BaseTag] = _CHANGED_TAGS
) -> bool:
    """Say whether an element of the source, or of an item in it, comes along as it is.

    Args:
        ds: the source, or an item in it.
        tag: of one of its elements.
        is_root: whether `ds` is the source itself.
        changed: what a rule changes or drops in the root.
    """
    if tag >> 16 & 1:
        return _is_kept_private(ds, tag)
    if is_root and tag >> 24 == 0x60 and tag & 0xFFFF in _OVERLAY_STATISTICS:
        return False
    return tag not in (changed if is_root else _SEALS)


def _is_kept_private(ds: Dataset, tag: BaseTag) -> bool:
    """Say whether a private element, or the creator that reserves its block, is listed in `KEPT_PRIVATE`."""
    block = tag.element if tag.is_private_creator else tag.element >> 8
    creator = ds._dict.get(BaseTag(tag.group << 16 | block))
    if creator is None or creator.value is None:
        return False
    value = creator.value
    name = (value.decode("latin-1") if isinstance(value, bytes) else str(value)).strip(" \0")
    listed = {offset for known, group, offset in KEPT_PRIVATE if (known, group) == (name, tag.group)}
    if tag.is_private_creator:
        return any((tag.group << 16 | block << 8 | offset) in ds for offset in listed)
    return tag.element & 0xFF in listed


def has_functional_groups(ds: Dataset) -> bool:
    """Say whether an object describes its frames in functional groups (PS3.3 section C.7.6.16)."""
    return peek.element(ds, _FUNCTIONAL_GROUPS) is not None or peek.string(ds, "SOPClassUID") in _ENHANCED
