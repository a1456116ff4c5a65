import shutil
import subprocess
from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
import pytest
from pydicom import pixels as pydicom_pixels
from pydicom import uid
from pydicom.data import get_testdata_file

from dae_pacs.errors import InputError, PixelError, UnsupportedImageError
from dae_pacs.image import codecs, files, pixels

LOSSLESS = ("J2KR", "JLSL", "JPLL", "RLE")


def encoded(cells: np.ndarray, syntax: str) -> bytes:
    writers = {
        uid.JPEG2000Lossless: lambda: imagecodecs.jpeg2k_encode(cells, level=0, codecformat="j2k"),
        uid.HTJ2KLossless: lambda: imagecodecs.htj2k_encode(cells),
        uid.JPEGLSLossless: lambda: imagecodecs.jpegls_encode(cells),
        uid.JPEGLossless: lambda: imagecodecs.ljpeg_encode(cells),
        uid.JPEGBaseline8Bit: lambda: imagecodecs.jpeg8_encode(cells, level=100),
    }
    return bytes(writers[syntax]())


@pytest.mark.parametrize(
    ("syntax", "dtype"),
    [
        (uid.JPEG2000Lossless, np.uint16),
        (uid.JPEG2000Lossless, np.uint8),
        (uid.HTJ2KLossless, np.uint16),
        (uid.JPEGLSLossless, np.uint16),
        (uid.JPEGLossless, np.uint16),
    ],
)
def test_lossless_frames_come_back_exactly(syntax: str, dtype: type) -> None:
    if syntax == uid.HTJ2KLossless and not imagecodecs.HTJ2K.available:
        pytest.skip("this imagecodecs has no HTJ2K encoder")
    top = np.iinfo(dtype).max
    cells = np.random.default_rng(1).integers(0, top, (37, 41), dtype=dtype, endpoint=True)
    frame = codecs.decode_frame(
        encoded(cells, syntax), syntax, shape=cells.shape, bytes_per_cell=cells.dtype.itemsize
    )
    assert np.array_equal(frame.cells, cells)
    assert frame.info is not None
    assert not frame.info.is_lossy


