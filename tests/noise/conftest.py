import numpy as np
import pytest


@pytest.fixture
def rng():
    return np.random.default_rng(7)


@pytest.fixture
def radiograph():
    """A radiograph as a drawing: (600, 720) float32, 100..1000, shading, bones, fine trabeculae."""
    rows, columns = np.mgrid[0:600, 0:720].astype(np.float64)
    image = 300 + 0.5 * rows + 0.3 * columns
    image += 250 * (np.hypot(rows - 300, columns - 250) < 130)
    image += 120 * (np.abs(columns - 560) < 25)
    inside = np.hypot(rows - 150, columns - 550) < 90
    image += 60 * inside * np.sin(rows / 2.3) * np.sin(columns / 3.1)
    return image.astype(np.float32)


@pytest.fixture
def ct_slices():
    """Eight slices of a cylinder in air: (256, 256) float32 in HU."""
    rows, columns = np.mgrid[0:256, 0:256].astype(np.float64)
    body = np.hypot(rows - 128, columns - 128) < 110
    bone = np.abs(np.hypot(rows - 128, columns - 128) - 100) < 6
    slices = []
    for number in range(8):
        lesion = np.hypot(rows - 100, columns - 120 - 3 * number) < 18
        slices.append((-1000.0 + 1040 * body + 700 * bone + 30 * lesion).astype(np.float32))
    return slices
