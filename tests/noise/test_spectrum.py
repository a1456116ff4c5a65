import numpy as np
import pytest

from dae_pacs.noise.spectrum import (
    WHITE,
    amplitude,
    as_spectrum,
    cosine_basis,
    cosine_transform,
    gaussian_power,
    gaussian_spectrum,
    radial,
    unit_noise,
)


def test_cosine_basis_is_orthonormal():
    basis = cosine_basis(16)
    assert np.allclose(basis @ basis.T, np.eye(16), atol=1e-6)


def test_cosine_transform_keeps_energy(rng):
    patches = rng.standard_normal((5, 16, 16)).astype(np.float32)
    assert np.allclose((cosine_transform(patches) ** 2).sum(), (patches**2).sum(), rtol=1e-4)


@pytest.mark.parametrize("shape", [(64, 64), (63, 65), (65, 64), (17, 200)])
@pytest.mark.parametrize("blur_px", [0.0, 0.8, 1.5])
def test_unit_noise_has_sigma_one_in_every_shape(shape, blur_px, rng):
    drawn = np.stack([unit_noise(shape, gaussian_spectrum(blur_px), rng) for _ in range(24)])
    assert drawn.dtype == np.float32
    assert drawn.shape[1:] == shape
    assert drawn.std() == pytest.approx(1, abs=0.03)


def test_amplitude_squared_averages_one_over_the_whole_plane():
    full = amplitude((32, 33), gaussian_spectrum(0.8)) ** 2
    doubled = np.concatenate([full, full[:, 1:]], axis=1)
    assert doubled.mean() == pytest.approx(1, rel=1e-3)


def test_gaussian_spectrum_gives_the_neighbours_of_a_blur(rng):
    noise = unit_noise((512, 512), gaussian_spectrum(0.8), rng)
    neighbours = np.corrcoef(noise[:, 1:].ravel(), noise[:, :-1].ravel())[0, 1]
    assert neighbours == pytest.approx(np.exp(-1 / (4 * 0.8**2)), abs=0.02)


def test_no_blur_is_white(rng):
    assert gaussian_spectrum(0) == WHITE
    noise = unit_noise((256, 256), WHITE, rng)
    assert abs(np.corrcoef(noise[:, 1:].ravel(), noise[:, :-1].ravel())[0, 1]) < 0.02


def test_spectrum_is_scaled_to_mean_one_and_never_zero():
    power = np.zeros((16, 16))
    power[0, 0] = 512  # all of it at one frequency
    spectrum = np.array(as_spectrum(power))
    assert spectrum.min() > 0
    assert spectrum.mean() == pytest.approx(1, rel=1e-3)


def test_radial_average_of_a_round_spectrum_is_its_first_row():
    spectrum = gaussian_spectrum(0.8)
    frequency, power = radial(spectrum)
    assert frequency[[0, -1]].tolist() == [0, 15 / 32]
    assert power == pytest.approx(np.array(spectrum)[0], rel=0.1, abs=0.02)
    assert radial(WHITE)[1].tolist() == [1] * 16


def test_power_of_a_blur_is_that_of_its_spectrum_up_to_scale():
    ratio = gaussian_power(0.8) / np.array(gaussian_spectrum(0.8))
    assert ratio[:8, :8] == pytest.approx(np.full((8, 8), ratio[0, 0]), rel=0.01)
