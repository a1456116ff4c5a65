import numpy as np
import pytest

from dae_pacs.noise.simulate import correlated, halve, poisson_gaussian, sigma_of


@pytest.mark.parametrize("level", [0.0, 3.0, 40.0])
def test_poisson_gaussian_has_the_mean_and_variance_it_says(level, rng):
    clean = np.full((400, 400), level, dtype=np.float32)
    noisy = poisson_gaussian(clean, gain=0.5, sigma=0.7, rng=rng)
    assert noisy.dtype == np.float32
    assert noisy.mean() == pytest.approx(level, abs=0.05)
    assert noisy.var() == pytest.approx(0.5 * level + 0.49, rel=0.03)


def test_correlated_noise_has_the_variance_after_the_blur(rng):
    clean = np.full((400, 400), 10, dtype=np.float32)
    noisy = correlated(clean, gain=0.5, sigma=2.0, blur_px=0.8, rng=rng)
    assert noisy.var() == pytest.approx(9, rel=0.04)
    rest = noisy - 10
    assert np.corrcoef(rest[:, 1:].ravel(), rest[:, :-1].ravel())[0, 1] > 0.6


def test_nothing_asked_for_adds_nothing(rng):
    clean = np.linspace(0, 9, 64, dtype=np.float32).reshape(8, 8)
    assert np.array_equal(poisson_gaussian(clean, gain=0, sigma=0, rng=rng), clean)
    assert np.array_equal(correlated(clean, gain=0, sigma=0, blur_px=1, rng=rng), clean)


def test_same_seed_makes_the_same_noise():
    clean = np.full((32, 32), 5, dtype=np.float32)
    first, second = (poisson_gaussian(clean, gain=1, sigma=1, rng=np.random.default_rng(3)) for _ in range(2))
    assert np.array_equal(first, second)


def test_signal_below_zero_has_electronic_noise_only():
    assert np.allclose(sigma_of(np.array([-5.0, 0.0], dtype=np.float32), gain=1, sigma=2), 2)


def test_halving_halves_white_noise_and_drops_an_odd_line(rng):
    image = rng.standard_normal((401, 301)).astype(np.float32)
    small = halve(image)
    assert small.shape == (200, 150)
    assert small.std() == pytest.approx(0.5, rel=0.03)
