from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset

from dae_pacs.image import files
from dae_pacs.image.support import reason_not_denoised


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("test-SR.dcm", "structured report"),
        ("rtplan.dcm", "radiotherapy"),
        ("rtdose.dcm", "radiotherapy"),
        ("rtstruct.dcm", "radiotherapy"),
        ("waveform_ecg.dcm", "waveform"),
        ("liver_1frame.dcm", "segmentation"),
        ("SC_rgb.dcm", "colour"),
        ("examples_palette.dcm", "palette"),
        ("DICOMDIR", "directory"),
    ],
)
def test_what_is_no_grey_image_is_passed_over_in_words(name: str, word: str) -> None:
    found = get_testdata_file(name) or get_testdata_file("SC_rgb_small_odd.dcm")
    reason = reason_not_denoised(files.read(Path(str(found))))
    assert reason is not None
    assert word in reason


@pytest.mark.parametrize("name", ["CT_small.dcm", "MR_small.dcm", "JPEG2000.dcm", "MR_small_RLE.dcm"])
def test_grey_images_are_denoised(name: str) -> None:
    assert reason_not_denoised(files.read(Path(str(get_testdata_file(name))))) is None


@pytest.mark.parametrize(
    ("elements", "word"),
    [
        ({"BitsAllocated": 1}, "mask"),
        ({"BitsAllocated": 12}, "Bits Allocated 12"),
        ({"Rows": None}, "no Rows"),
        ({"SOPInstanceUID": None}, "SOPInstanceUID"),
        ({"PhotometricInterpretation": "RGB", "SamplesPerPixel": 3}, "colour"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.88.11"}, "structured report"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.88.59"}, "structured report"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.11.1"}, "presentation state"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.30"}, "parametric map"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.66.4"}, "segmentation"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.104.1"}, "encapsulated"),
    ],
)
def test_reasons_name_the_finding(
    grey_image: Callable[..., Dataset], elements: dict[str, Any], word: str
) -> None:
    reason = reason_not_denoised(grey_image(np.zeros((4, 4), np.uint16), **elements))
    assert reason is not None
    assert word in reason


def test_a_video_is_passed_over(grey_image: Callable[..., Dataset]) -> None:
    ds = grey_image(np.zeros((4, 4), np.uint8))
    ds.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.102"
    assert "transfer syntax" in (reason_not_denoised(ds) or "")


@pytest.mark.parametrize(
    "name", ["1", "1.1", "1.1.1", "1.2", "2", "2.1", "4", "4.1", "6.1", "7", "12.1", "20", "128"]
)
def test_no_image_class_is_mistaken_for_another_object(grey_image: Callable[..., Dataset], name: str) -> None:
    ds = grey_image(np.zeros((4, 4), np.uint16), SOPClassUID=f"1.2.840.10008.5.1.4.1.1.{name}")
    assert reason_not_denoised(ds) is None


def test_our_own_result_is_recognised(
    grey_image: Callable[..., Dataset], derive_now: Callable[..., Dataset]
) -> None:
    cells = np.zeros((4, 4), np.uint16)
    source = grey_image(cells)
    derived = derive_now(source, cells[np.newaxis])
    assert reason_not_denoised(source) is None
    assert "our own" in (reason_not_denoised(derived) or "")
