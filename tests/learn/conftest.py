"""Small images to learn from, made here so that every test runs anywhere."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

MakePicture = Callable[..., Path]


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """The machine is shared, and these networks are too small to share out."""
    torch.set_num_threads(1)


def picture(rows: int = 96, columns: int = 128, *, seed: int = 0) -> NDArray[np.uint8]:
    """Draw discs and ramps with a little noise; (rows, columns) uint8."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:rows, :columns]
    plane = 60 + 60 * x / columns + 20 * np.sin(y / 9 + seed)
    for _ in range(6):
        row, column, radius = rng.uniform(0, rows), rng.uniform(0, columns), rng.uniform(4, 20)
        plane += rng.uniform(-40, 40) * ((y - row) ** 2 + (x - column) ** 2 < radius**2)
    return np.clip(plane + rng.normal(0, 4, plane.shape), 1, 254).astype(np.uint8)


@pytest.fixture
def make_picture(tmp_path: Path) -> MakePicture:
    """Write a picture under tmp_path/images: `make_picture("a.png", seed=1)`."""

    def make(name: str, *, rows: int = 96, columns: int = 128, seed: int = 0) -> Path:
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture(rows, columns, seed=seed)).save(path)
        return path

    return make


@pytest.fixture
def images(make_picture: MakePicture, tmp_path: Path) -> Path:
    """A folder of four different pictures in three formats."""
    for seed, name in enumerate(("a.png", "b.jpg", "c.tiff", "deeper/d.png")):
        make_picture(name, seed=seed)
    return tmp_path / "images"
