"""The series of what was removed: source minus denoised, exact, in the source's own class."""

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset

from dae_pacs.errors import UnsupportedImageError
from dae_pacs.image import files, peek, pixels
from dae_pacs.image.derive import Derivation
from dae_pacs.image.removed import difference, zero_of

DX = "1.2.840.10008.5.1.4.1.1.1.1"
MakeImage = Callable[..., Dataset]


@pytest.fixture
def removal(derivation: Derivation) -> Derivation:
    return replace(
        derivation, kind="removed", window_sigma=10.0, description="{source} removed s={strength:.1f}"
    )


@pytest.fixture
def derive_removed(derive_now: Callable[..., Dataset], removal: Derivation) -> Callable[..., Dataset]:
    """Derive what was removed where each pixel lost `lost`, (frames, rows, columns)."""

    def make(source: Dataset, lost: Any, **changes: Any) -> Dataset:
        decoded = pixels.decode(source)
        after = (decoded.stored.astype(np.int64) - lost).astype(decoded.stored.dtype)
        stored = difference(decoded.stored, after, decoded.layout)
        return derive_now(source, stored, **({"derivation": removal} | changes))

    return make


def cells(dtype: str = "u2") -> np.ndarray:
    return np.random.default_rng(0).integers(900, 1100, (8, 8)).astype(dtype)


LOST = np.arange(-32, 32).reshape(1, 8, 8)


@pytest.mark.parametrize("dtype", ["u2", "i2"])
def test_decoded_values_are_what_was_removed_in_the_modalitys_unit(
    grey_image: MakeImage, derive_removed: Callable[..., Dataset], dtype: str
) -> None:
    source = grey_image(cells(dtype), RescaleSlope="0.5", RescaleIntercept="-1024", RescaleType="HU")
    derived = derive_removed(source, LOST)
    decoded = pixels.decode(derived)
    assert decoded.unit == "HU"
    np.testing.assert_allclose(decoded.values, LOST * 0.5)
    assert derived.PixelRepresentation == source.PixelRepresentation


def test_window_is_six_sigma_around_zero_whatever_the_source_had(
    grey_image: MakeImage, derive_removed: Callable[..., Dataset]
) -> None:
    source = grey_image(
        cells(),
        RescaleSlope="1",
        RescaleIntercept="-1024",
        WindowCenter=["40", "300"],
        WindowWidth=["80", "1500"],
        WindowCenterWidthExplanation=["A", "B"],
        VOILUTFunction="SIGMOID",
        VOILUTSequence=[Dataset()],
    )
    derived = derive_removed(source, LOST)
    assert (derived.WindowCenter, derived.WindowWidth) == (0, 120)
    for keyword in ("VOILUTSequence", "VOILUTFunction", "WindowCenterWidthExplanation"):
        assert keyword not in derived


def test_a_window_too_narrow_for_the_linear_function_is_told_exactly(
    grey_image: MakeImage, derive_removed: Callable[..., Dataset], removal: Derivation
) -> None:
    source = grey_image(cells("i2"), RescaleSlope="0.001", RescaleIntercept="0")
    derived = derive_removed(source, LOST, derivation=replace(removal, window_sigma=0.01))
    assert (derived.WindowWidth, derived.VOILUTFunction) == (pytest.approx(0.12), "LINEAR_EXACT")


def test_a_class_without_a_free_intercept_says_which_value_is_zero(
    grey_image: MakeImage, derive_removed: Callable[..., Dataset]
) -> None:
    source = grey_image(
        cells(),
        SOPClassUID=DX,
        BitsStored=12,
        HighBit=11,
        RescaleSlope="1",
        RescaleIntercept="0",
        RescaleType="US",
        PresentationLUTShape="IDENTITY",
        BurnedInAnnotation="YES",
    )
    derived = derive_removed(source, LOST)
    assert (derived.RescaleIntercept, derived.WindowCenter) == (0, 2048)
    assert "stored value 2048 is zero" in derived.DerivationDescription
    assert (derived.PresentationLUTShape, derived.BurnedInAnnotation) == ("IDENTITY", "YES")
    np.testing.assert_array_equal(pixels.decode(derived).values, LOST + 2048)


def test_header_says_what_it_is_and_has_its_own_uids(
    grey_image: MakeImage, derive_removed: Callable[..., Dataset], derive_now: Callable[..., Dataset]
) -> None:
    source = grey_image(cells(), RescaleSlope="1", RescaleIntercept="0", SeriesDescription="Thorax")
    derived, denoised = derive_removed(source, LOST), derive_now(source, pixels.decode(source).stored)
    assert derived.ImageType[0] == "DERIVED"
    assert derived.SeriesDescription == "Thorax removed s=0.7"
    assert "not an image for diagnosis" in derived.DerivationDescription
    assert [item.get("CodeValue") for item in derived.DerivationCodeSequence] == ["113062", None]
    assert len({ds.SOPInstanceUID for ds in (source, derived, denoised)}) == 3
    assert len({ds.SeriesInstanceUID for ds in (source, derived, denoised)}) == 3


def test_the_settings_of_a_denoised_series_are_as_they_always_were(derivation: Derivation) -> None:
    assert derivation.settings == "strength=0.7"


def test_padding_becomes_zero_and_is_no_padding_any_more(
    grey_image: MakeImage, derive_removed: Callable[..., Dataset]
) -> None:
    source = grey_image(cells("i2"), RescaleIntercept="0", RescaleSlope="1")
    source.add_new("PixelPaddingValue", "SS", 0)
    derived = derive_removed(source, 0 * LOST)
    assert "PixelPaddingValue" not in derived
    assert not pixels.decode(derived).values.any()


