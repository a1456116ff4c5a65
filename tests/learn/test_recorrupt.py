"""The pair of a recorrupted patch: what its two noises have and have not in common."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from dae_pacs.errors import TrainingError
from dae_pacs.learn.recorrupt import Recorrupted, local_noise
from dae_pacs.noise.model import affine
from dae_pacs.noise.spectrum import WHITE, Spectrum, gaussian_spectrum

SHAPE = (48, 48)
PATCHES = 60
CORRELATED = gaussian_spectrum(0.8)
SPECTRA = pytest.mark.parametrize("spectrum", [WHITE, CORRELATED], ids=["white", "correlated"])


def noise_json(spectrum: Spectrum) -> str:
    return affine(gain=0.0, offset=1.0, low=0.0, high=1.0, spectrum=spectrum).to_json()


def pairs(spectrum: Spectrum, *, alpha: float = 0.15) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The noises of y1 and y2 over patches whose signal is 0, (patches, rows, columns) each."""
    transform = Recorrupted("image", alpha=alpha, antithetic=False).set_random_state(seed=1)
    rng = np.random.default_rng(0)
    text = noise_json(spectrum)
    first, second = [], []
    for _ in range(PATCHES):
        own = torch.from_numpy(local_noise(SHAPE, spectrum, rng))[None]
        made = transform({"image": own, "noise": text})
        first.append(made["image"][0].numpy())
        second.append(made["label"][0].numpy())
    return np.stack(first), np.stack(second)


def tolerance(spectrum: Spectrum) -> float:
    """Four standard errors of a mean over all pixels, of which correlated ones count less each."""
    power = np.asarray(spectrum)
    independent = PATCHES * SHAPE[0] * SHAPE[1] / float((power**2).mean() / power.mean() ** 2)
    return 4 * np.sqrt(2 / independent)


@SPECTRA
@pytest.mark.parametrize("alpha", [0.15, 0.5])
def test_variances_are_one_and_what_alpha_says(spectrum: Spectrum, alpha: float) -> None:
    first, second = pairs(spectrum, alpha=alpha)
    assert float(first.var()) == pytest.approx(1, rel=tolerance(spectrum))
    assert float(second.var()) == pytest.approx((1 - alpha) / alpha, rel=tolerance(spectrum))


@SPECTRA
@pytest.mark.parametrize("shift", [(0, 0), (0, 1), (1, 0), (1, 1), (0, 2)])
def test_the_two_noises_are_not_correlated(spectrum: Spectrum, shift: tuple[int, int]) -> None:
    first, second = pairs(spectrum)
    down, right = shift
    moved = second[:, down:, right:]
    fixed = first[:, : SHAPE[0] - down, : SHAPE[1] - right]
    correlation = float((fixed * moved).mean() / (first.std() * second.std()))
    assert correlation == pytest.approx(0, abs=tolerance(spectrum))


def test_nor_are_they_across_the_borders_of_a_patch() -> None:
    first, second = pairs(CORRELATED)
    correlation = float((first[:, :, 0] * second[:, :, -1]).mean() / (first.std() * second.std()))
    assert correlation == pytest.approx(0, abs=4 / np.sqrt(PATCHES * SHAPE[0] / 2.5))


def test_the_input_keeps_the_spectrum_of_the_noise() -> None:
    first, _ = pairs(CORRELATED)
    own = np.stack([local_noise(SHAPE, CORRELATED, np.random.default_rng(seed)) for seed in range(PATCHES)])
    for lag in (1, 2):
        expected = float((own[:, :, lag:] * own[:, :, :-lag]).mean())
        found = float((first[:, :, lag:] * first[:, :, :-lag]).mean())
        assert found == pytest.approx(expected, abs=2 * tolerance(CORRELATED))


def test_the_signal_is_scaled_alike_on_both_sides() -> None:
    ramp = torch.linspace(0, 200, 48 * 48).reshape(1, 48, 48)
    made = Recorrupted("image", alpha=0.15)({"image": ramp, "noise": noise_json(WHITE)})
    for side in (made["image"], made["label"]):  # the mean of w and -w is free of noise
        torch.testing.assert_close(side.mean(dim=0, keepdim=True), np.sqrt(0.85) * ramp)


def test_antithetic_pairs_are_each_others_mirror() -> None:
    made = Recorrupted("image")({"image": torch.zeros(1, 48, 48), "noise": noise_json(WHITE)})
    assert made["image"].shape == made["label"].shape == (2, 48, 48)
    assert made["image"].dtype == made["label"].dtype == torch.float32
    assert torch.equal(made["image"][0], -made["image"][1])
    assert torch.equal(made["label"][0], -made["label"][1])


def test_the_noise_follows_the_seed_of_the_run_and_validation_its_own() -> None:
    item = {"image": torch.zeros(1, 48, 48), "noise": noise_json(CORRELATED)}
    first, again, other = (Recorrupted("image").set_random_state(seed=seed)(item) for seed in (5, 5, 6))
    assert torch.equal(first["image"], again["image"])
    assert not torch.equal(first["image"], other["image"])
    transform = Recorrupted("image")
    fixed = [transform({**item, "seed": 3})["image"] for _ in range(2)]
    assert torch.equal(fixed[0], fixed[1])


def test_each_patch_draws_its_alpha_within_the_range() -> None:
    transform = Recorrupted("image", alpha=[0.15, 0.75]).set_random_state(seed=2)
    item = {"image": torch.ones(1, 16, 16), "noise": noise_json(WHITE)}
    shares = [float(transform(dict(item))["image"].mean()) ** 2 for _ in range(400)]  # of w and -w: √(1-α)
    drawn = 1 - np.asarray(shares)
    assert 0.15 <= drawn.min() < 0.17
    assert 0.73 < drawn.max() <= 0.75 + 1e-6
    log_odds = np.log(drawn / (1 - drawn))
    middle = (np.log(0.15 / 0.85) + np.log(3)) / 2
    assert float(log_odds.mean()) == pytest.approx(middle, abs=4 * 0.82 / np.sqrt(400))


@pytest.mark.parametrize("alpha", [0.0, 1.0, -0.1, [0.5, 0.2], [0.2, 1.0], [0.1, 0.2, 0.3]])
def test_an_impossible_alpha_is_refused_in_words(alpha: float | list[float]) -> None:
    with pytest.raises(TrainingError, match=r"alpha is .*such as 0\.15"):
        Recorrupted("image", alpha=alpha)
