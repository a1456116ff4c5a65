import numpy as np
import pytest

from dae_pacs.quality.evidence import PLACE_PX, Shares, gather, pooled, without_plane


def test_plane_is_taken_out_and_nothing_else():
    row, column = np.mgrid[:16, :16].astype(np.float32)
    rng = np.random.default_rng(0)
    bare = without_plane(rng.standard_normal((5, 16, 16)).astype(np.float32))
    np.testing.assert_allclose(without_plane(bare + 3 + 2 * row - column), bare, atol=2e-5)


@pytest.mark.parametrize("strength", [1.0, 0.5])
def test_what_was_removed_is_the_noise_whatever_the_strength(clean, noisy, white, strength):
    after = noisy + np.float32(strength) * (clean - noisy)
    keep = np.zeros(clean.shape, dtype=bool)
    found = gather(noisy, after, keep, noise=white, strength=strength, shares=Shares.among(1))
    assert np.square(found.removed).mean() == pytest.approx(1, rel=0.02)
    assert found.pixel_shifts.std() == pytest.approx(10 * strength, rel=0.02)


def test_kept_pixels_are_left_out(clean, noisy, white):
    keep = np.zeros(clean.shape, dtype=bool)
    keep[:, :200] = True
    spoilt = noisy.copy()
    spoilt[keep] = np.nan
    found = gather(spoilt, spoilt, keep, noise=white, strength=1, shares=Shares.among(1))
    assert np.isfinite(found.removed).all()
    assert found.levels.min() > 120
    assert len(found.removed) == 24 * (384 - 208) // 16


def test_places_are_the_flattest(clean, noisy, white):
    keep = np.zeros(clean.shape, dtype=bool)
    found = gather(noisy, clean, keep, noise=white, strength=1, shares=Shares.among(1))
    assert found.places.shape == (12, PLACE_PX, PLACE_PX)
    assert found.roughness.max() < 0.2
    both = pooled([found, found])
    assert len(both.places) == 24
    assert (np.diff(both.roughness) >= 0).all()


def test_shares_bound_a_group():
    assert Shares.among(1).places == 120
    assert Shares.among(40).squares * 40 <= 1 << 14