def test_private_factors_and_real_world_values_of_the_source_are_dropped(
    grey_image: MakeImage, derive_removed: Callable[..., Dataset]
) -> None:
    source = grey_image(cells(), RealWorldValueMappingSequence=[Dataset()])
    source.private_block(0x2005, "Philips MR Imaging DD 001", create=True).add_new(0x0E, "FL", 0.5)
    derived = derive_removed(source, LOST)
    assert "RealWorldValueMappingSequence" not in derived
    assert not [tag for tag in derived.keys() if tag.is_private]  # noqa: SIM118


def test_frames_have_their_own_intercept_and_window(
    enhanced_image: MakeImage, derive_removed: Callable[..., Dataset]
) -> None:
    source = enhanced_image(2, has_own_derivation=False)
    for slope, group in enumerate(source.PerFrameFunctionalGroupsSequence, start=1):
        item = Dataset()
        item.RescaleSlope, item.RescaleIntercept, item.RescaleType = slope, -1024, "HU"
        group.PixelValueTransformationSequence = [item]
    lost = np.arange(-16, 16).reshape(2, 4, 4)
    derived = derive_removed(source, lost)
    np.testing.assert_allclose(pixels.decode(derived).values, lost * np.array([1, 2]).reshape(2, 1, 1))
    (window,) = derived.SharedFunctionalGroupsSequence[0].FrameVOILUTSequence
    assert (window.WindowCenter, window.WindowWidth) == (0, 120)
    assert "WindowCenter" not in derived


def test_a_modality_lut_is_refused_with_the_reason(
    grey_image: MakeImage, derive_removed: Callable[..., Dataset]
) -> None:
    item = Dataset()
    item.LUTDescriptor, item.ModalityLUTType = [4096, 0, 16], "US"
    item.LUTData = np.arange(4096, dtype="<u2").tobytes()
    with pytest.raises(UnsupportedImageError, match="ModalityLUTSequence"):
        derive_removed(grey_image(cells(), ModalityLUTSequence=[item]), LOST)


def test_what_does_not_fit_is_refused(grey_image: MakeImage) -> None:
    layout = pixels.decode(grey_image(cells("u1"))).layout
    with pytest.raises(UnsupportedImageError, match="8 bits"):
        difference(np.array([200], "u1"), np.array([10], "u1"), layout)
    assert zero_of(layout) == 128


def test_floats_have_no_offset_and_no_holes(grey_image: MakeImage) -> None:
    layout = pixels.decode(grey_image(cells("f4"))).layout
    before = np.array([1.5, np.nan], "f4")
    np.testing.assert_array_equal(difference(before, np.array([1.0, np.nan], "f4"), layout), [0.5, 0.0])


def judged(path: Path) -> set[str]:
    result = subprocess.run(["dciodvfy", str(path)], capture_output=True, check=False)
    lines = (result.stdout + result.stderr).decode("latin-1").splitlines()
    return {line for line in lines if line.startswith(("Error", "Warning"))}


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dicom3tools is not installed")
@pytest.mark.parametrize("name", ["CT_small.dcm", "MR_small.dcm", "emri_small.dcm", "JPEG2000.dcm"])
def test_dciodvfy_says_nothing_new(name: str, derive_removed: Callable[..., Dataset], tmp_path: Path) -> None:
    path = Path(str(get_testdata_file(name)))
    source = files.read(path)
    files.write(derive_removed(source, 0), tmp_path / "removed.dcm")
    known_false = "Attribute present when condition unsatisfied"
    new = {line for line in judged(tmp_path / "removed.dcm") - judged(path) if known_false not in line}
    assert not new


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dicom3tools is not installed")
@pytest.mark.parametrize(
    ("number", "modality", "intent"),
    [
        ("1", "CR", None),
        ("1.1", "DX", "FOR PRESENTATION"),
        ("1.1.1", "DX", "FOR PROCESSING"),
        ("1.2", "MG", "FOR PRESENTATION"),
        ("1.3", "IO", "FOR PRESENTATION"),
        ("12.1", "XA", None),
        ("12.2", "RF", None),
        ("20", "NM", None),
        ("128", "PT", None),
        ("7", "OT", None),
    ],
)
def test_dciodvfy_says_nothing_new_of_any_class(
    grey_image: MakeImage,
    derive_removed: Callable[..., Dataset],
    tmp_path: Path,
    *,
    number: str,
    modality: str,
    intent: str | None,
) -> None:
    image_type = ["ORIGINAL", "PRIMARY", *([""] if modality in {"DX", "MG", "IO"} else [])]
    source = grey_image(
        cells(),
        SOPClassUID=f"1.2.840.10008.5.1.4.1.1.{number}",
        Modality=modality,
        ImageType=image_type,
        Manufacturer="Maker",
        RescaleSlope="1",
        RescaleIntercept="0",
        RescaleType="US",
    )
    if intent:
        source.PresentationIntentType = intent
    if intent != "FOR PROCESSING":
        source.WindowCenter, source.WindowWidth = "1000", "200"
    files.write(source, tmp_path / "source.dcm")
    source = files.read(tmp_path / "source.dcm")
    files.write(derive_removed(source, LOST), tmp_path / "removed.dcm")
    assert judged(tmp_path / "removed.dcm") <= judged(tmp_path / "source.dcm")
    assert peek.string(source, "WindowWidth") in {"200", ""}, "the source is not touched"
