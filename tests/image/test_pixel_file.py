"""Objects written a run of frames at a time: the same bytes, read by others, in bounded memory."""

import shutil
import subprocess
import tracemalloc
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom import pixels as pydicom_pixels
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset

from dae_pacs.errors import InputError, PixelError
from dae_pacs.image import codecs, files, layout, pixel_file, pixels
from dae_pacs.image.derive import Derivation, derive_header
from dae_pacs.image.support import reason_not_denoised

NAMES = ["jpeg2000", "jpegls", "rle"]
MakeImage = Callable[..., Dataset]


@pytest.fixture
def write_derived(derivation: Derivation) -> Callable[..., Dataset]:
    """Derive an object with unchanged pixels the way the pipeline does: a run at a time."""

    def make(source: Dataset, path: Path, compression: str = "uncompressed") -> Dataset:
        image = pixels.open_image(source)
        header = derive_header(
            source,
            derivation=derivation,
            content_digest="c" * 64,
            series_number=1002,
            now=datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC),
            compression=compression,
        )
        with pixel_file.pixel_file(path, header, with_extremes=True) as add:
            for first, stop in image.layout.runs():
                decoded = pixels.decode_run(image, first, stop)
                add(pixels.encode(decoded.values, decoded))
        return header

    return make


@pytest.fixture
def short_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "RUN_PIXELS", 200)


