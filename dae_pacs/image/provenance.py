"""Say in a derived object where it comes from and who made it (PS3.3 sections C.7.6.1.1.3, C.12.1.1.5)."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from dae_pacs import __version__
from dae_pacs.errors import ConfigError
from dae_pacs.image import peek
from dae_pacs.image.elements import exact_copy, raw, raw_uid
from dae_pacs.image.own import ACQUISITION_EQUIPMENT, MANUFACTURER, PROCESSING_EQUIPMENT, purpose_of
from dae_pacs.image.text import INHERITED, encode_text
from dae_pacs.image.uids import digest_uid

# CID 7203 has no code for noise reduction. A URN names our concept without a private coding scheme, whose
# designator judges complain of (PS3.3 section 8.1).
NOISE_REDUCTION_URN = f"urn:oid:{digest_uid('code', 'dae-pacs', 'noise reduction by a trained denoiser')}"
_PURPOSE = "PurposeOfReferenceCodeSequence"
_EQUIPMENT_KEYWORDS = (
    "Manufacturer",
    "InstitutionName",
    "InstitutionAddress",
    "StationName",
    "InstitutionalDepartmentName",
    "ManufacturerModelName",
    "DeviceSerialNumber",
    "SoftwareVersions",
)


Kind = Literal["denoised", "removed"]
"""What a derived series shows: the images without their noise, or the noise without the images."""


@dataclass(frozen=True)
class Derivation:
    """Which model, at which strength, makes a derived object, and how its series shall be called."""

    model_name: str
    model_version: str
    model_digest: str
    """SHA-256 over the bundle's manifest, in hexadecimal."""
    strength: float
    """0..1."""
    description: str
    """Series Description template with {source}, {strength} and {model}."""
    ae_title: str
    kind: Kind = "denoised"
    """"removed": the pixels are the source's minus the denoised ones."""
    window_sigma: float = 0.0
    """Standard deviation of the series' noise, in the modality's unit: what was removed is shown by it."""
    note: str = ""
    """What else people must know to read the pixels."""

    @property
    def settings(self) -> str:
        """Everything but the model that changes pixels, as text that is the same on every machine."""
        kind = "" if self.kind == "denoised" else f" kind={self.kind}"
        return f"strength={self.strength:.6g}{kind}"

    @property
    def sentence(self) -> str:
        """What was done, for people."""
        done = f"Noise reduced by {MANUFACTURER} {__version__}"
        if self.kind == "removed":
            what = f"What {MANUFACTURER} {__version__} removed"
            done = f"{what} (source minus denoised), not an image for diagnosis"
        return (
            f"{done}, model {self.model_name} {self.model_version}, strength {self.strength:.6g}{self.note}"
        )

    def series_description(self) -> str:
        """Fill the template, with `INHERITED` in the place of {source}.

        Raises:
            ConfigError: the template names something else.
        """
        try:
            text = self.description.format(source=INHERITED, strength=self.strength, model=self.model_name)
        except (KeyError, IndexError, ValueError, AttributeError) as error:
            raise ConfigError(
                f'description = "{self.description}" can\'t be filled in ({error}); '
                "use {source}, {strength} (a number, as in {strength:.1f}) and {model}"
            ) from error
        # A backslash would divide the value in two (PS3.5 section 6.2, VR LO).
        return text.replace("\\", "/")


def code(value: str, scheme: str, meaning: str) -> Dataset:
    """Make an item of a code sequence, PS3.3 table 8.8-1."""
    return _item(
        ("CodeValue", "SH", value), ("CodingSchemeDesignator", "SH", scheme), ("CodeMeaning", "LO", meaning)
    )


def _item(*elements: tuple[str, str, str]) -> Dataset:
    """Make an item of ASCII texts, each a keyword, a VR and a value.

    As bytes: that is how they are written, and pydicom's own way there takes ten times as long.
    """
    item = Dataset()
    for keyword, vr, value in elements:
        tag = peek.tag_of(keyword)
        item._dict[tag] = raw(tag, vr, value.encode("ascii"))
    return item


def _put_sequence(item: Dataset, keyword: str, items: Iterable[Dataset]) -> None:
    elem = sequence(keyword, items)
    item._dict[elem.tag] = elem


