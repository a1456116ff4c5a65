import copy
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.data import get_charset_files, get_testdata_file
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.tag import Tag

from dae_pacs.errors import ConfigError, InputError, PixelError
from dae_pacs.image import files, peek, pixels
from dae_pacs.image.derive import Derivation, derived_series_number, is_own
from dae_pacs.image.rules import HEADER_CHANGES
from dae_pacs.image.support import reason_not_denoised


def ct() -> Dataset:
    return files.read(Path(str(get_testdata_file("CT_small.dcm"))))


def untouched(ds: Dataset) -> np.ndarray:
    return pixels.decode(ds).stored


def written(ds: Dataset, folder: Path) -> Dataset:
    files.write(ds, folder / "derived.dcm")
    return files.read(folder / "derived.dcm")


def test_a_derived_ct_says_what_it_is(derive_now: Callable[..., Dataset], tmp_path: Path) -> None:
    source = ct()
    derived = written(derive_now(source, untouched(source)), tmp_path)
    assert list(derived.ImageType) == ["DERIVED", "SECONDARY", "AXIAL"]
    assert derived.SOPClassUID == source.SOPClassUID
    assert derived.SOPInstanceUID.startswith("2.25.")
    assert derived.SOPInstanceUID != source.SOPInstanceUID
    assert derived.SeriesInstanceUID != source.SeriesInstanceUID
    assert derived.SeriesNumber == 1002
    assert derived.file_meta.MediaStorageSOPInstanceUID == derived.SOPInstanceUID
    assert derived.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1"
    reference = derived.SourceImageSequence[0]
    assert reference.ReferencedSOPInstanceUID == source.SOPInstanceUID
    assert reference.PurposeOfReferenceCodeSequence[0].CodeValue == "121322"
    codes = derived.DerivationCodeSequence
    assert (codes[0].CodeValue, codes[0].CodingSchemeDesignator) == ("113087", "DCM")
    assert codes[1].URNCodeValue.startswith("urn:oid:2.25.")
    acquisition, ourselves = derived.ContributingEquipmentSequence
    assert acquisition.PurposeOfReferenceCodeSequence[0].CodeValue == "109101"
    assert acquisition.Manufacturer == source.Manufacturer
    assert ourselves.PurposeOfReferenceCodeSequence[0].CodeValue == "109102"
    assert "ab" * 32 in ourselves.ContributionDescription
    assert "strength 0.7" in ourselves.ContributionDescription
    assert "xray_radiograph_denoising" in derived.DerivationDescription
    assert is_own(derived)
    assert not is_own(source)


def elements_of(ds: Dataset) -> dict[int, bytes]:
    """Values of the plain elements, as bytes, of an object as it was read."""
    return {
        int(elem.tag): bytes(elem.value or b"") for elem in peek.walk(ds) if isinstance(elem, RawDataElement)
    }


def test_everything_else_is_byte_identical(
    all_dicom_files: list[Path], derive_now: Callable[..., Dataset], tmp_path: Path
) -> None:
    changed = {int(Tag(keyword)) for keyword in HEADER_CHANGES}
    compared = 0
    for path in all_dicom_files:
        try:
            source = files.read(path)
            is_big_endian = source.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.2"
            if reason_not_denoised(source) or is_big_endian or path.stat().st_size > 600_000:
                continue
            stored = untouched(source)
        except InputError:
            continue
        before = elements_of(source)
        after = elements_of(written(derive_now(source, stored), tmp_path))
        expected = {
            tag: value
            for tag, value in before.items()
            if tag not in changed and tag & 0xFFFF and not (tag >> 16) % 2 and tag >> 16 != 0x7FE0
        }
        unchanged = {tag: value for tag, value in after.items() if tag not in changed and tag >> 16 != 0x7FE0}
        assert unchanged == expected, path
        assert np.array_equal(untouched(files.read(tmp_path / "derived.dcm")), stored), path
        compared += 1
    assert compared >= 20


