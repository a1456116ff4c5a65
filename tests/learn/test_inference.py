"""Folders in, folders of what a network makes of them out."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dae_pacs.errors import TrainingError
from dae_pacs.learn.inference import pass_folder_through


def test_what_can_not_be_read_is_named_and_passed_over(
    images: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (images / "notes.txt").write_text("no image")
    with caplog.at_level("INFO", logger="dae_pacs.learn"):
        assert pass_folder_through(torch.nn.Identity(), folder=images, output=tmp_path / "out") == 4
    assert "notes.txt" in caplog.text
    assert "1 passed over" in caplog.text


def test_an_empty_folder_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(TrainingError, match="no image could be denoised; it is empty"):
        pass_folder_through(torch.nn.Identity(), folder=tmp_path / "empty", output=tmp_path / "out")


def test_a_network_that_copies_gives_the_pixels_back(images: Path, tmp_path: Path) -> None:
    assert pass_folder_through(torch.nn.Identity(), folder=images, output=tmp_path / "out") == 4
    np.testing.assert_array_equal(Image.open(images / "c.tiff"), Image.open(tmp_path / "out" / "c.tiff"))
