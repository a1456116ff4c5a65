import numpy as np
import pytest

from dae_pacs.noise.flat import measure, squared_coefficients, typical_sigma
from dae_pacs.noise.patches import CLIPPED_SHARE, GRIDS, Patches, block_edge_ratio, collect, grey_step


def patches_of(values, levels, overlap=1.0):
    return Patches(values=values, levels=levels, candidates=len(values), step=1e-3, overlap=overlap)


def test_planes_leave_no_coefficients():
    rows, columns = np.mgrid[0:16, 0:16].astype(np.float32)
    planes = np.stack([3 * rows + 70000, 2 * columns - rows, np.full((16, 16), 5, dtype=np.float32)])
    assert squared_coefficients(planes).max() < 1e-3


def test_choosing_the_flattest_does_not_bias_pure_noise(rng):
    values = (5 * rng.standard_normal((3000, 16, 16))).astype(np.float32)
    measured = measure(patches_of(values, rng.random(3000)))
    assert np.sqrt(measured.variances.mean()) == pytest.approx(5, rel=0.02)
    assert typical_sigma(patches_of(values, rng.random(3000))) == pytest.approx(5, rel=0.02)


def test_a_tenth_of_flat_patches_is_enough(rng):
    values = rng.standard_normal((3000, 16, 16)).astype(np.float32)
    wave = np.sin(np.arange(16) / 1.7)[:, None] * np.cos(np.arange(16) / 2.9)[None, :]
    values[:2700] += (wave * rng.uniform(2, 20, (2700, 1, 1))).astype(np.float32)
    measured = measure(patches_of(values, rng.random(3000)))
    assert np.sqrt(np.median(measured.variances)) == pytest.approx(1, rel=0.04)


def test_few_patches_are_measured_without_complaint(rng):
    values = rng.standard_normal((12, 16, 16)).astype(np.float32)
    measured = measure(patches_of(values, np.full(12, 3.0)))
    assert measured.levels.tolist() == [3.0]
    assert np.sqrt(measured.variances[0]) == pytest.approx(1, rel=0.15)


def test_structure_in_every_patch_hardly_counts(rng):
    values = rng.standard_normal((3000, 16, 16)).astype(np.float32)
    walk = np.cumsum(np.cumsum(rng.standard_normal((3000, 16, 16)), axis=1), axis=2)
    values += (0.05 * walk).astype(np.float32)
    measured = measure(patches_of(values, rng.random(3000)))
    assert 0.9 < np.sqrt(np.median(measured.variances)) < 1.1
    assert measured.power[:3, :3].mean() < 1.6


def test_clipped_kept_and_broken_squares_are_left_out(rng):
    frame = rng.uniform(1, 9, (160, 160)).astype(np.float32)
    keep = np.zeros(frame.shape, dtype=bool)
    whole = len(collect([frame], None).values)
    frame[:16, :16] = 0
    assert len(collect([frame], None).values) < whole
    clipped = len(collect([frame], None).values)
    frame[40, 40] = np.nan
    assert len(collect([frame], None).values) == clipped - 16
    keep[80, 80] = True
    assert len(collect([frame], [keep]).values) == clipped - 32


@pytest.mark.parametrize("shape", [(3, 70), (15, 64), (16, 16), (61, 83), (100, 70)])
def test_squares_of_every_grid_are_those_cut_one_by_one(shape, rng):
    frame = rng.integers(0, 60, shape).astype(np.float32)
    keep = rng.random(shape) < 0.001
    ends = (frame == frame[~keep].min()) | (frame == frame[~keep].max())
    cut = []
    for row, column in GRIDS[0]:
        for top in range(row, shape[0] - 15, 16):
            cut += [np.s_[top : top + 16, left : left + 16] for left in range(column, shape[1] - 15, 16)]
    usable = [frame[at] for at in cut if not keep[at].any() and ends[at].mean() <= CLIPPED_SHARE]
    found = collect([frame], [keep])
    assert found.candidates == len(cut)
    assert np.array_equal(found.values, np.reshape(usable, (-1, 16, 16)))


def test_large_groups_are_sampled_and_small_ones_cut_along_more_grids(rng):
    frames = [rng.random((512, 512), dtype=np.float32) for _ in range(80)]
    assert len(collect(frames, None).values) == 16384
    assert collect(frames, None).overlap == 1
    assert collect(frames[:1], None).overlap == 8


def test_grey_step_is_the_smallest_distance():
    assert grey_step(np.array([3, 9, 5, 5], dtype=np.float32)) == 2
    assert grey_step(np.array([3, 3], dtype=np.float32)) == 0


def test_noise_shows_no_blocks(rng):
    assert block_edge_ratio([rng.standard_normal((512, 512)).astype(np.float32)]) < 1.06
    assert block_edge_ratio([np.zeros((512, 512), dtype=np.float32)]) == 1
    assert block_edge_ratio([np.zeros((5, 5), dtype=np.float32)]) == 1
