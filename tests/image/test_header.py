from collections.abc import Callable
from pathlib import Path

import numpy as np
from pydicom.data import get_charset_files, get_testdata_file
from pydicom.dataset import Dataset

from dae_pacs.image import files
from dae_pacs.image.header import read_header, summarise


def test_summary_of_a_ct() -> None:
    with Path(str(get_testdata_file("CT_small.dcm"))).open("rb") as file:
        summary = summarise(read_header(file))
    assert summary.Modality == "CT"
    assert summary.PatientID == "1CT1"
    assert summary.SeriesNumber == 1
    assert summary.transfer_syntax_uid == "1.2.840.10008.1.2.1"
    assert summary.expected_count is None
    assert summary.reason is None
    assert not summary.is_own


def test_missing_elements_become_empty_texts() -> None:
    summary = summarise(Dataset())
    assert (summary.SOPInstanceUID, summary.PatientID, summary.SeriesDescription) == ("", "", "")
    assert summary.SeriesNumber is None
    assert summary.reason


def test_expected_count_prefers_what_the_archive_counts(grey_image: Callable[..., Dataset]) -> None:
    cells = np.zeros((4, 4), np.uint16)
    assert summarise(grey_image(cells, ImagesInAcquisition=28)).expected_count == 28
    both = grey_image(cells, ImagesInAcquisition=28, NumberOfSeriesRelatedInstances=30)
    assert summarise(both).expected_count == 30
    assert summarise(grey_image(cells, ImagesInAcquisition=0)).expected_count is None


def test_a_broken_number_counts_as_none(grey_image: Callable[..., Dataset], tmp_path: Path) -> None:
    path = tmp_path / "broken.dcm"
    files.write(grey_image(np.zeros((4, 4), np.uint16), SeriesNumber=7), path)
    path.write_bytes(path.read_bytes().replace(b" \x00\x11\x00IS\x02\x007 ", b" \x00\x11\x00IS\x02\x007x"))
    assert summarise(files.read(path)).SeriesNumber is None


def test_summarising_leaves_every_element_as_it_stands() -> None:
    for name in (*get_charset_files("*.dcm"), str(get_testdata_file("rtplan.dcm"))):
        ds = files.read(Path(name))
        before = {tag: ds.get_item(tag) for tag in ds.keys()}  # noqa: SIM118 (iterating converts elements)
        summarise(ds)
        assert all(ds.get_item(tag) is elem for tag, elem in before.items()), name


def test_texts_are_decoded_by_the_objects_character_set(
    grey_image: Callable[..., Dataset], tmp_path: Path
) -> None:
    ds = grey_image(np.zeros((4, 4), np.uint16))
    ds.SpecificCharacterSet, ds.SeriesDescription = "ISO_IR 192", "胸部 Größe"
    files.write(ds, tmp_path / "utf8.dcm")
    assert summarise(files.read(tmp_path / "utf8.dcm")).SeriesDescription == "胸部 Größe"
