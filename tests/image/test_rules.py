from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from dae_pacs.image import files, peek, pixels


def untouched(ds: Dataset) -> np.ndarray:
    return pixels.decode(ds).stored


@pytest.mark.parametrize(
    ("sop_class", "image_type", "expected"),
    [
        ("1.2.840.10008.5.1.4.1.1.2", ["ORIGINAL", "PRIMARY", "LOCALIZER", "X"], ["LOCALIZER", "X"]),
        ("1.2.840.10008.5.1.4.1.1.2", ["ORIGINAL", "PRIMARY"], ["AXIAL"]),
        ("1.2.840.10008.5.1.4.1.1.1.1", ["ORIGINAL", "PRIMARY"], [""]),
        ("1.2.840.10008.5.1.4.1.1.1.1", ["ORIGINAL", "PRIMARY", ""], [""]),
        ("1.2.840.10008.5.1.4.1.1.1.2", ["ORIGINAL", "PRIMARY", "", "TOMO"], ["", "TOMO"]),
        ("1.2.840.10008.5.1.4.1.1.1", ["DERIVED", "PRIMARY"], []),
        ("1.2.840.10008.5.1.4.1.1.12.1", ["ORIGINAL", "PRIMARY", "SINGLE PLANE"], ["SINGLE PLANE"]),
    ],
)
def test_image_type_keeps_what_follows_the_second_value(
    grey_image: Callable[..., Dataset],
    derive_now: Callable[..., Dataset],
    sop_class: str,
    image_type: list[str],
    expected: list[str],
) -> None:
    cells = np.arange(16, dtype=np.uint16).reshape(4, 4)
    source = grey_image(cells, SOPClassUID=sop_class, ImageType=image_type)
    values = peek.strings(derive_now(source, cells[np.newaxis]), "ImageType")
    assert list(values) == ["DERIVED", "SECONDARY", *expected]


def test_dates_of_creation_are_ours_in_the_objects_zone(
    grey_image: Callable[..., Dataset], derive_now: Callable[..., Dataset]
) -> None:
    cells = np.arange(16, dtype=np.uint16).reshape(4, 4)
    source = grey_image(
        cells,
        ContentDate="20200101",
        ContentTime="1200",
        AcquisitionDate="20200101",
        TimezoneOffsetFromUTC="-0530",
    )
    derived = derive_now(source, cells[np.newaxis], now=datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC))
    assert (derived.InstanceCreationDate, derived.InstanceCreationTime) == ("20260303", "233607")
    assert (derived.ContentDate, derived.ContentTime) == ("20260303", "233607")
    assert derived.AcquisitionDate == "20200101"
    assert "ContentDate" not in derive_now(grey_image(cells), cells[np.newaxis])


def test_seals_icons_and_stale_statistics_are_dropped(
    grey_image: Callable[..., Dataset], derive_now: Callable[..., Dataset]
) -> None:
    cells = np.arange(16, dtype=np.uint16).reshape(4, 4)
    dropped = ["IconImageSequence", "DigitalSignaturesSequence", "MACParametersSequence", "HistogramSequence"]
    source = grey_image(cells, **{keyword: [Dataset()] for keyword in dropped}, BurnedInAnnotation="YES")
    source.LargestPixelValueInSeries = 99
    source.SmallestImagePixelValue, source.LargestImagePixelValue = 0, 15
    source.WindowCenter, source.WindowWidth = ["40", "300"], ["80", "1500"]
    derived = derive_now(source, cells[np.newaxis] + np.uint16(2))
    assert not [keyword for keyword in (*dropped, "LargestPixelValueInSeries") if keyword in derived]
    assert (derived.SmallestImagePixelValue, derived.LargestImagePixelValue) == (2, 17)
    assert derived.BurnedInAnnotation == "YES"
    assert list(derived.WindowCenter) == [40, 300]


