"""The models that are shipped: whole, small, better than doing nothing, harmless where there is no noise."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from dae_pacs.denoise.bundle import load_bundle
from dae_pacs.denoise.engine import open_denoiser
from dae_pacs.learn.pairs import Noise

ROOT = Path(__file__).resolve().parents[2]
BUNDLES = [ROOT / "models" / "xray_radiograph_denoising", ROOT / "models" / "ct_volume_denoising"]
MOST_BYTES = 16_000_000


@pytest.fixture(scope="module", params=BUNDLES, ids=lambda folder: folder.name)
def bundle(request) -> Path:
    return request.param


@pytest.fixture(scope="module")
def denoiser(bundle: Path):
    torch.set_num_threads(1)
    return open_denoiser(bundle, device="cpu")


def phantom() -> NDArray[np.float32]:
    """Draw a smooth body with discs, bars and a ramp; (320, 320) float32, 0..1, free of noise."""
    y, x = np.mgrid[:320, :320] / 320
    plane = 0.3 + 0.4 * np.exp(-8 * ((x - 0.5) ** 2 + (y - 0.5) ** 2)) + 0.1 * x
    rng = np.random.default_rng(4)
    for _ in range(12):
        column, row, radius = rng.uniform(0.1, 0.9), rng.uniform(0.1, 0.9), rng.uniform(0.01, 0.08)
        edge = (np.hypot(x - column, y - row) - radius) * 320
        plane += rng.uniform(-0.15, 0.15) * (1 - np.tanh(edge)) / 2
    return plane.astype(np.float32)


def error(plane: NDArray[np.float32]) -> float:
    return float(np.sqrt(np.mean((plane - phantom()) ** 2)))


def test_no_other_is_shipped() -> None:
    assert sorted(BUNDLES) == sorted(path for path in (ROOT / "models").iterdir() if path.is_dir())


def test_it_is_whole_and_small(bundle: Path) -> None:
    assert load_bundle(bundle).identity.name == bundle.name
    assert sum(path.stat().st_size for path in bundle.rglob("*") if path.is_file()) < MOST_BYTES
    for name in ("LICENSE", "docs/README.md", "configs/inference.yaml", "configs/train.yaml"):
        assert (bundle / name).is_file(), name


@pytest.mark.parametrize("blur_px", [0.0, 0.8])
@pytest.mark.parametrize("level", [0.02, 0.08])
def test_it_is_clearly_better_than_doing_nothing(denoiser, level: float, blur_px: float) -> None:
    noise = Noise(level=level, signal_share=0.8, blur_px=blur_px)
    noisy = noise.added_to(phantom(), np.random.default_rng(7))
    keep = np.zeros(noisy.shape, dtype=bool)
    estimate = denoiser.calibrate([noisy], [keep])
    after = denoiser.denoise(noisy[None], keep[None], noise=estimate, strength=1.0)[0]
    assert error(after) < error(noisy) / 1.4  # 3 dB


def test_clean_input_comes_back_nearly_as_it_was(denoiser) -> None:
    model = Noise(level=0.01, signal_share=0.8, blur_px=0.0).model()
    keep = np.zeros(phantom().shape, dtype=bool)
    after = denoiser.denoise(phantom()[None], keep[None], noise=model, strength=1.0)[0]
    change = (after - phantom()) / model.sigma_at(phantom())
    assert np.sqrt(np.mean(change**2)) < 0.3


@pytest.mark.slow
def test_its_own_configuration_denoises_a_folder(
    run_recipe, bundle: Path, noisy_images: Path, tmp_path: Path
) -> None:
    run = run_recipe(
        "configs/inference.yaml", cwd=bundle, data_dir=noisy_images, output_dir=tmp_path / "out", device="cpu"
    )
    assert run.returncode == 0, run.stderr[-2000:]
    for source in noisy_images.iterdir():
        with Image.open(source) as before, Image.open(tmp_path / "out" / source.name) as after:
            assert (before.format, before.size) == (after.format, after.size)
            assert np.asarray(after).std() < np.asarray(before).std()