def sequence(keyword: str, items: Iterable[Dataset]) -> DataElement:
    """Make a sequence element."""
    return DataElement(peek.tag_of(keyword), "SQ", Sequence(list(items)), already_converted=True)


def copied_items(source: Dataset, keyword: str) -> list[Dataset]:
    """Copy the items that the source has, byte for byte, without private elements."""
    return [exact_copy(item, lambda _ds, tag: not tag.is_private) for item in peek.items(source, keyword)]


def derivation_codes(derivation: Derivation) -> list[Dataset]:
    """Say what was done in codes, CID 7203 and our own."""
    if derivation.kind == "removed":
        return [code("113062", "DCM", "Pixel by pixel subtraction"), _noise_reduction()]
    return [code("113087", "DCM", "Smoothing"), _noise_reduction()]


def _noise_reduction() -> Dataset:
    return _item(
        ("URNCodeValue", "UR", NOISE_REDUCTION_URN),
        ("CodeMeaning", "LO", "Noise reduction by a trained denoiser"),
    )


def source_image(source: Dataset) -> Dataset:
    """Reference the source, PS3.3 section C.7.6.1.1.4."""
    item = Dataset()
    for keyword in ("SOPClassUID", "SOPInstanceUID"):
        element = raw_uid(f"Referenced{keyword}", peek.string(source, keyword))
        item._dict[element.tag] = element
    purpose = code("121322", "DCM", "Source image for image processing operation")
    _put_sequence(item, _PURPOSE, [purpose])
    return item


def source_evidence(source: Dataset) -> Dataset:
    """Name the study and series of a source that functional groups refer to, PS3.3 table 10-4."""
    study, series, instance = Dataset(), Dataset(), Dataset()
    for item, keyword, inherited in (
        (instance, "ReferencedSOPClassUID", "SOPClassUID"),
        (instance, "ReferencedSOPInstanceUID", "SOPInstanceUID"),
        (series, "SeriesInstanceUID", "SeriesInstanceUID"),
        (study, "StudyInstanceUID", "StudyInstanceUID"),
    ):
        element = raw_uid(keyword, peek.string(source, inherited))
        item._dict[element.tag] = element
    series.ReferencedSOPSequence = [instance]
    study.ReferencedSeriesSequence = [series]
    return study


def contributing_equipment(source: Dataset, derivation: Derivation, now: datetime) -> list[Dataset]:
    """Name the acquisition's equipment, once, and ourselves, after those that the source names."""
    items = copied_items(source, "ContributingEquipmentSequence")
    if not any(purpose_of(item) == ACQUISITION_EQUIPMENT for item in items):
        items.append(_acquisition(source))
    items.append(_ourselves(source, derivation, now))
    return items


def _acquisition(source: Dataset) -> Dataset:
    tags = {peek.tag_of(keyword) for keyword in _EQUIPMENT_KEYWORDS if peek.string(source, keyword)}
    item = exact_copy(source, lambda _ds, tag: tag in tags)
    if "Manufacturer" not in item:
        # Type 1 in this sequence, but type 2 in the General Equipment module.
        item.Manufacturer = "UNKNOWN"
    _put_sequence(item, _PURPOSE, [code(ACQUISITION_EQUIPMENT, "DCM", "Acquisition Equipment")])
    return item


def _ourselves(source: Dataset, derivation: Derivation, now: datetime) -> Dataset:
    item = Dataset()
    item.set_original_encoding(
        is_implicit_vr=False, is_little_endian=True, character_encoding=list(peek.encodings(source))
    )
    _put_sequence(item, _PURPOSE, [code(PROCESSING_EQUIPMENT, "DCM", "Processing Equipment")])
    said = f"{derivation.sentence}, weights SHA-256 {derivation.model_digest}"
    for keyword, vr, text in (
        ("Manufacturer", "LO", MANUFACTURER),
        ("StationName", "SH", derivation.ae_title),
        ("ManufacturerModelName", "LO", derivation.model_name[:64]),
        ("SoftwareVersions", "LO", "\\".join((__version__, f"model {derivation.model_version}"[:64]))),
        ("ContributionDateTime", "DT", now.strftime("%Y%m%d%H%M%S")),
        ("ContributionDescription", "ST", said[:1024]),
    ):
        tag = peek.tag_of(keyword)
        item._dict[tag] = raw(tag, vr, encode_text(text, source))
    return item
