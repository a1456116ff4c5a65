import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate

from dae_pacs.errors import InputError, PixelError, UnsupportedImageError
from dae_pacs.image import files, pixels
from dae_pacs.image.parse import parse


@st.composite
def headers(draw: st.DrawFn) -> dict[str, Any]:
    allocated = draw(st.sampled_from([8, 16, 32]))
    stored = draw(st.integers(2, allocated))
    high = draw(st.integers(stored - 1, allocated - 1))
    elements: dict[str, Any] = {
        "BitsAllocated": allocated,
        "BitsStored": stored,
        "HighBit": high,
        "PixelRepresentation": draw(st.sampled_from([0, 1])),
        "PhotometricInterpretation": draw(st.sampled_from(["MONOCHROME1", "MONOCHROME2"])),
    }
    if draw(st.booleans()):
        elements["RescaleSlope"] = draw(st.sampled_from([1, 2, 0.5, 0.0375, -1, 13.7, 1e-4]))
        elements["RescaleIntercept"] = draw(st.sampled_from([0, -1024, 0.5, 1e5]))
    return elements


def stored_limits(elements: dict[str, Any]) -> tuple[int, int]:
    bits, signed = elements["BitsStored"], elements["PixelRepresentation"]
    return (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(elements=headers(), seed=st.integers(0, 2**32 - 1), padded=st.booleans())
def test_encode_undoes_decode_for_every_stored_type(
    grey_image: Callable[..., Dataset], elements: dict[str, Any], seed: int, padded: bool
) -> None:
    rng = np.random.default_rng(seed)
    low, high = stored_limits(elements)
    shift = elements["HighBit"] + 1 - elements["BitsStored"]
    truth = rng.integers(low, high, (2, 9, 7), endpoint=True)
    # Bits around the stored value hold anything: overlays, garbage.
    mask = ((1 << elements["BitsStored"]) - 1) << shift
    noise = rng.integers(0, (1 << elements["BitsAllocated"]) - 1, truth.shape, endpoint=True)
    cells = ((truth << shift) & mask | noise & ~mask).astype(f"u{elements['BitsAllocated'] // 8}")
    ds = grey_image(cells, **elements)
    if padded and elements["BitsStored"] <= 16:
        ds.PixelPaddingValue = int(truth[0, 0, 0])
        ds["PixelPaddingValue"].VR = "SS" if elements["PixelRepresentation"] else "US"
    decoded = pixels.decode(ds)
    assert np.array_equal(decoded.stored, truth)
    assert decoded.values.dtype == np.float32
    assert np.array_equal(pixels.encode(decoded.values.copy(), decoded), decoded.stored)
    slope, intercept = float(ds.get("RescaleSlope", 1)), float(ds.get("RescaleIntercept", 0))
    assert np.array_equal(decoded.values, (truth * slope + intercept).astype(np.float32))
    if padded and elements["BitsStored"] <= 16:
        assert decoded.keep[0, 0, 0]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(elements=headers(), seed=st.integers(0, 2**32 - 1))
def test_changed_values_are_rounded_clipped_and_never_become_padding(
    grey_image: Callable[..., Dataset], elements: dict[str, Any], seed: int
) -> None:
    elements |= {"BitsAllocated": 16, "BitsStored": min(16, elements["BitsStored"])}
    elements["HighBit"] = elements["BitsStored"] - 1
    rng = np.random.default_rng(seed)
    low, high = stored_limits(elements)
    truth = rng.integers(low, high, (8, 8), endpoint=True)
    mask = (1 << elements["BitsStored"]) - 1
    padding = int(truth[3, 3])
    ds = grey_image((truth & mask).astype(np.uint16), **elements, PixelPaddingValue=padding)
    ds["PixelPaddingValue"].VR = "SS" if elements["PixelRepresentation"] else "US"
    decoded = pixels.decode(ds)
    step = abs(float(ds.get("RescaleSlope", 1)))
    changed = decoded.values + rng.normal(0, 3 * step, decoded.values.shape).astype(np.float32)
    back = pixels.encode(changed, decoded)
    assert back.dtype == decoded.stored.dtype
    assert back.min() >= low
    assert back.max() <= high
    assert np.array_equal(back == padding, decoded.stored == padding)
    assert np.array_equal(back[decoded.keep], decoded.stored[decoded.keep])
    slope, intercept = float(ds.get("RescaleSlope", 1)), float(ds.get("RescaleIntercept", 0))
    expected = (changed.astype(np.float64) - intercept) / slope
    free = ~decoded.keep & (back != padding + 1) & (back != padding - 1)
    # Where the slope is tiny beside the intercept, float32 itself is coarser than the stored values.
    slack = np.spacing(np.abs(changed).max()) / step
    assert np.all(np.abs(np.clip(expected, low, high) - back)[free] <= 0.5 + slack)


def test_every_file_at_hand_round_trips(all_dicom_files: list[Path]) -> None:
    exact = 0
    for path in all_dicom_files:
        try:
            ds = files.read(path)
            decoded = pixels.decode(ds)
        except InputError:
            continue
        assert np.array_equal(pixels.encode(decoded.values.copy(), decoded), decoded.stored), path
        assert decoded.values.shape == decoded.stored.shape == decoded.keep.shape
        assert np.isfinite(decoded.values).all()
        exact += 1
    assert exact >= 25


def test_ct_is_in_hounsfield_units() -> None:
    decoded = pixels.decode(files.read(Path(str(get_testdata_file("CT_small.dcm")))))
    assert decoded.unit == "HU"
    assert np.array_equal(decoded.values, decoded.stored.astype(np.float32) - 1024)


def test_monochrome1_is_not_inverted(grey_image: Callable[..., Dataset]) -> None:
    cells = np.arange(64, dtype=np.uint16).reshape(8, 8)
    decoded = pixels.decode(grey_image(cells, PhotometricInterpretation="MONOCHROME1"))
    assert np.array_equal(decoded.values[0], cells)


def test_a_modality_lut_maps_there_and_back(grey_image: Callable[..., Dataset]) -> None:
    item = Dataset()
    item.LUTDescriptor, item.ModalityLUTType = [16, 4, 16], "OD"
    item.LUTData = (np.arange(16, dtype="<u2") ** 2 * 10).tobytes()
    item["LUTData"].VR = "OW"
    cells = np.arange(32, dtype=np.uint8).reshape(4, 8)
    decoded = pixels.decode(grey_image(cells, ModalityLUTSequence=[item]))
    places = np.clip(cells.astype(int) - 4, 0, 15)
    assert decoded.unit == "OD"
    assert np.array_equal(decoded.values[0], places**2 * 10)
    assert np.array_equal(pixels.encode(decoded.values.copy(), decoded), decoded.stored)
    moved = decoded.values.copy()
    moved[0, 1, 2] = 9 * 9 * 10 + 1
    assert pixels.encode(moved, decoded)[0, 1, 2] == 13


def test_each_frame_has_its_own_slope(grey_image: Callable[..., Dataset]) -> None:
    def group(slope: float) -> Dataset:
        transform, found = Dataset(), Dataset()
        transform.RescaleSlope, transform.RescaleIntercept, transform.RescaleType = slope, -5, "HU"
        found.PixelValueTransformationSequence = [transform]
        return found

    cells = np.random.default_rng(0).integers(0, 4000, (3, 6, 6), dtype=np.uint16)
    own = [group(slope) for slope in (1.0, 0.25, 3.5)]
    decoded = pixels.decode(grey_image(cells, PerFrameFunctionalGroupsSequence=own, RescaleSlope=99))
    assert decoded.unit == "HU"
    for index, slope in enumerate((1.0, 0.25, 3.5)):
        assert np.array_equal(decoded.values[index], (cells[index] * slope - 5).astype(np.float32))
    assert np.array_equal(pixels.encode(decoded.values, decoded), cells)
    shared = pixels.decode(grey_image(cells, SharedFunctionalGroupsSequence=[group(2.0)]))
    assert np.array_equal(shared.values, cells.astype(np.float32) * 2 - 5)
    with pytest.raises(PixelError, match="describe 2 frames"):
        pixels.decode(grey_image(cells, PerFrameFunctionalGroupsSequence=own[:2]))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_float_pixel_data_round_trip_with_their_nans(grey_image: Callable[..., Dataset], dtype: type) -> None:
    cells = np.random.default_rng(0).normal(size=(5, 6)).astype(dtype)
    cells[0, 0], cells[1, 1] = np.nan, -0.0
    decoded = pixels.decode(grey_image(cells))
    assert decoded.stored.dtype == dtype
    assert decoded.keep[0, 0, 0]
    assert pixels.encode(decoded.values.copy(), decoded).tobytes() == cells.tobytes()


def test_big_endian_pixels_are_the_little_endian_ones() -> None:
    little = pixels.decode(files.read(Path(str(get_testdata_file("MR_small.dcm")))))
    big = pixels.decode(files.read(Path(str(get_testdata_file("MR_small_bigendian.dcm")))))
    assert np.array_equal(little.stored, big.stored)
    assert big.stored.dtype.isnative


def test_values_that_are_not_finite_are_refused(grey_image: Callable[..., Dataset]) -> None:
    decoded = pixels.decode(grey_image(np.arange(64, dtype=np.uint16).reshape(8, 8)))
    for bad in (np.nan, np.inf):
        values = decoded.values.copy()
        values[0, 4, 4] = bad
        with pytest.raises(PixelError, match="not finite"):
            pixels.encode(values, decoded)
    with pytest.raises(PixelError, match="float32"):
        pixels.encode(decoded.values.astype(np.float64), decoded)
    with pytest.raises(PixelError, match="expected"):
        pixels.encode(decoded.values[:, :4], decoded)


def test_a_frame_that_is_encoded_part_by_part_is_whole(grey_image: Callable[..., Dataset]) -> None:
    rows, columns = 3 * pixels._PIXELS_AT_ONCE // 100 + 1, 100
    truth = np.random.default_rng(1).integers(0, 4096, (rows, columns)).astype(np.uint16)
    decoded = pixels.decode(grey_image(truth, PixelPaddingValue=7, RescaleSlope=2, RescaleIntercept=-1000))
    free = ~decoded.keep & (decoded.stored < 4090) & (decoded.stored != 4)
    changed = np.where(free, decoded.values + np.float32(6.2), decoded.values)

    expected = np.where(free, decoded.stored + 3, decoded.stored)
    assert np.array_equal(pixels.encode(changed, decoded), expected)
    last = tuple(np.argwhere(free)[-1])
    changed[last] = np.nan
    with pytest.raises(PixelError, match="not finite"):
        pixels.encode(changed, decoded)


@pytest.mark.parametrize(
    ("elements", "words"),
    [
        ({"Rows": 65535, "Columns": 65535}, "promises"),
        ({"NumberOfFrames": 1000}, "promises"),
        ({"NumberOfFrames": -1}, "-1 frames"),
        ({"NumberOfFrames": 0}, "0 frames"),
        ({"Rows": 0}, "0 x 8"),
        ({"Rows": 2}, "whole frames would be lost"),
        ({"Rows": None}, "Rows is missing"),
        ({"BitsAllocated": None}, "BitsAllocated is missing"),
        ({"BitsStored": 20}, "contradict"),
        ({"HighBit": 40}, "contradict"),
        ({"RescaleSlope": 0}, "maps nothing back"),
        ({"PixelData": None}, "no pixel data"),
        ({"PixelData": b""}, "empty"),
    ],
)
def test_a_lying_header_is_refused_in_words(
    grey_image: Callable[..., Dataset], elements: dict[str, Any], words: str
) -> None:
    ds = grey_image(np.zeros((8, 8), np.uint16), **elements)
    with pytest.raises(PixelError, match=words):
        pixels.decode(ds)


def test_a_compressed_object_that_promises_too_much_is_refused(grey_image: Callable[..., Dataset]) -> None:
    ds = grey_image(
        np.zeros((8, 8), np.uint16), Rows=65535, Columns=65535, PixelData=encapsulate([b"\xff\xd8"])
    )
    ds.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.90"
    with pytest.raises(PixelError, match="limit"):
        pixels.decode(ds)


def test_frames_that_the_header_miscounts_are_refused() -> None:
    ds = files.read(Path(str(get_testdata_file("MR_small_RLE.dcm"))))
    for frames in (2, 7):
        ds.NumberOfFrames = frames
        with pytest.raises(PixelError, match="Number of Frames"):
            pixels.decode(ds)


@pytest.mark.parametrize("photometric", ["RGB", "PALETTE COLOR", "YBR_FULL", ""])
def test_colour_is_unsupported(grey_image: Callable[..., Dataset], photometric: str) -> None:
    with pytest.raises(UnsupportedImageError, match="grey"):
        pixels.decode(grey_image(np.zeros((8, 8), np.uint16), PhotometricInterpretation=photometric))


def test_a_sign_that_the_stream_contradicts_is_refused(shared_dicom: Path) -> None:
    path = shared_dicom / "pylibjpeg" / "JPEG2000Lossless" / "TOSHIBA_J2K_SIZ1_PixRep0.dcm"
    with pytest.raises(PixelError, match="unsigned"):
        pixels.decode(files.read(path))


def test_lossy_overshoot_is_clipped_not_wrapped(shared_dicom: Path) -> None:
    decoded = pixels.decode(files.read(shared_dicom / "wg04" / "JPLY" / "RG3_JPLY"))
    assert decoded.stored.max() == 1023


def test_an_unsigned_padding_value_of_signed_pixels_is_understood(grey_image: Callable[..., Dataset]) -> None:
    cells = np.full((8, 8), -2000, np.int16)
    cells[2:6, 2:6] = np.arange(16).reshape(4, 4)
    ds = grey_image(cells)
    ds.add_new("PixelPaddingValue", "US", 63536)
    decoded = pixels.decode(ds)
    assert np.array_equal(decoded.keep[0], cells == -2000)


def test_a_padding_range_is_kept(grey_image: Callable[..., Dataset]) -> None:
    cells = np.arange(64, dtype=np.uint16).reshape(8, 8)
    decoded = pixels.decode(grey_image(cells, PixelPaddingValue=20, PixelPaddingRangeLimit=10))
    assert np.array_equal(decoded.keep[0], (cells >= 10) & (cells <= 20))
    back = pixels.encode(np.full((1, 8, 8), 15, np.float32), decoded)
    assert set(back[~decoded.keep]) == {9, 21}


def test_decoding_leaves_the_header_as_it_stands() -> None:
    ds = files.read(Path(str(get_testdata_file("CT_small.dcm"))))
    before = {tag: ds.get_item(tag) for tag in ds.keys()}  # noqa: SIM118 (iterating converts elements)
    pixels.decode(ds)
    assert all(ds.get_item(tag) is elem for tag, elem in before.items())


def test_a_header_without_pixels_is_refused() -> None:
    data = Path(str(get_testdata_file("CT_small.dcm"))).read_bytes()
    with pytest.raises(PixelError, match="no pixel data"):
        pixels.decode(parse(io.BytesIO(data), with_pixels=False))
