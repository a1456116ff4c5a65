"""Pairs: the noise that was asked for, and the target that the node's inverse expects."""

import numpy as np
import pytest

from dae_pacs.learn.pairs import Noise, as_pair

FLAT = np.full((200, 200), 0.5, dtype=np.float32)


@pytest.mark.parametrize("blur_px", [0.0, 0.8])
@pytest.mark.parametrize("signal_share", [0.0, 0.5, 1.0])
def test_noise_has_the_level_that_was_asked_for(blur_px: float, signal_share: float) -> None:
    noise = Noise(level=0.05, signal_share=signal_share, blur_px=blur_px)
    noisy = noise.added_to(FLAT, np.random.default_rng(0))
    assert (noisy - FLAT).std() == pytest.approx(0.05, rel=0.03)
    assert (noisy - FLAT).mean() == pytest.approx(0, abs=0.003)


@pytest.mark.parametrize("told_factor", [0.5, 1.0, 2.0])
def test_the_network_sees_noise_of_one_over_what_the_stabiliser_was_told(told_factor: float) -> None:
    noise = Noise(level=0.05, signal_share=0.8, blur_px=0.0)
    ramp = np.linspace(0, 1, 40_000, dtype=np.float32).reshape(200, 200)
    noisy, clean = as_pair(
        ramp, noise=noise, told_factor=told_factor, is_clean=False, rng=np.random.default_rng(0)
    )
    for part in (slice(0, 60), slice(70, 130), slice(140, 200)):
        assert (noisy - clean)[part].std() == pytest.approx(1 / told_factor, rel=0.06)


def test_the_target_is_what_the_unbiased_inverse_maps_to_the_reference() -> None:
    noise = Noise(level=0.3, signal_share=1.0, blur_px=0.0)  # about three quanta at mid-grey
    ramp = np.linspace(0.1, 1, 10_000, dtype=np.float32).reshape(100, 100)
    noisy, target = as_pair(ramp, noise=noise, told_factor=1.0, is_clean=False, rng=np.random.default_rng(0))
    np.testing.assert_allclose(noise.model().invert(target), ramp, atol=0.02)
    assert (noisy - target).mean() == pytest.approx(0, abs=0.05)


def test_a_clean_pair_is_one_image_twice() -> None:
    noise = Noise(level=0.05, signal_share=0.8, blur_px=0.5)
    noisy, clean = as_pair(FLAT, noise=noise, told_factor=1.0, is_clean=True, rng=np.random.default_rng(0))
    np.testing.assert_array_equal(noisy, clean)
