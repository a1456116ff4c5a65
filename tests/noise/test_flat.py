import numpy as np
import pytest

from dae_pacs.noise.flat import measure, squared_coefficients, typical_sigma
from dae_pacs.noise.patches import block_edge_ratio, collect, grey_step


def test_planes_leave_no_coefficients():
    rows, columns = np.mgrid[0:16, 0:16].astype(np.float32)
    planes = np.stack([3 * rows + 70000, 2 * columns - rows, np.full((16, 16), 5, dtype=np.float32)])
    assert squared_coefficients(planes).max() < 1e-3


def test_choosing_the_flattest_does_not_bias_pure_noise(rng):
    values = (5 * rng.standard_normal((3000, 16, 16))).astype(np.float32)
    measured = measure(values, rng.random(3000))
    assert np.sqrt(measured.variances.mean()) == pytest.approx(5, rel=0.02)
    assert typical_sigma(values, rng.random(3000)) == pytest.approx(5, rel=0.02)


def test_a_tenth_of_flat_patches_is_enough(rng):
    values = rng.standard_normal((3000, 16, 16)).astype(np.float32)
    wave = np.sin(np.arange(16) / 1.7)[:, None] * np.cos(np.arange(16) / 2.9)[None, :]
    values[:2700] += (wave * rng.uniform(2, 20, (2700, 1, 1))).astype(np.float32)
    measured = measure(values, rng.random(3000))
    assert np.sqrt(np.median(measured.variances)) == pytest.approx(1, rel=0.04)


def test_few_patches_are_measured_without_complaint(rng):
    values = rng.standard_normal((12, 16, 16)).astype(np.float32)
    measured = measure(values, np.full(12, 3.0))
    assert measured.levels.tolist() == [3.0]
    assert np.sqrt(measured.variances[0]) == pytest.approx(1, rel=0.15)


def test_clipped_kept_and_broken_squares_are_left_out(rng):
    frame = rng.uniform(1, 9, (160, 160)).astype(np.float32)
    frame[:16, :16] = 0
    frame[40, 40] = np.nan
    keep = np.zeros(frame.shape, dtype=bool)
    keep[80, 80] = True
    assert len(collect([frame], None).values) == 100 - 2 + 81 - 2
    assert len(collect([frame], [keep]).values) == 100 - 3 + 81 - 3


def test_large_groups_are_sampled(rng):
    frames = [rng.random((512, 512), dtype=np.float32) for _ in range(80)]
    assert len(collect(frames, None).values) == 16384


def test_grey_step_is_the_smallest_distance():
    assert grey_step(np.array([3, 9, 5, 5], dtype=np.float32)) == 2
    assert grey_step(np.array([3, 3], dtype=np.float32)) == 0


def test_noise_shows_no_blocks(rng):
    assert block_edge_ratio([rng.standard_normal((512, 512)).astype(np.float32)]) < 1.06
    assert block_edge_ratio([np.zeros((512, 512), dtype=np.float32)]) == 1
    assert block_edge_ratio([np.zeros((5, 5), dtype=np.float32)]) == 1
