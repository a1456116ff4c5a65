"""The recipes are run as a user runs them: a process of its own, from the repository's root."""

import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
NOISE_SIGMA = 8.0
TINY: dict[str, object] = {
    "architecture": "{'channels': [8, 16], 'strides': [2], 'residual_units': 1, 'features': 8}",
    "patch_px": 32,
    "validation_px": 64,
    "steps": 240,
    "steps_per_epoch": 120,
    "learning_rate": 0.01,
}
"""Settings under which a recipe takes some ten seconds."""

Finished = subprocess.CompletedProcess[str]
RunRecipe = Callable[..., Finished]


def command(config: str, overrides: dict[str, object], *, processes: int = 1) -> list[str]:
    """Write MONAI's command line; under torchrun for more than one process."""
    start = ["-m", "monai.bundle"]
    if processes > 1:
        start = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}", *start]
    options = [text for name, value in overrides.items() for text in (f"--{name}", str(value))]
    return [sys.executable, *start, "run", "--config_file", config, *options]


def environment() -> dict[str, str]:
    """One thread for each process: the machine is shared."""
    return os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="session")
def run_recipe() -> RunRecipe:
    """Run a configuration: `run_recipe("configs/inference.yaml", data_dir=..., steps=4)`.

    Under `most_file_bytes` any larger file fails to be written, as on a full disk.
    """

    def run(
        config: str,
        *,
        cwd: Path = ROOT,
        most_file_bytes: int | None = None,
        processes: int = 1,
        **overrides: object,
    ) -> Finished:
        return subprocess.run(
            command(config, overrides, processes=processes),
            cwd=cwd,
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=240,
            preexec_fn=(lambda: _limit_files(most_file_bytes)) if most_file_bytes else None,
        )

    return run


def _limit_files(most_bytes: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))


@pytest.fixture(scope="session")
def train(run_recipe: RunRecipe, all_images: Path) -> RunRecipe:
    """Run recipes of ours on top of common.yaml, made tiny: `train("recorrupt", output_dir=...)`."""

    def run(*names: str, **overrides: object) -> Finished:
        return run_recipe(_recipes(*names), **{"data_dir": all_images / "noisy", **TINY, **overrides})

    return run


@pytest.fixture(scope="session")
def tiny_command(all_images: Path) -> Callable[..., tuple[list[str], dict[str, str], Path]]:
    """Give what `train` would start, for a test that does so itself: arguments, environment, folder."""

    def make(*names: str, **overrides: object) -> tuple[list[str], dict[str, str], Path]:
        settings = {"data_dir": all_images / "noisy", **TINY, **overrides}
        return command(_recipes(*names), settings), environment(), ROOT

    return make


def _recipes(*names: str) -> str:
    return repr([f"training/recipes/{name}.yaml" for name in ("common", *names)])


def clean_plane(seed: int) -> NDArray[np.float64]:
    """Draw waves and discs; (128, 160)."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:128, :160]
    plane = 110 + 30 * np.sin(x / 30 + seed)
    for _ in range(6):
        row, column, radius = rng.uniform(0, 128), rng.uniform(0, 160), rng.uniform(6, 25)
        plane += rng.uniform(-25, 25) * ((y - row) ** 2 + (x - column) ** 2 < radius**2)
    return plane


@pytest.fixture(scope="session")
def all_images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder `noisy` of six PNG images under the same noise, and `clean`, what is under it."""
    root = tmp_path_factory.mktemp("images")
    for name in ("noisy", "clean"):
        (root / name).mkdir()
    for seed in range(6):
        plane = clean_plane(seed)
        noisy = plane + np.random.default_rng(100 + seed).normal(0, NOISE_SIGMA, plane.shape)
        for name, values in (("noisy", noisy), ("clean", plane)):
            pixels = np.clip(values.round(), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(root / name / f"{seed}.png")
    return root


@pytest.fixture
def noisy_images(all_images: Path) -> Path:
    """Six noisy PNG images."""
    return all_images / "noisy"


@pytest.fixture
def gain_db(all_images: Path) -> Callable[[Path], float]:
    """Tell how much nearer to the truth a folder's images are than the noisy ones, in dB of PSNR."""

    def gain(folder: Path) -> float:
        gains = []
        for path in folder.glob("?.png"):
            truth = _plane(all_images / "clean" / path.name)
            noisy = _plane(all_images / "noisy" / path.name)
            before, after = (np.mean((plane - truth) ** 2) for plane in (noisy, _plane(path)))
            gains.append(10 * np.log10(before / after))
        assert gains, f"no image in {folder}"
        return float(np.mean(gains))

    return gain


def _plane(path: Path) -> NDArray[np.float64]:
    with Image.open(path) as image:
        return np.asarray(image, dtype=np.float64)
