"""Folders in, denoised folders out."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pydicom.data import get_testdata_file

from dae_pacs.errors import TrainingError
from dae_pacs.image import files
from dae_pacs.image.own import is_own
from dae_pacs.learn.data import Data
from dae_pacs.learn.export import Facts, export_bundle
from dae_pacs.learn.inference import denoise_folder, pass_folder_through
from dae_pacs.learn.network import make_network

SMALL = {"channels": [8, 16], "strides": [2], "residual_units": 1, "features": 8}


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    facts = Facts("small_denoising", "0.1.0", "Untrained.", Data((), (), ()), tmp_path / "none.jsonl", {})
    return export_bundle(make_network(SMALL), tmp_path / "small_denoising", architecture=SMALL, facts=facts)


def test_each_image_comes_back_under_its_name_and_format(images: Path, bundle: Path, tmp_path: Path) -> None:
    assert denoise_folder(bundle, folder=images, output=tmp_path / "out", device="cpu") == 4
    for name in ("a.png", "b.jpg", "c.tiff", "deeper/d.png"):
        with Image.open(images / name) as before, Image.open(tmp_path / "out" / name) as after:
            assert (before.format, before.mode, before.size) == (after.format, after.mode, after.size)


def test_dicom_becomes_a_derived_object(bundle: Path, tmp_path: Path) -> None:
    source = Path(str(get_testdata_file("CT_small.dcm")))
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "1").write_bytes(source.read_bytes())
    assert denoise_folder(bundle, folder=tmp_path / "in", output=tmp_path / "out", device="cpu") == 1
    before, after = files.read(source), files.read(tmp_path / "out" / "1")
    assert is_own(after)
    assert before.StudyInstanceUID == after.StudyInstanceUID
    assert before.SOPInstanceUID != after.SOPInstanceUID


def test_strength_zero_gives_the_pixels_back(images: Path, bundle: Path, tmp_path: Path) -> None:
    denoise_folder(bundle, folder=images, output=tmp_path / "out", device="cpu", strength=0)
    np.testing.assert_array_equal(Image.open(images / "a.png"), Image.open(tmp_path / "out" / "a.png"))


def test_what_can_not_be_denoised_is_named_and_passed_over(
    images: Path, bundle: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (images / "notes.txt").write_text("no image")
    with caplog.at_level("INFO", logger="dae_pacs.learn"):
        assert denoise_folder(bundle, folder=images, output=tmp_path / "out", device="cpu") == 4
    assert "notes.txt" in caplog.text
    assert "1 passed over" in caplog.text


def test_an_empty_folder_is_refused_in_words(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(TrainingError, match="no image could be denoised; it is empty"):
        denoise_folder(bundle, folder=tmp_path / "empty", output=tmp_path / "out", device="cpu")


def test_a_network_that_copies_gives_the_pixels_back(images: Path, tmp_path: Path) -> None:
    assert pass_folder_through(torch.nn.Identity(), folder=images, output=tmp_path / "out") == 4
    np.testing.assert_array_equal(Image.open(images / "c.tiff"), Image.open(tmp_path / "out" / "c.tiff"))
