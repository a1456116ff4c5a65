import numpy as np
import pytest

from dae_pacs.noise.middle import medians


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(1,), (2,), (3,), (1000,), (1001,), (5, 8), (3, 4, 7), (0, 8)])
def test_medians_are_those_of_numpy_to_the_bit(shape, dtype, rng):
    values = rng.standard_normal(shape).astype(dtype)
    found = medians(values)
    assert found.dtype == dtype
    assert np.array_equal(found, np.median(values, axis=-1))


def test_what_is_given_stays_as_it_is(rng):
    values = rng.random(50)
    before = values.copy()
    medians(values)
    assert np.array_equal(values, before)
