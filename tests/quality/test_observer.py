from statistics import NormalDist

import numpy as np
import pytest

from dae_pacs.quality.inserted import disc
from dae_pacs.quality.observer import (
    CHANNELS,
    area,
    channels,
    check_detectability,
    detectability,
    rate,
    spread_d,
)
from dae_pacs.quality.verdict import Verdict


def analytic(signal: np.ndarray, sigma: float, bank: np.ndarray) -> float:
    """In white noise: d'² = (Uᵀs)ᵀ (σ² UᵀU)⁻¹ (Uᵀs)."""
    seen = bank.T @ signal.ravel()
    return float(np.sqrt(seen @ np.linalg.solve(sigma**2 * bank.T @ bank, seen)))


@pytest.fixture(scope="module")
def flat() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((1200, 32, 32), dtype=np.float32)


def test_channels_are_centred_and_ten():
    bank = channels(32)
    assert bank.shape == (1024, CHANNELS)
    first = bank[:, 5].reshape(32, 32)
    np.testing.assert_allclose(first, first[::-1, ::-1], atol=1e-9)
    assert np.unravel_index(first.argmax(), first.shape) in [(15, 15), (15, 16), (16, 15), (16, 16)]


def test_hotelling_finds_the_analytic_detectability(flat):
    bank, signal = channels(32), 0.4 * disc(6, 32)
    expected = analytic(signal, 1.0, bank)
    assert 1 < expected < 3
    assert detectability(flat[:600], flat[600:] + signal, bank) == pytest.approx(expected, rel=0.08)


def test_ratings_of_places_not_learned_on_find_it_too(flat):
    bank, signal = channels(32), 0.4 * disc(6, 32)
    expected = analytic(signal, 1.0, bank)
    ratings = rate(flat, flat + signal, bank)
    assert spread_d(ratings) == pytest.approx(expected, rel=0.06)
    assert area(ratings) == pytest.approx(NormalDist().cdf(expected / np.sqrt(2)), abs=0.01)


def test_no_signal_is_no_better_than_guessing(flat):
    ratings = rate(flat[:600], flat[600:], channels(32))
    assert area(ratings) == pytest.approx(0.5, abs=0.04)


@pytest.fixture(scope="module")
def places() -> np.ndarray:
    return (200 + 10 * np.random.default_rng(1).standard_normal((80, 64, 64))).astype(np.float32)


def test_identity_changes_nothing(places, white):
    check = check_detectability(places, lambda frames: frames, noise=white)
    assert check.verdict is Verdict.GOOD
    assert check.numbers["change_least"] == 0


def test_oracle_is_good(places, white):
    noise = places - 200
    check = check_detectability(places, lambda frames: frames - np.float32(0.7) * noise, noise=white)
    assert check.verdict is Verdict.GOOD
    assert check.rows[0]["AUC after"] > check.rows[0]["AUC before"] + 0.05


def test_signal_thrown_away_is_bad(places, white):
    rng = np.random.default_rng(2)

    def destroy(frames: np.ndarray) -> np.ndarray:
        return (frames + 60 * rng.standard_normal(frames.shape)).astype(np.float32)

    assert check_detectability(places, destroy, noise=white).verdict is Verdict.BAD


def test_too_few_places_are_told(places, white):
    check = check_detectability(places[:59], lambda frames: frames, noise=white)
    assert check.verdict is Verdict.UNKNOWN
    assert "59" in check.finding
