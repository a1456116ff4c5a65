from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from dae_pacs.noise.model import NoiseModel

Array = NDArray[np.float32]
SIGMA = 10.0


@pytest.fixture
def white() -> NoiseModel:
    """White noise of standard deviation 10 at every signal."""
    return NoiseModel(levels=(100.0,), variances=(SIGMA**2,), unit="HU")


@pytest.fixture
def blurred() -> Callable[[Array, float], Array]:
    """Blur the last two axes by a Gaussian, mirrored at the borders."""

    def blur(frames: Array, sigma_px: float) -> Array:
        rows, columns = frames.shape[-2:]
        squared = np.fft.fftfreq(2 * rows)[:, None] ** 2 + np.fft.rfftfreq(2 * columns)[None] ** 2
        width = [(0, 0)] * (frames.ndim - 2) + [(0, rows), (0, columns)]
        spectrum = np.fft.rfft2(np.pad(frames, width, mode="symmetric"))
        spectrum *= np.exp(-2 * np.pi**2 * sigma_px**2 * squared)
        smooth = np.fft.irfft2(spectrum, s=(2 * rows, 2 * columns))
        return smooth[..., :rows, :columns].astype(np.float32)

    return blur


@pytest.fixture
def clean() -> Array:
    """An image of 384 × 384: flat ground, a ramp, and a field of fine bars and discs, 0 to some 300."""
    row, column = np.mgrid[:384, :384].astype(np.float32)
    image = 100 + column / 8
    textured = (row > 240) & (column > 192)
    image += textured * 40 * (np.sin(column / 2.2) > 0)
    image += 150 * (np.hypot(row - 300, column - 90) < 40)
    return image.astype(np.float32)


@pytest.fixture
def noisy(clean: Array) -> Array:
    return clean + SIGMA * np.random.default_rng(1).standard_normal(clean.shape, dtype=np.float32)
