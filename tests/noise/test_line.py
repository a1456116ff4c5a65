import numpy as np
import pytest

from dae_pacs.noise.line import lower_line


def test_nodes_on_a_line_give_that_line():
    levels = np.linspace(100, 900, 9)
    line = lower_line(levels, 2 * levels + 50, np.ones(9))
    assert line.gain == pytest.approx(2)
    assert line.offset == pytest.approx(50, abs=1e-6)


def test_nodes_far_above_do_not_lift_it():
    levels = np.linspace(100, 900, 9)
    variances = 2 * levels + 50
    variances[[1, 4, 5, 7]] *= [5, 1.8, 30, 2.5]
    line = lower_line(levels, variances, np.ones(9))
    assert line.at(500.0) == pytest.approx(1050, rel=0.02)


def test_near_equal_levels_tell_of_no_slope():
    line = lower_line(np.array([50.0, 51.0, 52.0]), np.array([90.0, 100.0, 400.0]), np.ones(3))
    assert line.gain == 0
    assert 90 <= line.offset <= 100


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_units_do_not_matter(scale):
    levels = scale * np.linspace(100, 900, 9)
    variances = scale**2 * (2 * np.linspace(100, 900, 9) + 50)
    line = lower_line(levels, variances, np.ones(9))
    assert line.at(500 * scale) == pytest.approx(1050 * scale**2, rel=1e-3)


def test_one_node_is_a_level_line():
    line = lower_line(np.array([7.0]), np.array([3.0]), np.ones(1))
    assert (line.gain, line.offset) == (0, 3)
