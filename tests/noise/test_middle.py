import numpy as np
import pytest

from dae_pacs.noise.middle import medians, medians_of_eight


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(1,), (2,), (3,), (1000,), (1001,), (5, 8), (3, 4, 7), (0, 8)])
def test_medians_are_those_of_numpy_to_the_bit(shape, dtype, rng):
    values = rng.standard_normal(shape).astype(dtype)
    found = medians(values)
    assert found.dtype == dtype
    assert np.array_equal(found, np.median(values, axis=-1))


@pytest.mark.parametrize("rows", [0, 1, 500])
def test_medians_of_eight_are_those_of_numpy_to_the_bit(rows, rng):
    values = rng.integers(0, 9, (rows, 8)).astype(np.float32)
    assert np.array_equal(medians_of_eight(values), np.median(values, axis=1))
    values = rng.standard_normal((rows, 8))
    assert np.array_equal(medians_of_eight(values), np.median(values, axis=1))


def test_eight_are_sorted_whatever_their_order():
    # What sorts all rows of zeros and ones sorts everything (Knuth's zero-one principle).
    values = (np.arange(256)[:, None] >> np.arange(8) & 1).astype(np.float32)
    assert np.array_equal(medians_of_eight(values), np.median(values, axis=1))


def test_what_is_given_stays_as_it_is(rng):
    values = rng.random(50)
    before = values.copy()
    medians(values)
    assert np.array_equal(values, before)
