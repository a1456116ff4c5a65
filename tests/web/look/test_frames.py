import subprocess
import sys
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file

from dae_pacs.demo.phantoms import Study, ct_series
from dae_pacs.errors import InputError, PixelError
from dae_pacs.image import files, packet
from dae_pacs.image.pixels import decode
from dae_pacs.web.look.frames import OpenImages, frame_body

SIGNED, MULTI_FRAME = "CT_small.dcm", "emri_small.dcm"
KINDS = [
    SIGNED,
    MULTI_FRAME,
    "emri_small_big_endian.dcm",
    "emri_small_RLE.dcm",
    "emri_small_jpeg_ls_lossless.dcm",
    "emri_small_jpeg_2k_lossless.dcm",
    "eCT_Supplemental.dcm",
    "J2K_pixelrep_mismatch.dcm",
    "JPEG-lossy.dcm",
    "JPEGLSNearLossless_08.dcm",
    "MR_small_bigendian.dcm",
    "MR_small_padded.dcm",
    "mlut_18.dcm",
    "RG3_UNCR.dcm",
    "rtdose.dcm",
    "693_UNCR.dcm",
]


def _path(name: str) -> Path:
    found = get_testdata_file(name)
    assert isinstance(found, str)
    return Path(found)


@pytest.mark.parametrize("name", KINDS)
def test_values_in_the_browser_are_those_that_training_sees(name: str) -> None:
    path = _path(name)
    decoded = decode(files.open_object(path))
    image = OpenImages().get(path, name)
    for frame in {0, image.layout.frames - 1}:
        meaning, stored = packet.unpack(frame_body(image, frame))
        if meaning["modality_table"] is None:
            values = (stored.astype(np.float64) * meaning["slope"] + meaning["intercept"]).astype(np.float32)
        else:
            table = meaning["modality_table"]
            places = np.clip(stored.astype(int) - table["first"], 0, len(table["entries"]) - 1)
            values = np.array(table["entries"], dtype=np.float32)[places]
        expected = decoded.values[frame]
        assert (meaning["rows"], meaning["columns"]) == expected.shape
        assert np.array_equal(values.reshape(expected.shape), expected)
        assert meaning["unit"] == decoded.unit


def test_float_and_64_bit_pixels_come_as_numbers_of_javascript(tmp_path: Path) -> None:
    (ds, *_) = ct_series(Study(), slices=1, size=32)
    values = np.linspace(-1, 1, 32 * 32, dtype=np.float32).reshape(32, 32)
    del ds.PixelData
    ds.FloatPixelData = values.tobytes()
    ds.BitsAllocated = ds.BitsStored = 32
    ds.save_as(tmp_path / "float.dcm", enforce_file_format=True)
    meaning, stored = packet.unpack(frame_body(OpenImages().get(tmp_path / "float.dcm", "f"), 0))
    assert meaning["type"] == "f4"
    assert meaning["lowest"] is None
    assert np.array_equal(stored, values.ravel())


def test_a_frame_that_is_not_there_is_refused_in_words() -> None:
    image = OpenImages().get(_path(MULTI_FRAME), "1")
    for frame in (-1, 10):
        with pytest.raises(PixelError, match="has 10 frames"):
            frame_body(image, frame)


def test_pixels_that_do_not_decode_are_refused_in_words(tmp_path: Path) -> None:
    ds = pydicom.dcmread(_path("JPEG2000.dcm"))
    ds["PixelData"].value = pydicom.encaps.encapsulate([b"\xff\x4f\xff\x51" + b"\0" * 500])
    ds.save_as(tmp_path / "broken.dcm")
    with pytest.raises(InputError):
        frame_body(OpenImages().get(tmp_path / "broken.dcm", "1"), 0)


def test_no_words_name_a_file_of_the_spool(tmp_path: Path) -> None:
    path = tmp_path / "no.dcm"
    path.write_bytes(b"no image")
    for gone in (path, tmp_path / "never.dcm"):
        with pytest.raises(InputError) as caught:
            OpenImages().get(gone, "1")
        assert str(tmp_path) not in str(caught.value)


def test_a_header_is_parsed_once_and_only_the_last_few_are_kept() -> None:
    held = OpenImages(most=2)
    first = held.get(_path(SIGNED), "1")
    assert held.get(_path(SIGNED), "1") is first
    held.get(_path(MULTI_FRAME), "2")
    held.get(_path("MR_small.dcm"), "3")
    assert held.get(_path(SIGNED), "1") is not first


def test_one_frame_of_three_gigabytes_takes_the_memory_of_one_frame(tmp_path: Path) -> None:
    path = tmp_path / "long.dcm"
    _write_long(path, frames=6000)
    assert path.stat().st_size > 3_000_000_000
    program = (
        "import resource, sys; from pathlib import Path;"
        "from dae_pacs.web.look.frames import OpenImages, frame_body;"
        "from dae_pacs.image import packet;"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss;"
        f"body = frame_body(OpenImages().get(Path({str(path)!r}), 'x'), 4321);"
        "assert packet.unpack(body)[0]['frames'] == 6000;"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    told = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert int(told.stdout) < 50_000  # KiB; the object has 3 million


def _write_long(path: Path, *, frames: int) -> None:
    """Write an object of which only the header takes room on the disk."""
    (ds, *_) = ct_series(Study(), slices=1, size=512)
    ds.NumberOfFrames = frames
    ds.PixelData = b""
    ds.save_as(path, enforce_file_format=True)
    size = 512 * 512 * 2 * frames
    with path.open("r+b") as file:
        file.seek(-12, 2)
        assert file.read() == b"\xe0\x7f\x10\x00OW\0\0\0\0\0\0"
        file.seek(-4, 2)
        file.write(size.to_bytes(4, "little"))
        file.truncate(file.tell() + size)