def test_signed_extremes_have_their_sign(
    grey_image: Callable[..., Dataset], derive_now: Callable[..., Dataset]
) -> None:
    cells = np.arange(-8, 8, dtype=np.int16).reshape(4, 4)
    source = grey_image(cells)
    source.add_new("SmallestImagePixelValue", "SS", 0)
    derived = derive_now(source, cells[np.newaxis])
    assert derived.SmallestImagePixelValue == -8
    assert derived["SmallestImagePixelValue"].VR == "SS"


def test_private_elements_are_dropped_at_every_depth_but_those_listed(
    grey_image: Callable[..., Dataset], derive_now: Callable[..., Dataset]
) -> None:
    cells = np.arange(16, dtype=np.uint16).reshape(4, 4)
    inner = Dataset()
    inner.private_block(0x0029, "VENDOR", create=True).add_new(1, "LO", "secret")
    inner.CodeMeaning = "kept"
    source = grey_image(cells, RequestAttributesSequence=[inner])
    source.private_block(0x0009, "VENDOR", create=True).add_new(1, "LO", "secret")
    philips = source.private_block(0x2005, "Philips MR Imaging DD 001", create=True)
    philips.add_new(0x0E, "FL", 0.5)
    philips.add_new(0x20, "LO", "secret")
    derived = derive_now(source, cells[np.newaxis])
    assert "secret" not in str(derived)
    assert derived.private_block(0x2005, "Philips MR Imaging DD 001")[0x0E].value == 0.5
    assert derived.RequestAttributesSequence[0].CodeMeaning == "kept"
    assert len([tag for tag in derived.keys() if tag.is_private]) == 2  # noqa: SIM118


def test_lossy_history_is_kept_and_never_reset(
    grey_image: Callable[..., Dataset], derive_now: Callable[..., Dataset]
) -> None:
    cells = np.arange(16, dtype=np.uint16).reshape(4, 4)
    source = grey_image(
        cells,
        LossyImageCompression="01",
        LossyImageCompressionRatio="8.5",
        LossyImageCompressionMethod="ISO_10918_1",
    )
    derived = derive_now(source, cells[np.newaxis])
    assert (derived.LossyImageCompression, derived.LossyImageCompressionRatio) == ("01", 8.5)
    assert derived.LossyImageCompressionMethod == "ISO_10918_1"


def test_a_lossy_transfer_syntax_leaves_its_trace(derive_now: Callable[..., Dataset]) -> None:
    source = files.read(Path(str(get_testdata_file("JPEGLSNearLossless_16.dcm"))))
    for keyword in ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod"):
        source._dict.pop(Tag(keyword), None)
    derived = derive_now(source, untouched(source))
    assert derived.LossyImageCompression == "01"
    assert derived.LossyImageCompressionMethod == "ISO_14495_1"
    assert derived.LossyImageCompressionRatio > 1
    lossless = files.read(Path(str(get_testdata_file("MR_small_jp2klossless.dcm"))))
    lossless._dict.pop(Tag("LossyImageCompression"), None)
    assert "LossyImageCompression" not in derive_now(lossless, untouched(lossless))


def test_what_the_source_said_of_its_own_derivation_stays(
    grey_image: Callable[..., Dataset], derive_now: Callable[..., Dataset]
) -> None:
    cells = np.arange(16, dtype=np.uint16).reshape(4, 4)
    earlier, equipment = Dataset(), Dataset()
    earlier.CodeValue, earlier.CodingSchemeDesignator, earlier.CodeMeaning = (
        "113040",
        "DCM",
        "Lossy Compression",
    )
    equipment.Manufacturer, equipment.PurposeOfReferenceCodeSequence = "Other", [earlier]
    source = grey_image(
        cells,
        DerivationDescription="Lossy once",
        DerivationCodeSequence=[earlier],
        ContributingEquipmentSequence=[equipment],
    )
    derived = derive_now(source, cells[np.newaxis])
    assert derived.DerivationDescription.startswith("Lossy once; Noise reduced by dae-pacs")
    assert [item.get("CodeValue") for item in derived.DerivationCodeSequence] == ["113040", "113087", None]
    assert [item.Manufacturer for item in derived.ContributingEquipmentSequence] == [
        "Other",
        "UNKNOWN",
        "dae-pacs",
    ]
