import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from dae_pacs.denoise.bundle import load_bundle, write_manifest
from dae_pacs.denoise.engine import TorchDenoiser
from dae_pacs.denoise.network import build

sys.path.insert(0, str(Path(__file__).parent))  # for this folder's own module

from intruder import OPENED, watch

NETWORK = {
    "_target_": "dae_pacs.denoise.network.DenoisingUNet",
    "channels": [8, 16],
    "strides": [2],
    "residual_units": 1,
    "features": 8,
    "bands_px": [3, 5],
}
METADATA = {"version": "1.2.3", "dae_pacs": {"default_strength": 0.7, "clamp_sigma": 3.0}}


@pytest.fixture(autouse=True)
def _few_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def bundle_folder(tmp_path: Path) -> Path:
    """A whole bundle with a small network that was never trained."""
    folder = tmp_path / "chest_radiograph_denoising"
    for name in ("configs", "models", "docs"):
        (folder / name).mkdir(parents=True)
    torch.manual_seed(1)
    weights = {name: value.contiguous() for name, value in build(NETWORK).state_dict().items()}
    safetensors.torch.save_file(weights, folder / "models" / "model.safetensors")
    (folder / "configs" / "network.json").write_text(json.dumps(NETWORK))
    (folder / "configs" / "metadata.json").write_text(json.dumps(METADATA))
    (folder / "docs" / "README.md").write_text("# A model card\n")
    (folder / "LICENSE").write_text("Apache-2.0\n")
    write_manifest(folder)
    return folder


@pytest.fixture
def denoiser(bundle_folder: Path) -> TorchDenoiser:
    return TorchDenoiser(load_bundle(bundle_folder), device=torch.device("cpu"))


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(5)


@pytest.fixture(scope="session")
def _watched() -> None:
    watch()


@pytest.fixture
def canary(tmp_path: Path, _watched: None) -> Iterator[Path]:
    """A file that is there once code of a bundle has run, or a name has led outside.

    Nor may anything beside it be opened, or any program be run.
    """
    path = tmp_path / "outside" / "canary"
    path.parent.mkdir()
    (path.parent / "secret").write_text('{"format": 1, "files": {}}')
    before = sorted(path.parent.iterdir())
    OPENED.clear()
    yield path
    seen = [line for line in OPENED if not line.startswith("open") or "outside" in line]
    assert seen == []
    assert sorted(path.parent.iterdir()) == before


@pytest.fixture
def site(tmp_path: Path) -> Path:
    return tmp_path / "site"
