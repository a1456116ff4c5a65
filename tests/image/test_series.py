from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset

from dae_pacs.image import files
from dae_pacs.image.series import scan

CELLS = np.zeros((4, 4), np.uint16)


def test_slices_are_sorted_by_their_place_in_space(
    grey_image: Callable[..., Dataset], tmp_path: Path
) -> None:
    for index, place in enumerate([30, -10, 20, 0, 10]):
        ds = grey_image(
            CELLS,
            SOPInstanceUID=f"1.2.3.{index + 10}",
            InstanceNumber=index,
            ImagePositionPatient=[1, 2, place],
            ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
        )
        files.write(ds, tmp_path / f"{index}.dcm")
    found = scan([tmp_path])
    assert [path.name for path in found.series[0].paths] == ["1.dcm", "3.dcm", "4.dcm", "2.dcm", "0.dcm"]
    assert found.series[0].Modality == "CT"
    assert not found.passed_over
    assert not found.unreadable


def test_without_geometry_the_instance_number_sorts(
    grey_image: Callable[..., Dataset], tmp_path: Path
) -> None:
    for index, number in enumerate([10, 9, 2]):
        files.write(
            grey_image(CELLS, SOPInstanceUID=f"1.2.{index + 10}", InstanceNumber=number),
            tmp_path / f"{index}",
        )
    assert [path.name for path in scan([tmp_path]).series[0].paths] == ["2", "1", "0"]


def test_a_mixed_folder_is_told_apart_by_content(grey_image: Callable[..., Dataset], tmp_path: Path) -> None:
    inner = tmp_path / "deep" / "er"
    inner.mkdir(parents=True)
    files.write(grey_image(CELLS), inner / "image.txt")
    files.write(grey_image(CELLS, SeriesInstanceUID="1.9", SOPInstanceUID="1.9.1"), tmp_path / "other.jpg")
    files.write(grey_image(CELLS, SOPInstanceUID="1.2.3.1"), tmp_path / "again.dcm")
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "picture.dcm", format="PNG")
    (tmp_path / "notes.dcm").write_text("these are notes, not an image " * 10)
    (tmp_path / "report").write_bytes(Path(str(get_testdata_file("test-SR.dcm"))).read_bytes())
    found = scan([tmp_path, tmp_path / "other.jpg", tmp_path / "nowhere"])
    assert len(found.series) == 2
    assert [path.name for path in found.rasters] == ["picture.dcm"]
    broken = {path.name: reason for path, reason in found.unreadable}
    assert set(broken) == {"notes.dcm", "nowhere"}
    passed_over = {path.name: reason for path, reason in found.passed_over}
    assert set(passed_over) == {"report", "image.txt"}
    assert "no DICOM file" in broken["notes.dcm"]
    assert "structured report" in passed_over["report"]
    assert "same SOP Instance UID" in passed_over["image.txt"]


def test_an_empty_folder_is_named(tmp_path: Path) -> None:
    assert scan([tmp_path]).unreadable == ((tmp_path, "the folder holds no file"),)


def test_a_real_series_is_found_whole(shared_dicom: Path) -> None:
    found = scan([shared_dicom / "ct-ge-head"])
    assert sum(len(series.paths) for series in found.series) == 28
    assert not found.passed_over
    assert not found.unreadable
