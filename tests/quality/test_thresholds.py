"""The thresholds part what they must: truth and the shipped model from blurs, at a known noise."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from dae_pacs.denoise.engine import TorchDenoiser, open_denoiser
from dae_pacs.noise.model import NoiseModel
from dae_pacs.noise.spectrum import WHITE, gaussian_spectrum
from dae_pacs.quality.evidence import Shares, gather
from dae_pacs.quality.residual import check_bias, check_spectrum, check_variance
from dae_pacs.quality.structure import check_structure
from dae_pacs.quality.verdict import Check, Verdict
from dae_pacs.resources import models_folder

STRENGTH = 0.7
SIGMA = 30.0


@pytest.fixture(scope="module")
def model() -> TorchDenoiser:
    torch.set_num_threads(1)
    return open_denoiser(models_folder() / "xray_radiograph_denoising", device="cpu")


@pytest.fixture(params=[WHITE, gaussian_spectrum(0.8)], ids=["white", "correlated"])
def noise(request: pytest.FixtureRequest) -> NoiseModel:
    return NoiseModel(levels=(500.0,), variances=(SIGMA**2,), spectrum=request.param, origin="estimate")


@pytest.fixture
def put(clean: np.ndarray, noise: NoiseModel) -> Callable[..., dict[str, Check]]:
    """Judge what a function makes of a noisy image: flat ground, fine bars and a disc."""
    truth = 5 * clean
    noisy = truth + noise.sample(truth, np.random.default_rng(0))
    keep = np.zeros(truth.shape, dtype=bool)

    def judged(denoised: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> dict[str, Check]:
        after = noisy + np.float32(STRENGTH) * (denoised(noisy, truth) - noisy)
        found = gather(noisy, after, keep, noise=noise, strength=STRENGTH, shares=Shares.among(1))
        checks = (
            check_variance(found),
            check_spectrum(found, noise.spectrum),
            check_structure(found, noise),
            check_bias(found, noise),
        )
        return {check.key: check for check in checks}

    return judged


def test_truth_is_good(put):
    assert {check.verdict for check in put(lambda _noisy, truth: truth).values()} == {Verdict.GOOD}


def test_shipped_model_is_never_bad_and_removes_no_structure(put, model, noise):
    def denoised(noisy: np.ndarray, _truth: np.ndarray) -> np.ndarray:
        keep = np.zeros((1, *noisy.shape), dtype=bool)
        return model.denoise(noisy[np.newaxis], keep, noise=noise, strength=1)[0]

    found = put(denoised)
    bad = [check.finding for check in found.values() if check.verdict is Verdict.BAD]
    assert not bad
    assert found["structure"].verdict is Verdict.GOOD, found["structure"].finding


@pytest.mark.parametrize("blur_px", [0.5, 0.7, 1.0, 1.5])
def test_blur_is_seen_in_what_was_removed(put, blurred, blur_px):
    found = put(lambda noisy, _truth: blurred(noisy, blur_px))
    assert found["structure"].verdict is not Verdict.GOOD