def multiframe(grey_image: MakeImage, dtype: str = "u2", frames: int = 7, **elements: Any) -> Dataset:
    bits = 8 * np.dtype(dtype).itemsize
    stored = elements.get("BitsStored", bits)
    low, high = (0, 1 << stored) if dtype[0] == "u" else (-(1 << (stored - 1)), 1 << (stored - 1))
    cells = np.random.default_rng(3).integers(low, high, (frames, 9, 11)).astype(dtype)
    defaults = {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7.3", "HighBit": stored - 1}
    return grey_image(cells, **(defaults | elements))


@pytest.mark.usefixtures("short_runs")
def test_runs_write_the_bytes_that_one_piece_does(
    all_dicom_files: list[Path],
    derive_now: Callable[..., Dataset],
    write_derived: Callable[..., Dataset],
    tmp_path: Path,
) -> None:
    compared = 0
    for path in all_dicom_files:
        if path.stat().st_size > 100_000:
            continue
        try:
            whole = files.read(path)
            if reason_not_denoised(whole):
                continue
            files.write(derive_now(whole, pixels.decode(whole).stored), tmp_path / "whole")
        except InputError:
            continue
        write_derived(files.open_object(path), tmp_path / "runs")
        assert (tmp_path / "runs").read_bytes() == (tmp_path / "whole").read_bytes(), path
        compared += 1
    assert compared >= 20


@pytest.mark.usefixtures("short_runs")
@pytest.mark.parametrize("syntax", ["u1", "u2", "i2"])
def test_extremes_are_those_of_all_frames(
    grey_image: MakeImage, write_derived: Callable[..., Dataset], tmp_path: Path, syntax: str
) -> None:
    source = multiframe(grey_image, syntax)
    for keyword in ("SmallestImagePixelValue", "LargestImagePixelValue"):
        source.add_new(keyword, "SS" if syntax == "i2" else "US", 1)
    write_derived(source, tmp_path / "x")
    ds = pydicom.dcmread(tmp_path / "x")
    assert ds.SmallestImagePixelValue == ds.pixel_array.min()
    assert ds.LargestImagePixelValue == ds.pixel_array.max()


@pytest.fixture(params=[False, True], ids=["basic table", "extended table"])
def is_extended(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    if request.param:
        monkeypatch.setattr(pixel_file, "LARGEST_OFFSET", 1000)
    return bool(request.param)


def read_by_pydicom(path: Path) -> Any:
    codecs.register()  # pydicom has no JPEG-LS of its own here
    return pydicom_pixels.pixel_array(path)


@pytest.mark.parametrize("compression", NAMES)
@pytest.mark.parametrize(
    "stored_type",
    [("u1", 6), ("u1", 8), ("u2", 7), ("u2", 12), ("u2", 16), ("i2", 7), ("i2", 12), ("i2", 16)],
    ids=lambda kind: f"{kind[0]} {kind[1]} bits",
)
def test_compressed_frames_are_read_by_pydicom(
    grey_image: MakeImage,
    write_derived: Callable[..., Dataset],
    tmp_path: Path,
    is_extended: bool,
    compression: str,
    stored_type: tuple[str, int],
) -> None:
    dtype, bits_stored = stored_type
    source = multiframe(grey_image, dtype, BitsStored=bits_stored)
    truth = pixels.decode(source).stored
    write_derived(source, tmp_path / "x", compression)
    ds = pydicom.dcmread(tmp_path / "x")
    assert ("ExtendedOffsetTable" in ds) == is_extended
    assert ds["PixelData"].VR == "OB"
    assert ds["PixelData"].is_undefined_length
    assert np.array_equal(read_by_pydicom(tmp_path / "x"), truth)
    assert np.array_equal(pixels.decode(files.open_object(tmp_path / "x")).stored, truth)
    # Frame by frame, through the table alone.
    last = pydicom_pixels.pixel_array(tmp_path / "x", index=len(truth) - 1)
    assert np.array_equal(last, truth[-1])
    assert "LossyImageCompression" not in ds


@pytest.mark.parametrize(
    ("dtype", "bits_stored"), [("u4", 12), ("i4", 12), ("u4", 24), ("i4", 20), ("u4", 32)]
)
def test_wide_cells_are_read_by_pydicom(
    grey_image: MakeImage, write_derived: Callable[..., Dataset], tmp_path: Path, dtype: str, bits_stored: int
) -> None:
    source = multiframe(grey_image, dtype, BitsStored=bits_stored)
    for compression in ("jpeg2000", "rle"):
        write_derived(source, tmp_path / "x", compression)
        assert np.array_equal(read_by_pydicom(tmp_path / "x"), pixels.decode(source).stored)


DCMTK = {"jpegls": "dcmdjpls", "rle": "dcmdrle"}


@pytest.mark.parametrize("compression", ["jpegls", "rle"])
@pytest.mark.parametrize(
    ("dtype", "bits_stored"), [("u1", 8), ("u2", 12), ("u2", 16), ("i2", 12), ("i2", 16)]
)
def test_compressed_frames_are_read_by_dcmtk(
    grey_image: MakeImage,
    write_derived: Callable[..., Dataset],
    tmp_path: Path,
    compression: str,
    dtype: str,
    bits_stored: int,
) -> None:
    if shutil.which(DCMTK[compression]) is None:
        pytest.skip("DCMTK is not installed")
    source = multiframe(grey_image, dtype, BitsStored=bits_stored)
    truth = pixels.decode(source).stored
    write_derived(source, tmp_path / "x", compression)
    command = [DCMTK[compression], str(tmp_path / "x"), str(tmp_path / "plain")]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")
    assert np.array_equal(pydicom.dcmread(tmp_path / "plain").pixel_array, truth)


def test_dcmdump_reads_every_compressed_file(
    grey_image: MakeImage, write_derived: Callable[..., Dataset], tmp_path: Path
) -> None:
    if shutil.which("dcmdump") is None:
        pytest.skip("DCMTK is not installed")
    for compression in NAMES:
        write_derived(multiframe(grey_image), tmp_path / "x", compression)
        command = ["dcmdump", "-q", str(tmp_path / "x")]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (result.returncode, result.stderr) == (0, "")
        assert result.stdout.count("pi ") >= 8  # the table and seven frames


@pytest.mark.parametrize("compression", NAMES)
def test_a_plain_copy_of_a_compressed_object_is_the_uncompressed_object(
    grey_image: MakeImage, write_derived: Callable[..., Dataset], tmp_path: Path, compression: str
) -> None:
    for dtype in ("u1", "u2", "i2"):
        source = multiframe(grey_image, dtype)
        write_derived(source, tmp_path / "compressed", compression)
        source["PixelData"].VR = "OB" if dtype == "u1" else "OW"
        write_derived(source, tmp_path / "plain")
        files.plain_copy(tmp_path / "compressed", tmp_path / "copy")
        assert (tmp_path / "copy").read_bytes() == (tmp_path / "plain").read_bytes(), dtype


@pytest.mark.parametrize(
    "name", ["MR_small_bigendian.dcm", "MR_small_RLE.dcm", "JPEG2000.dcm", "image_dfl.dcm", "rtdose.dcm"]
)
def test_a_plain_copy_keeps_every_cell_of_any_source(tmp_path: Path, name: str) -> None:
    path = Path(str(get_testdata_file(name)))
    files.plain_copy(path, tmp_path / "copy")
    before, after = pixels.decode(files.read(path)), pixels.decode(files.read(tmp_path / "copy"))
    assert np.array_equal(before.stored, after.stored)
    ds = pydicom.dcmread(tmp_path / "copy")
    assert ds.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1"
    assert ds.SOPInstanceUID == pydicom.dcmread(path).SOPInstanceUID


def test_an_object_whose_frames_stop_short_leaves_nothing(
    grey_image: MakeImage, derivation: Derivation, tmp_path: Path
) -> None:
    source = multiframe(grey_image)
    header = derive_header(
        source,
        derivation=derivation,
        content_digest="c",
        series_number=1,
        now=datetime(2026, 1, 1, tzinfo=UTC),
    )
    stored = pixels.decode(source).stored
    for wrong in (stored[:6], stored[:, :4], stored.astype(np.int64), np.concatenate([stored, stored])):
        with (
            pytest.raises(PixelError, match="frames"),
            pixel_file.pixel_file(tmp_path / "x", header, with_extremes=True) as add,
        ):
            add(wrong)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def traced() -> Iterator[None]:
    tracemalloc.start()
    yield
    tracemalloc.stop()


@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize("compression", ["uncompressed", "rle"])
def test_memory_does_not_grow_with_the_number_of_frames(
    grey_image: MakeImage,
    write_derived: Callable[..., Dataset],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    compression: str,
) -> None:
    monkeypatch.setattr(layout, "RUN_PIXELS", 128 * 128)
    peaks = []
    for frames in (20, 200):
        cells = np.random.default_rng(0).integers(0, 4096, (1, 128, 128), dtype=np.uint16)
        path, packed = tmp_path / f"{frames}.dcm", tmp_path / f"{frames}-packed.dcm"
        files.write(grey_image(np.repeat(cells, frames, axis=0)), path)
        write_derived(files.open_object(path), packed, compression)
        tracemalloc.reset_peak()
        before, _ = tracemalloc.get_traced_memory()
        write_derived(files.open_object(packed), tmp_path / "again.dcm", compression)
        files.plain_copy(packed, tmp_path / "plain.dcm")
        peaks.append(tracemalloc.get_traced_memory()[1] - before)
    frame_bytes = 2 * 128 * 128
    assert peaks[1] - peaks[0] < 5 * frame_bytes, peaks
    assert peaks[1] < 40 * frame_bytes, peaks
