import numpy as np
import pytest

from dae_pacs.denoise.calibration import calibrate
from dae_pacs.errors import NoiseError
from dae_pacs.noise.estimate import estimate, fallback


@pytest.fixture
def shaded():
    """Three frames of white noise on a ramp: (128, 160) float32, one square of them left out."""
    rng = np.random.default_rng(3)
    frames = [(rng.standard_normal((128, 160)) * 9 + np.arange(160)).astype(np.float32) for _ in range(3)]
    keep = [np.zeros((128, 160), dtype=bool) for _ in range(3)]
    keep[0][:16, :16] = True
    return frames, keep


def test_what_can_be_measured_is_what_an_estimate_gives(shaded):
    noise = calibrate(*shaded)
    assert noise == estimate(*shaded)
    assert noise.origin == "estimate"


def test_what_can_not_be_measured_is_what_the_fallback_gives(shaded):
    frames, keep = shaded
    coarse = [np.round(frame / 60) * 60 for frame in frames]
    with pytest.raises(NoiseError):
        estimate(coarse, keep)
    noise = calibrate(coarse, keep)
    assert noise == fallback(coarse, keep)
    assert noise.origin == "fallback"


@pytest.mark.parametrize("value", [1e18, 1e19, 3e38, -3e38, np.inf])
def test_values_that_no_detector_gives_spoil_no_measurement(shaded, value):
    frames, keep = shaded
    spoiled, without = [frame.copy() for frame in frames], [frame.copy() for frame in frames]
    for one, other in zip(spoiled, without, strict=True):
        one[40:44, 50:60], other[40:44, 50:60] = value, np.nan
    assert calibrate(spoiled, keep) == calibrate(without, keep)
    assert calibrate(spoiled, keep).origin == "estimate"
    assert calibrate([np.full_like(frame, value) for frame in frames], keep).origin == "fallback"
