"""Our own judge: every difference between a derived object and its source, and whether it may be."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset

from dae_pacs.errors import InputError
from dae_pacs.image import files, pixels
from dae_pacs.image.check import Verdict, check
from dae_pacs.image.derive import Derivation
from dae_pacs.image.removed import difference
from dae_pacs.image.stored import transfer_syntax
from dae_pacs.image.support import reason_not_denoised

MakeImage = Callable[..., Dataset]
Derive = Callable[..., Dataset]


def wrong(verdict: Verdict) -> dict[str, str]:
    return {finding.what: finding.words for finding in verdict.findings if not finding.may_differ}


@pytest.fixture
def source(grey_image: MakeImage, tmp_path: Path) -> Dataset:
    cells = np.random.default_rng(0).integers(900, 1100, (16, 16), dtype=np.uint16)
    ds = grey_image(
        cells,
        RescaleSlope="1",
        RescaleIntercept="-1024",
        WindowCenter="40",
        WindowWidth="400",
        ImagePositionPatient=["0", "0", "1"],
        PixelSpacing=["0.5", "0.5"],
        IconImageSequence=[Dataset()],
        ContributingEquipmentSequence=[],
    )
    ds.add_new("SmallestImagePixelValue", "US", 900)
    ds.private_block(0x0009, "VENDOR", create=True).add_new(1, "LO", "secret")
    files.write(ds, tmp_path / "source.dcm")
    return files.read(tmp_path / "source.dcm")


@pytest.fixture
def derived(source: Dataset, derive_now: Derive, tmp_path: Path) -> Dataset:
    stored = pixels.decode(source).stored.copy()
    stored[0, 4:12, 4:12] -= np.uint16(3)
    files.write(derive_now(source, stored), tmp_path / "derived.dcm")
    return files.read(tmp_path / "derived.dcm")


def test_a_right_derivation_has_no_fault_and_every_difference_a_rule(
    source: Dataset, derived: Dataset
) -> None:
    verdict = check(source, derived, sigma_of=lambda x: np.full(x.shape, 1.0))
    assert verdict.is_right, wrong(verdict)
    words = {finding.what: finding.words for finding in verdict.findings}
    assert words["IconImageSequence"] == "dropped, as the rule for IconImageSequence wants"
    assert words["ImageType"] == "changed, as the rule for ImageType wants"
    assert words["(0009,0010)"] == "dropped, as the rule for private elements wants"
    assert "by 3 grey at most" in words["pixels"] or "by 3 HU at most" in words["pixels"]
    assert verdict.same > 10


@pytest.mark.parametrize(
    ("keyword", "value", "words"),
    [
        ("PatientName", "Other^Name", "no rule changes it"),
        ("ImagePositionPatient", ["0", "0", "2"], "no rule changes it"),
        ("PixelSpacing", ["0.4", "0.5"], "no rule changes it"),
        ("WindowCenter", "50", "no rule changes it"),
        ("RescaleIntercept", "-1000", "no rule changes it"),
        ("ImageType", ["ORIGINAL", "PRIMARY", "AXIAL"], "not what its rule makes"),
        ("SOPInstanceUID", "1.2.3.1", "is the source's own"),
        ("SeriesInstanceUID", "1.2.3.4.5", "2.25."),
        ("DerivationDescription", "Enhanced", "does not say that dae-pacs"),
        ("SmallestImagePixelValue", 7, "the pixels'"),
        ("PatientComments", "x", "no rule adds it"),
        ("WindowWidth", None, "no rule drops it"),
        ("SourceImageSequence", [], "not what its rule makes"),
    ],
)
def test_what_may_not_differ_is_told(
    source: Dataset, derived: Dataset, keyword: str, value: Any, words: str
) -> None:
    if value is None:
        del derived[keyword]
    else:
        setattr(derived, keyword, value)
    assert words in wrong(check(source, derived))[keyword]


def test_an_element_that_a_rule_drops_must_be_gone(source: Dataset, derived: Dataset) -> None:
    derived.IconImageSequence = [Dataset()]
    assert "a rule drops it" in wrong(check(source, derived))["IconImageSequence"]


def test_an_object_of_another_maker_is_no_derivation_of_ours(source: Dataset) -> None:
    assert "was not made here" in wrong(check(source, source))["ContributingEquipmentSequence"]


def test_changes_beyond_the_noise_are_told(source: Dataset, derived: Dataset) -> None:
    faults = wrong(check(source, derived, sigma_of=lambda x: np.full(x.shape, 0.1)))
    assert faults["pixels"].startswith("64 changed by more than 6 sigma")


def test_pixels_that_must_stay_are_watched(grey_image: MakeImage, derive_now: Derive) -> None:
    cells = np.random.default_rng(0).integers(900, 1100, (16, 16), dtype=np.uint16)
    cells[:4] = 5
    source = grey_image(cells)
    source.add_new("PixelPaddingValue", "US", 5)
    stored = pixels.decode(source).stored.copy()
    stored[0, 0, 0] = 6
    assert "1 changed that are padding" in wrong(check(source, derive_now(source, stored)))["pixels"]


def test_another_size_is_told(source: Dataset, derived: Dataset) -> None:
    derived.Rows, derived.Columns = 8, 32
    faults = wrong(check(source, derived))
    assert {"Rows", "Columns", "pixels"} <= set(faults)


def test_a_series_of_what_was_removed_is_right_too(
    source: Dataset, derive_now: Derive, derivation: Derivation
) -> None:
    decoded = pixels.decode(source)
    lost = difference(decoded.stored, decoded.stored - np.uint16(3), decoded.layout)
    removal = replace(derivation, kind="removed", window_sigma=4.0)
    derived = derive_now(source, lost, derivation=removal)
    verdict = check(source, derived, sigma_of=lambda x: np.full(x.shape, 1.0))
    assert verdict.is_right, wrong(verdict)
    assert "by 3 " in next(finding.words for finding in verdict.findings if finding.what == "pixels")
    derived.WindowCenter = "40"
    assert "WindowCenter" in wrong(check(source, derived))


@pytest.mark.parametrize("has_own_derivation", [True, False])
def test_frames_marked_as_derived_are_right(
    enhanced_image: MakeImage, derive_now: Derive, *, has_own_derivation: bool
) -> None:
    source = enhanced_image(2, has_own_derivation=has_own_derivation)
    derived = derive_now(source, pixels.decode(source).stored)
    assert check(source, derived).is_right
    derived.PerFrameFunctionalGroupsSequence[1].PlanePositionSequence[0].ImagePositionPatient = [0, 0, 9]
    assert "PerFrameFunctionalGroupsSequence" in wrong(check(source, derived))


@pytest.mark.parametrize(
    "name", ["CT_small.dcm", "MR_small_bigendian.dcm", "emri_small.dcm", "JPEG2000.dcm", "MR_small_RLE.dcm"]
)
def test_every_kind_of_object_passes_its_own_check(name: str, derive_now: Derive, tmp_path: Path) -> None:
    source = files.read(Path(str(get_testdata_file(name))))
    files.write(derive_now(source, pixels.decode(source).stored), tmp_path / "derived.dcm")
    verdict = check(source, files.read(tmp_path / "derived.dcm"))
    assert verdict.is_right, wrong(verdict)


@pytest.mark.slow
def test_every_element_of_what_we_make_of_any_file_is_accounted_for(
    all_dicom_files: list[Path], derive_now: Derive, derivation: Derivation
) -> None:
    removal = replace(derivation, kind="removed", window_sigma=4.0)
    judged = set()
    for path in all_dicom_files:
        try:
            source = files.read(path)
            if reason_not_denoised(source):
                continue
            kind = (source.SOPClassUID, transfer_syntax(source), path.parent.name)
            if kind in judged:
                continue
            decoded = pixels.decode(source)
            made = [derive_now(source, decoded.stored)]
            lost = difference(decoded.stored, decoded.stored, decoded.layout)
            made.append(derive_now(source, lost, derivation=removal))
        except InputError:
            continue
        judged.add(kind)
        for derived in made:
            verdict = check(source, derived)
            assert verdict.is_right, (path, wrong(verdict))
    assert len(judged) >= 8


def test_a_source_that_can_not_be_denoised_is_refused(derived: Dataset) -> None:
    with pytest.raises(InputError):
        check(files.read(Path(str(get_testdata_file("rtplan.dcm")))), derived)
