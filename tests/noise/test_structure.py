import numpy as np
import pytest

from dae_pacs.noise.spectrum import SIDE_PX, gaussian_cosine_power, gaussian_power
from dae_pacs.noise.structure import RADIUS, split

STRUCTURE = 400 / np.maximum(RADIUS, 1) ** 4 + 8 / np.maximum(RADIUS, 1) ** 2
MIDDLE = (RADIUS > 3) & (RADIUS < 12)


@pytest.mark.parametrize("blur_px", [0, 0.5, 0.8, 1.2])
def test_noise_alone_is_all_noise(blur_px):
    found = split(gaussian_cosine_power(blur_px))
    assert found.share[MIDDLE].min() > 0.97
    assert found.noise[:3, :3].mean() == pytest.approx(
        gaussian_cosine_power(blur_px)[:3, :3].mean(), rel=0.05
    )


@pytest.mark.parametrize("blur_px", [0, 0.5, 0.8])
def test_what_structure_adds_is_told_from_noise(blur_px):
    noise = gaussian_cosine_power(blur_px)
    found = split(noise + STRUCTURE)
    assert (found.noise / noise)[MIDDLE].mean() == pytest.approx(1, abs=0.15)
    assert found.share[2, 2] < 0.6


def test_a_band_keeps_its_low_end():
    band = 0.02 + (RADIUS / 6) ** 2 * np.exp(-((RADIUS / 6) ** 2))
    assert split(band).share[MIDDLE].min() > 0.9


def test_short_patches_smear_and_the_factor_undoes_it():
    found = split(gaussian_cosine_power(0.8))
    sharp = gaussian_cosine_power(0.8) * found.sharpened
    low = RADIUS < 6
    assert (sharp / gaussian_power(0.8))[low] == pytest.approx(np.ones(low.sum()), abs=0.05)


def test_cosine_power_of_noise_of_variance_one_averages_one():
    for blur_px in (0, 0.4, 0.8, 1.5):
        assert gaussian_cosine_power(blur_px).mean() == pytest.approx(1)
    assert gaussian_power(0) == pytest.approx(np.ones((SIDE_PX, SIDE_PX)))
