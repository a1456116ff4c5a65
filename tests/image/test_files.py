import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from dae_pacs.errors import NotDicomError
from dae_pacs.image import files


def test_a_written_file_is_a_part_10_file_for_others(
    grey_image: Callable[..., Dataset], tmp_path: Path
) -> None:
    cells = np.arange(35, dtype=np.uint8).reshape(5, 7)
    files.write(grey_image(cells), tmp_path / "x.dcm")
    ds = pydicom.dcmread(tmp_path / "x.dcm")
    assert ds.file_meta.ImplementationVersionName == "DAE_PACS"
    assert np.array_equal(ds.pixel_array, cells)
    assert [path.name for path in tmp_path.iterdir()] == ["x.dcm"]


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
