"""The recipes are run as a user runs them: a process of its own, from the repository's root."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
RunRecipe = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run_recipe(tmp_path: Path) -> RunRecipe:
    """Run a configuration: `run_recipe("training/recipes/supervised.yaml", data_dir=..., steps=4)`."""

    def run(config: str, *, cwd: Path = ROOT, **overrides: object) -> subprocess.CompletedProcess[str]:
        options = [text for name, value in overrides.items() for text in (f"--{name}", str(value))]
        return subprocess.run(
            [sys.executable, "-m", "monai.bundle", "run", "--config_file", config, *options],
            cwd=cwd,
            env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
            timeout=240,
        )

    return run


@pytest.fixture
def noisy_images(tmp_path: Path) -> Path:
    """Six JPG images of discs under the same noise."""
    folder = tmp_path / "images"
    folder.mkdir()
    y, x = np.mgrid[:128, :160]
    for seed in range(6):
        rng = np.random.default_rng(seed)
        plane = 90 + 40 * np.sin(x / 30 + seed)
        for _ in range(6):
            row, column, radius = rng.uniform(0, 128), rng.uniform(0, 160), rng.uniform(6, 25)
            plane += rng.uniform(-30, 30) * ((y - row) ** 2 + (x - column) ** 2 < radius**2)
        noisy = np.clip(plane + rng.normal(0, 8, plane.shape), 0, 255).astype(np.uint8)
        Image.fromarray(noisy).save(folder / f"{seed}.jpg", quality=95)
    return folder
