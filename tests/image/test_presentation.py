import struct

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset

from dae_pacs.image import packet
from dae_pacs.image.presentation import Window, read_presentation


def _image(**elements: object) -> Dataset:
    ds = Dataset()
    ds.PhotometricInterpretation, ds.PixelRepresentation = "MONOCHROME2", 0
    for keyword, value in elements.items():
        setattr(ds, keyword, value)
    return ds


def _window_item(centre: float, width: float) -> Dataset:
    item = Dataset()
    item.FrameVOILUTSequence = [_image(WindowCenter=centre, WindowWidth=width)]
    return item


def test_all_windows_come_in_their_order_with_function_and_words() -> None:
    ds = _image(
        WindowCenter=[40, -600],
        WindowWidth=[80, 1500],
        WindowCenterWidthExplanation=["BRAIN", "LUNG"],
        VOILUTFunction="SIGMOID",
    )
    assert read_presentation(ds).windows == (
        Window(40, 80, "SIGMOID", "BRAIN"),
        Window(-600, 1500, "SIGMOID", "LUNG"),
    )


@pytest.mark.parametrize(
    ("width", "function"), [(0, "LINEAR"), (0.5, "LINEAR"), (0, "SIGMOID"), (-1, "LINEAR_EXACT")]
)
def test_windows_that_the_standard_forbids_are_left_out(width: float, function: str) -> None:
    ds = _image(WindowCenter=1, WindowWidth=width, VOILUTFunction=function)
    assert read_presentation(ds).windows == ()


def test_broken_numbers_are_left_out() -> None:
    ds = _image(PixelRepresentation=0)
    ds.add_new("WindowCenter", "DS", "40")
    ds["WindowCenter"]._value = "forty"
    ds.WindowWidth = 80
    assert read_presentation(ds).windows == ()


def test_a_frames_own_window_and_spacing_stand_before_the_shared_ones() -> None:
    ds = _image()
    shared = _window_item(1, 2)
    measures = _image(PixelSpacing=[0.5, 0.25])
    shared.PixelMeasuresSequence = [measures]
    ds.SharedFunctionalGroupsSequence = [shared]
    ds.PerFrameFunctionalGroupsSequence = [Dataset(), _window_item(30, 40)]
    first, second = read_presentation(ds, 0), read_presentation(ds, 1)
    assert [first.windows[0].centre, second.windows[0].centre] == [1, 30]
    assert second.spacing_mm == (0.5, 0.25)
    assert second.aspect == 2


@pytest.mark.parametrize(
    ("photometric", "shape", "is_inverse"),
    [
        ("MONOCHROME2", None, False),
        ("MONOCHROME1", None, True),
        ("MONOCHROME1", "INVERSE", True),
        ("MONOCHROME2", "INVERSE", True),
        ("MONOCHROME1", "IDENTITY", False),
    ],
)
def test_presentation_lut_shape_has_the_last_word(
    photometric: str, shape: str | None, is_inverse: bool
) -> None:
    ds = _image(PhotometricInterpretation=photometric)
    if shape:
        ds.PresentationLUTShape = shape
    assert read_presentation(ds).is_inverse is is_inverse


def test_pixel_aspect_ratio_stands_in_for_a_missing_spacing() -> None:
    assert read_presentation(_image(PixelAspectRatio=[3, 2])).aspect == 1.5
    assert read_presentation(_image(PixelAspectRatio=[0, 2])).aspect == 1
    at_detector = read_presentation(_image(ImagerPixelSpacing=[0.2, 0.1]))
    assert (at_detector.spacing_mm, at_detector.spacing_from[:6]) == ((0.2, 0.1), "Imager")


def test_a_voi_lut_comes_as_its_entries() -> None:
    ds = pydicom.dcmread(get_testdata_file("vlut_04.dcm"))
    item = ds.VOILUTSequence[0]
    (table, *_) = read_presentation(ds).tables
    assert table.first == item.LUTDescriptor[1]
    assert table.bits == item.LUTDescriptor[2]
    assert len(table.entries) == (item.LUTDescriptor[0] or 65536)
    raw = item.LUTData if isinstance(item.LUTData, list) else list(np.frombuffer(bytes(item.LUTData), "<u2"))
    assert list(table.entries) == [int(value) for value in raw][: len(table.entries)]


def test_a_voi_lut_that_is_shorter_than_it_says_is_left_out() -> None:
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [4, 0, 16])
    item.add_new("LUTData", "OW", struct.pack("<3H", 1, 2, 3))
    ds = _image()
    ds.VOILUTSequence = [item]
    assert read_presentation(ds).tables == ()


@pytest.mark.parametrize("kind", ["u1", "i1", "u2", "i2", "u4", "i4", "f4", "f8"])
def test_a_packet_gives_back_what_it_was_given(kind: str) -> None:
    values = np.arange(6).astype(f">{kind}").reshape(2, 3)
    body = packet.pack({"word": "µm"}, values)
    meaning, back = packet.unpack(body)
    assert meaning == {"type": kind, "word": "µm"}
    assert back.tolist() == [0, 1, 2, 3, 4, 5]
    assert (len(body) - values.nbytes) % 8 == 0
