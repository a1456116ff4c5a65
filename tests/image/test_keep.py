import numpy as np
import pytest

from dae_pacs.image.keep import Padding, find_keep
from dae_pacs.image.layout import Layout


def layout_of(bits: int = 12) -> Layout:
    return Layout("PixelData", 1, 1, 1, 16, bits, bits - 1, is_signed=False)


def noisy(shape: tuple[int, int] = (200, 160), mean: float = 2000) -> np.ndarray:
    return np.random.default_rng(5).normal(mean, 30, shape).round().astype(np.uint16)


def test_plain_noise_is_kept_nowhere() -> None:
    assert not find_keep(noisy(), layout_of(), None).any()


def test_saturated_pixels_are_kept() -> None:
    frame = noisy(mean=4080).clip(0, 4095)
    assert np.array_equal(find_keep(frame, layout_of(), None), frame == 4095)


def test_a_handful_at_the_end_of_the_range_is_chance() -> None:
    frame = noisy()
    frame[50, 50:55] = 4095
    assert not find_keep(frame, layout_of(), None).any()


def test_values_clipped_inside_the_range_are_kept() -> None:
    frame = np.maximum(noisy(), 2000)
    assert np.array_equal(find_keep(frame, layout_of(), None), frame == 2000)


@pytest.mark.parametrize("degrees", [0, 13, 45, 80])
def test_a_collimated_field_may_be_turned(degrees: int) -> None:
    rows, columns = np.mgrid[-100:100, -80:80]
    angle = np.deg2rad(degrees)
    along = np.abs(rows * np.cos(angle) + columns * np.sin(angle))
    across = np.abs(columns * np.cos(angle) - rows * np.sin(angle))
    inside = (along < 70) & (across < 50)
    frame = np.where(inside, noisy(), 137).astype(np.uint16)
    keep = find_keep(frame, layout_of(), None)
    assert keep[~inside].all()
    assert not keep[inside].any()


@pytest.mark.parametrize("shape", [(60, 64), (71, 130), (33, 7), (200, 513)])
def test_a_ragged_border_is_found_from_all_four_sides(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(3)
    frame = rng.integers(200, 240, shape).astype(np.uint16)
    frame[frame == 211] = 212
    for row, depth in enumerate(rng.integers(0, shape[1] + 1, shape[0])):
        frame[row, :depth] = 211
    frame[rng.random(shape) < 0.02] = 220  # behind such a pixel nothing counts as border
    for corner in ((0, 0), (0, -1), (-1, 0), (-1, -1)):
        frame[corner] = 211
    expected = np.zeros(shape, dtype=bool)
    for axis in (0, 1):
        for turned, marks in ((frame, expected), (np.flip(frame), np.flip(expected))):
            np.logical_or(marks, np.logical_and.accumulate(turned == 211, axis=axis), out=marks)

    keep = find_keep(frame, layout_of(), None)

    assert np.array_equal(keep[frame == 211], expected[frame == 211])
    assert np.array_equal(find_keep(np.ascontiguousarray(frame.T), layout_of(), None), keep.T)


def test_a_wholly_constant_frame_is_kept() -> None:
    assert find_keep(np.full((40, 30), 7, np.uint16), layout_of(), None).all()


def test_padding_covers_both_ends_of_its_range() -> None:
    assert Padding(2, 4).covers(np.array([1, 2, 3, 4, 5])).tolist() == [False, True, True, True, False]
