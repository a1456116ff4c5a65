"""What a bundle's inference.yaml names: the same pipeline, from MONAI's command line."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pydicom.data import get_testdata_file

from dae_pacs.cli.denoise import denoise_folder
from dae_pacs.image import files
from dae_pacs.image.own import is_own
from dae_pacs.learn.data import Data
from dae_pacs.learn.export import Facts, export_bundle
from dae_pacs.learn.network import make_network

SMALL = {"channels": [8, 16], "strides": [2], "residual_units": 1, "features": 8}


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    facts = Facts("small_denoising", "0.1.0", "Untrained.", Data((), (), ()), tmp_path / "none.jsonl", {})
    return export_bundle(make_network(SMALL), tmp_path / "small_denoising", architecture=SMALL, facts=facts)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    cells = np.random.default_rng(0).integers(0, 255, (40, 48), dtype=np.uint8)
    Image.fromarray(cells).save(folder / "a.png")
    (folder / "1").write_bytes(Path(str(get_testdata_file("CT_small.dcm", download=False))).read_bytes())
    return folder


def test_pictures_and_objects_come_back_under_their_names(bundle, images, tmp_path):
    assert denoise_folder(str(bundle), folder=str(images), output=str(tmp_path / "out"), device="cpu") == 0
    with Image.open(tmp_path / "out" / "a.png") as after:
        assert (after.format, after.mode, after.size) == ("PNG", "L", (48, 40))
    assert is_own(files.read(tmp_path / "out" / "1"))


def test_strength_zero_gives_the_pixels_back(bundle, images, tmp_path):
    output = str(tmp_path / "out")
    denoise_folder(str(bundle), folder=str(images), output=output, device="cpu", strength=0)
    np.testing.assert_array_equal(Image.open(images / "a.png"), Image.open(tmp_path / "out" / "a.png"))
