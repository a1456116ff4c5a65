import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset

from dae_pacs.errors import NotDicomError, UnsupportedImageError
from dae_pacs.identity import IMPLEMENTATION_VERSION_NAME
from dae_pacs.image import files, pixels


def test_a_written_file_is_a_part_10_file_for_others(
    grey_image: Callable[..., Dataset], tmp_path: Path
) -> None:
    cells = np.arange(35, dtype=np.uint8).reshape(5, 7)
    files.write(grey_image(cells), tmp_path / "x.dcm")
    ds = pydicom.dcmread(tmp_path / "x.dcm")
    assert ds.file_meta.ImplementationVersionName == IMPLEMENTATION_VERSION_NAME
    assert np.array_equal(ds.pixel_array, cells)
    assert [path.name for path in tmp_path.iterdir()] == ["x.dcm"]


def test_a_compressed_object_is_written_as_it_is(tmp_path: Path) -> None:
    source = files.read(Path(str(get_testdata_file("MR_small_jp2klossless.dcm"))))
    files.write(source, tmp_path / "x.dcm")
    again = files.read(tmp_path / "x.dcm")
    assert again.file_meta.TransferSyntaxUID == source.file_meta.TransferSyntaxUID
    assert np.array_equal(pixels.decode(again).stored, pixels.decode(source).stored)


def test_an_implicit_object_is_written_explicitly(tmp_path: Path) -> None:
    for source in (files.read, pydicom.dcmread):
        files.write(source(Path(str(get_testdata_file("MR_small_implicit.dcm")))), tmp_path / "x.dcm")
        again, explicit = (
            pydicom.dcmread(tmp_path / "x.dcm"),
            pydicom.dcmread(get_testdata_file("MR_small.dcm")),
        )
        assert again.get("LargestImagePixelValue") == explicit.get("LargestImagePixelValue")
        assert again.PatientName == explicit.PatientName
        assert again.PixelData == explicit.PixelData


def test_a_big_endian_object_is_not_written_wrongly(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedImageError, match="big endian"):
        files.write(files.read(Path(str(get_testdata_file("MR_small_bigendian.dcm")))), tmp_path / "x.dcm")


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(NotDicomError, match="nowhere"):
        files.read(tmp_path / "nowhere.dcm")
    with pytest.raises(NotDicomError, match="can't be read"):
        files.read(tmp_path)
    with pytest.raises(NotDicomError, match="nowhere"):
        files.file_digest(tmp_path / "nowhere.dcm")


def test_the_digest_is_of_the_files_bytes(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc" * 1_000_000)
    assert files.file_digest(tmp_path / "x") == hashlib.sha256(b"abc" * 1_000_000).hexdigest()