@pytest.mark.parametrize("syntax", [uid.JPEG2000Lossless, uid.JPEGLSLossless, uid.JPEGLossless])
def test_a_stream_broken_anywhere_ends_in_words(syntax: str) -> None:
    cells = np.random.default_rng(2).integers(0, 4096, (32, 32), dtype=np.uint16)
    data = encoded(cells, syntax)
    for end in range(0, len(data) // 2, 29):
        with pytest.raises(PixelError, match=r"\w+ \w+"):
            codecs.decode_frame(data[:end], syntax, shape=(32, 32), bytes_per_cell=2)


@pytest.mark.parametrize("syntax", [uid.JPEGBaseline8Bit, uid.JPEGLSLossless])
@pytest.mark.parametrize("share", [0.5, 0.63, 0.9, 0.99])
def test_a_frame_without_its_end_is_refused_not_filled_with_grey(syntax: str, share: float) -> None:
    cells = np.random.default_rng(2).integers(0, 256, (64, 64), dtype=np.uint8)
    data = encoded(cells, syntax)
    with pytest.raises(PixelError, match="end marker"):
        codecs.decode_frame(data[: int(share * len(data))], syntax, shape=(64, 64), bytes_per_cell=1)
    # Fill bytes behind the end are nothing to complain of.
    codecs.decode_frame(data + b"\xff\0", syntax, shape=(64, 64), bytes_per_cell=1)


def test_a_stream_of_another_size_is_refused_before_decoding() -> None:
    data = encoded(np.zeros((32, 32), np.uint16), uid.JPEG2000Lossless)
    with pytest.raises(PixelError, match="32 x 32"):
        codecs.decode_frame(data, uid.JPEG2000Lossless, shape=(65535, 65535), bytes_per_cell=2)


def test_an_unknown_transfer_syntax_is_unsupported() -> None:
    with pytest.raises(UnsupportedImageError):
        codecs.decode_frame(b"x", "1.2.840.10008.1.2.4.100", shape=(1, 1), bytes_per_cell=1)


@pytest.mark.parametrize(
    "data", [b"", b"\x02\0\0\0", b"\x05\0\0\0" + b"\xff" * 60, b"\x02\0\0\0" + b"\x40\0\0\0" * 15]
)
def test_broken_rle_ends_in_words(data: bytes) -> None:
    with pytest.raises(PixelError):
        codecs.decode_frame(data, uid.RLELossless, shape=(8, 8), bytes_per_cell=2)


def test_wg04_samples_decode_to_their_uncompressed_originals(shared_dicom: Path, tmp_path: Path) -> None:
    compared = 0
    for packed in sorted((shared_dicom / "wg04" / "REF").glob("*.zst")):
        name = packed.name.split("_")[0]
        plain = tmp_path / name
        plain.write_bytes(imagecodecs.zstd_decode(packed.read_bytes()))
        try:
            truth = pixels.decode(files.read(plain)).stored
        except InputError:
            continue
        for kind in LOSSLESS:
            path = shared_dicom / "wg04" / kind / f"{name}_{kind}"
            if path.exists():
                assert np.array_equal(pixels.decode(files.read(path)).stored, truth), path.name
                compared += 1
    assert compared >= 30


def test_our_codecs_agree_with_pydicoms(all_dicom_files: list[Path]) -> None:
    """pylibjpeg-openjpeg for JPEG 2000, pylibjpeg-rle or pydicom itself for RLE."""
    syntaxes = {uid.JPEG2000, uid.JPEG2000Lossless, uid.RLELossless}
    compared = 0
    for path in all_dicom_files:
        if path.stat().st_size > 2_000_000:
            continue
        try:
            ds = files.read(path)
            if ds.file_meta.TransferSyntaxUID not in syntaxes:
                continue
            ours = pixels.decode(ds).stored
        except InputError:
            continue
        plugin = "pydicom" if ds.file_meta.TransferSyntaxUID == uid.RLELossless else "pylibjpeg"
        try:
            theirs = pydicom_pixels.pixel_array(pydicom.dcmread(path), decoding_plugin=plugin)
        except RuntimeError:
            continue
        assert np.array_equal(ours, theirs.reshape(ours.shape)), path.name
        compared += 1
    assert compared >= 3


def test_register_lends_our_codecs_to_pydicom_and_may_be_repeated() -> None:
    codecs.register()
    codecs.register()
    path = str(get_testdata_file("MR_small_jpeg_ls_lossless.dcm"))
    theirs = pydicom_pixels.pixel_array(path, decoding_plugin="dae-pacs")
    assert np.array_equal(theirs, pixels.decode(files.read(Path(path))).stored[0])


DOCUMENT = Path(__file__).parents[2] / "docs" / "codecs.md"


def test_the_document_names_the_decoder_of_every_transfer_syntax() -> None:
    rows = [line.split("|") for line in DOCUMENT.read_text().splitlines() if line.startswith("|")]
    table = {cells[2].strip(): cells[3].strip() for cells in rows if len(cells) == 7}
    decoders = {
        syntax: name.removeprefix("imagecodecs.")
        for syntax, name in table.items()
        if name.startswith("imagecodecs.")
    }
    assert decoders == dict(codecs.DECODERS)
    assert {syntax for syntax, name in table.items() if name.endswith("numpy")} == set(codecs.NATIVE)


@pytest.mark.parametrize(
    ("kind", "tool"),
    [("JPLY", "dcmdjpeg"), ("JPLL", "dcmdjpeg"), ("JLSL", "dcmdjpls"), ("JLSN", "dcmdjpls")],
)
def test_our_codecs_agree_with_dcmtks(shared_dicom: Path, tmp_path: Path, kind: str, tool: str) -> None:
    if shutil.which(tool) is None:
        pytest.skip("DCMTK is not installed")
    compared = 0
    for path in sorted((shared_dicom / "wg04" / kind).iterdir()):
        try:
            ours = pixels.decode(files.read(path)).stored
        except InputError:
            continue
        subprocess.run([tool, str(path), str(tmp_path / "plain")], check=True, capture_output=True)
        theirs = pixels.decode(files.read(tmp_path / "plain")).stored
        # Where a lossy coding overshot Bits Stored, we clip and DCMTK lets the bits wrap.
        is_wrapped = (ours == ours.max()) & (theirs < ours.max()) if kind == "JPLY" else np.False_
        assert np.array_equal(np.where(is_wrapped, ours, theirs), ours), path.name
        compared += 1
    assert compared >= 8
