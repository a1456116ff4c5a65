import numpy as np
import pytest

from dae_pacs.noise.model import NoiseModel
from dae_pacs.noise.spectrum import gaussian_spectrum
from dae_pacs.quality.evidence import Evidence, Shares, gather
from dae_pacs.quality.residual import check_bias, check_spectrum, check_variance, spectra
from dae_pacs.quality.structure import check_structure
from dae_pacs.quality.verdict import Verdict


def evidence(before: np.ndarray, after: np.ndarray, noise: NoiseModel, strength: float = 1.0) -> Evidence:
    keep = np.zeros(before.shape, dtype=bool)
    blended = before + np.float32(strength) * (after - before)
    return gather(before, blended, keep, noise=noise, strength=strength, shares=Shares.among(1))


@pytest.mark.parametrize("strength", [1.0, 0.6])
def test_truth_is_good_at_every_question(clean, noisy, white, strength):
    found = evidence(noisy, clean, white, strength)
    checks = [
        check_variance(found),
        check_spectrum(found, white.spectrum),
        check_structure(found, white),
        check_bias(found, white),
    ]
    assert {check.key: check.verdict for check in checks} == dict.fromkeys(
        ("variance", "spectrum", "structure", "bias"), Verdict.GOOD
    )
    assert checks[0].numbers["ratio_all"] == pytest.approx(1, abs=0.03)


def test_identity_is_told_to_remove_nothing(noisy, white):
    found = evidence(noisy, noisy, white)
    assert check_variance(found).numbers["ratio_all"] == 0
    assert check_variance(found).verdict is Verdict.LOOK
    assert check_spectrum(found, white.spectrum).verdict is Verdict.LOOK
    assert check_structure(found, white).verdict is Verdict.GOOD
    assert check_bias(found, white).verdict is Verdict.GOOD


def test_blur_is_caught_by_its_residual(clean, noisy, white, blurred):
    found = evidence(noisy, blurred(noisy, 1.5), white)
    assert check_variance(found).verdict is not Verdict.GOOD
    structure = check_structure(found, white)
    assert structure.verdict is Verdict.BAD
    assert structure.numbers["energy_ratio"] > 2
    assert structure.numbers["likeness"] > 0.3


def test_darkening_is_a_bias(clean, noisy, white):
    check = check_bias(evidence(noisy, clean - 4, white), white)
    assert check.verdict is Verdict.BAD
    assert check.numbers["mean_unit"] == pytest.approx(-4, abs=0.1)
    assert check.rows[0]["bias in sigma"] == pytest.approx(-0.4, abs=0.2)


def test_curve_is_the_spectrum_of_the_noise(clean):
    noise = NoiseModel(levels=(100.0,), variances=(100.0,), spectrum=gaussian_spectrum(0.8))
    noisy = clean + noise.sample(clean, np.random.default_rng(2))
    curves = spectra(evidence(noisy, clean, noise), noise.spectrum)
    middle = (curves.frequency > 0.1) & (curves.frequency < 0.35)
    np.testing.assert_allclose(curves.removed_all[middle], curves.model[middle], rtol=0.2)
    assert np.median(curves.after[middle]) < 0.1


def test_white_residual_of_coarse_noise_is_not_its_texture(clean):
    noise = NoiseModel(levels=(100.0,), variances=(100.0,), spectrum=gaussian_spectrum(1.2))
    noisy = clean + noise.sample(clean, np.random.default_rng(2))
    after = noisy - 10 * np.random.default_rng(3).standard_normal(clean.shape, dtype=np.float32)
    assert check_spectrum(evidence(noisy, after, noise), noise.spectrum).verdict is Verdict.BAD