def test_names_in_every_character_set_keep_their_bytes(
    grey_image: Callable[..., Dataset], derive_now: Callable[..., Dataset], tmp_path: Path
) -> None:
    cells = np.arange(16, dtype=np.uint16).reshape(4, 4)
    names = {
        ("ISO_IR 144",): "Люкceмбypг".encode("iso8859-5"),
        ("ISO_IR 126",): "Διονυσιος".encode("iso8859-7"),
        ("ISO_IR 127",): "قباني^لنزار".encode("iso8859-6"),
        ("ISO_IR 138",): "שרון^דבורה".encode("iso8859-8"),
        ("ISO_IR 192",): "Wang^XiaoDong=王^小東=".encode(),
        ("GB18030",): "Wang^XiaoDong=王^小东=".encode("gb18030"),
        (
            "",
            "ISO 2022 IR 87",
        ): b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B",
        (
            "",
            "ISO 2022 IR 149",
        ): b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7=\x1b$)C\xc8\xab^\x1b$)C\xb1\xe6",
        # Not what the standard wants, but what is out there: it must not be repaired either.
        ("ISO_IR 6",): "Müller^Jürgen".encode("latin-1"),
        ("ISO_IR 999",): b"Broken^\xff\xfe",
    }
    for character_sets, data in names.items():
        source = grey_image(cells)
        source._dict[Tag("SpecificCharacterSet")] = RawDataElement(
            Tag("SpecificCharacterSet"), "CS", 0, "\\".join(character_sets).encode(), 0, False, True
        )
        source._dict[Tag("PatientName")] = RawDataElement(
            Tag("PatientName"), "PN", len(data), data, 0, False, True
        )
        padded = data + b" " * (len(data) % 2)
        source = written(source, tmp_path) if len(data) % 2 == 0 else source
        derived = written(derive_now(source, cells[np.newaxis]), tmp_path)
        assert derived.get_item("PatientName").value.rstrip() == padded.rstrip(), character_sets
        assert derived.get_item("SpecificCharacterSet").value.rstrip() == "\\".join(character_sets).encode()


def test_pydicoms_character_set_files_keep_every_name(
    grey_image: Callable[..., Dataset], derive_now: Callable[..., Dataset], tmp_path: Path
) -> None:
    cells = np.arange(16, dtype=np.uint16).reshape(4, 4)
    seen = 0
    for name in get_charset_files("chr*.dcm"):
        source = files.read(Path(name))
        if not peek.string(source, "PatientName"):
            continue
        before = source.get_item("PatientName").value
        picture = grey_image(cells)
        for tag in (
            "Rows",
            "Columns",
            "BitsAllocated",
            "BitsStored",
            "HighBit",
            "PixelRepresentation",
            "PixelData",
        ):
            source._dict[Tag(tag)] = picture[tag]
        source._dict[Tag("PhotometricInterpretation")] = picture["PhotometricInterpretation"]
        source._dict[Tag("SeriesInstanceUID")] = picture["SeriesInstanceUID"]
        source._dict[Tag("SamplesPerPixel")] = picture["SamplesPerPixel"]
        source._dict.pop(Tag("NumberOfFrames"), None)
        source.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
        derived = written(derive_now(source, cells[np.newaxis]), tmp_path)
        assert derived.get_item("PatientName").value == before, name
        seen += 1
    assert seen >= 10


def mutable_parts(ds: Dataset) -> Iterator[object]:
    """Everything in a data set that a change could leak through."""
    yield ds
    for elem in peek.walk(ds):
        if isinstance(elem, RawDataElement):
            continue
        yield elem
        if isinstance(elem.value, Sequence):
            yield elem.value
            for item in elem.value:
                yield from mutable_parts(item)
        elif not isinstance(elem.value, bytes | str | int | float):
            yield elem.value


@pytest.mark.parametrize("is_converted", [False, True], ids=["as read", "every element accessed"])
def test_nothing_is_shared_with_the_source(
    grey_image: Callable[..., Dataset], derive_now: Callable[..., Dataset], is_converted: bool
) -> None:
    cells = np.arange(16, dtype=np.uint16).reshape(4, 4)
    item = Dataset()
    item.CodeMeaning = "inner"
    request = Dataset()
    request.RequestedProcedureCodeSequence = [item]
    source = grey_image(
        cells,
        RequestAttributesSequence=[request],
        ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
        LossyImageCompressionMethod=["ISO_10918_1", "ISO_15444_1"],
    )
    if is_converted:
        str(source)
    before = copy.deepcopy(source)
    derived = derive_now(source, cells[np.newaxis])
    ours = {id(part) for part in mutable_parts(source)}
    assert not [part for part in mutable_parts(derived) if id(part) in ours]
    derived.RequestAttributesSequence[0].RequestedProcedureCodeSequence[0].CodeMeaning = "changed"
    derived.ImageOrientationPatient[0] = 7
    derived.LossyImageCompressionMethod[0] = "X"
    derived.PatientName = "Other"
    assert source == before


