"""Pairs: the noise that was asked for, and the target that the node's inverse expects."""

import numpy as np
import pytest

from dae_pacs.learn.pairs import Noise, as_pair, jpeg_round_trip

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


def test_a_kernels_noise_has_its_level_and_little_at_low_frequencies() -> None:
    noise = Noise(level=0.05, signal_share=0.0, blur_px=0.0, kernel_peak=0.2)
    added = noise.added_to(FLAT, np.random.default_rng(0)) - FLAT
    assert added.std() == pytest.approx(0.05, rel=0.03)
    power = np.abs(np.fft.rfft2(added)) ** 2
    radius = np.hypot(np.fft.fftfreq(200)[:, None], np.fft.rfftfreq(200)[None, :])
    peak = power[np.abs(radius - 0.2) < 0.02].mean()
    assert power[(radius > 0) & (radius < 0.02)].mean() < 0.2 * peak
    assert power[radius > 0.48].mean() < 0.3 * peak


@pytest.mark.parametrize(("quality", "most"), [(98, 0.012), (75, 0.04)])
def test_jpeg_costs_what_its_quality_says(quality: int, most: float) -> None:
    noise = Noise(level=0.05, signal_share=0.0, blur_px=0.8)
    noisy = noise.added_to(FLAT, np.random.default_rng(0))
    lost = jpeg_round_trip(noisy, quality=quality) - noisy
    assert 0.001 < lost.std() < most
    assert lost.mean() == pytest.approx(0, abs=0.002)


def test_compressed_noise_is_the_same_noise_compressed() -> None:
    plain = Noise(level=0.05, signal_share=0.0, blur_px=0.0)
    compressed = Noise(level=0.05, signal_share=0.0, blur_px=0.0, jpeg_quality=85)
    one, other = (noise.added_to(FLAT, np.random.default_rng(3)) for noise in (plain, compressed))
    np.testing.assert_array_equal(jpeg_round_trip(one, quality=85), other)