def test_a_compressed_source_and_its_derived_object_share_nothing(derive_now: Callable[..., Dataset]) -> None:
    source = files.read(Path(str(get_testdata_file("JPEG2000.dcm"))))
    derived = derive_now(source, untouched(source))
    ours = {id(part) for part in mutable_parts(source)}
    assert not [part for part in mutable_parts(derived) if id(part) in ours]


def test_implicit_and_big_endian_sources_become_explicit_little_endian(
    derive_now: Callable[..., Dataset], tmp_path: Path
) -> None:
    explicit = files.read(Path(str(get_testdata_file("MR_small.dcm"))))
    reference = written(derive_now(explicit, untouched(explicit)), tmp_path)
    for name in ("MR_small_implicit.dcm", "MR_small_bigendian.dcm"):
        source = files.read(Path(str(get_testdata_file(name))))
        derived = written(derive_now(source, untouched(source)), tmp_path)
        assert derived.PixelData == reference.PixelData
        for keyword in (
            "Rows",
            "PixelSpacing",
            "EchoTime",
            "PatientName",
            "PixelPaddingValue",
            "SliceLocation",
        ):
            assert derived.get(keyword) == reference.get(keyword), (name, keyword)


def test_once_is_enough_and_twice_is_the_same(
    derive_now: Callable[..., Dataset], derivation: Derivation
) -> None:
    source = ct()
    stored = untouched(source)
    first, again = (
        derive_now(source, stored),
        derive_now(source, stored, now=datetime(2030, 1, 1, tzinfo=UTC)),
    )
    assert first.SOPInstanceUID == again.SOPInstanceUID
    assert first.SeriesInstanceUID == again.SeriesInstanceUID
    other = derive_now(source, stored, derivation=replace(derivation, model_digest="cd" * 32))
    weaker = derive_now(source, stored, derivation=replace(derivation, strength=0.5))
    revised = derive_now(source, stored, content_digest="d" * 64)
    assert len({ds.SOPInstanceUID for ds in (first, other, weaker, revised)}) == 4
    assert revised.SeriesInstanceUID == first.SeriesInstanceUID


def test_pixels_of_another_shape_or_type_are_refused(derive_now: Callable[..., Dataset]) -> None:
    source = ct()
    stored = untouched(source)
    for wrong in (stored[:, :4], stored.astype(np.int32)):
        with pytest.raises(PixelError, match="expected"):
            derive_now(source, wrong)


def test_a_template_that_names_something_else_is_refused(
    derive_now: Callable[..., Dataset], derivation: Derivation
) -> None:
    source = ct()
    with pytest.raises(ConfigError, match="patient"):
        derive_now(source, untouched(source), derivation=replace(derivation, description="{patient}"))


def test_settings_are_the_same_text_for_the_same_strength(derivation: Derivation) -> None:
    assert replace(derivation, strength=0.7).settings == replace(derivation, strength=0.1 + 0.6).settings
    assert replace(derivation, strength=1).settings == replace(derivation, strength=1.0).settings


def test_a_series_number_is_stable_and_free() -> None:
    assert derived_series_number(3, []) == derived_series_number(3, []) == 1003
    assert derived_series_number(3, [1003, 1004]) == 1005
    assert derived_series_number(None, []) == 1000
    assert derived_series_number(2**31 - 1, []) == 1000


@pytest.mark.parametrize("name", ["MR_small_implicit.dcm", "CT_small.dcm", "MR_small_bigendian.dcm"])
def test_a_data_set_that_pydicom_read_derives_the_same(
    derive_now: Callable[..., Dataset], tmp_path: Path, name: str
) -> None:
    path = Path(str(get_testdata_file(name)))
    ours, theirs = files.read(path), pydicom.dcmread(path)
    for source, target in ((ours, "ours"), (theirs, "theirs")):
        files.write(derive_now(source, untouched(source)), tmp_path / target)
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()
    assert is_own(pydicom.dcmread(tmp_path / "ours"))
