import numpy as np
import pytest

from dae_pacs.errors import PixelError
from dae_pacs.quality.fidelity import Fidelity, Nearness, by_modality, check_fidelity, mean_of, nearness
from dae_pacs.quality.verdict import Verdict

NONE_KEPT = np.zeros((64, 64), dtype=bool)


def ramp() -> np.ndarray:
    return np.tile(np.linspace(0, 1000, 64, dtype=np.float32), (64, 1))


def test_rmse_and_psnr_follow_their_formulas():
    reference = ramp()
    image = reference + np.where(np.indices((64, 64)).sum(0) % 2, 10, -10).astype(np.float32)
    found = nearness(image, reference, NONE_KEPT)
    low, high = np.percentile(reference, [0.5, 99.5])
    assert found.rmse == pytest.approx(10, rel=1e-5)
    assert found.psnr_db == pytest.approx(20 * np.log10((high - low) / 10), rel=1e-5)


def test_ssim_of_a_constant_shift_is_its_luminance_term():
    # Two constant images: SSIM = (2ab + C1) / (a² + b² + C1), Wang et al. 2004, eq. 6 and 13.
    reference = np.full((64, 64), 100, dtype=np.float32)
    reference[:8] = 0  # gives the range; far from where the map is read
    image = reference + 20
    keep = NONE_KEPT.copy()
    keep[:24] = True
    found = nearness(image, reference, keep)
    c1 = (0.01 * 1.0) ** 2  # all counted pixels have one value: the peak is taken as 1
    assert found.ssim == pytest.approx((2 * 100 * 120 + c1) / (100**2 + 120**2 + c1), rel=1e-4)


def test_exact_copy_is_perfect():
    found = nearness(ramp(), ramp(), NONE_KEPT)
    assert (found.psnr_db, found.rmse) == (float("inf"), 0.0)
    assert found.ssim == pytest.approx(1)


def test_kept_pixels_do_not_count():
    keep = NONE_KEPT.copy()
    keep[:, :16] = True
    image = ramp() + 1
    spoilt = image.copy()
    spoilt[:, :16] = -2000
    assert nearness(spoilt, ramp(), keep).rmse == pytest.approx(1, rel=1e-5)


@pytest.mark.parametrize(
    ("image", "keep", "words"),
    [
        (np.zeros((64, 32), np.float32), np.zeros((64, 32), bool), "64×64"),
        (ramp(), np.ones((64, 64), bool), "no pixel counts"),
    ],
)
def test_what_cannot_be_compared_is_told(image, keep, words):
    with pytest.raises(PixelError, match=words):
        nearness(image, ramp(), keep)


def test_mean_has_its_standard_error():
    found = mean_of([1.0, 2.0, 3.0])
    assert (found.mean, found.count) == (2.0, 3)
    assert found.error == pytest.approx(1 / np.sqrt(3))
    assert mean_of([5.0]).error is None


def results(gains: list[float], modality: str = "CT") -> list[Fidelity]:
    return [
        Fidelity(f"{k}", modality, "HU", Nearness(30, 0.8, 10), Nearness(30 + gain, 0.9, 9))
        for k, gain in enumerate(gains)
    ]


@pytest.mark.parametrize(
    ("gains", "verdict"),
    [([3, 3.2, 2.9], Verdict.GOOD), ([-3, -3.2, -2.9], Verdict.BAD), ([3, -3, 0.1], Verdict.LOOK)],
)
def test_gain_decides(gains, verdict):
    assert check_fidelity(results(gains)).verdict is verdict


def test_modalities_stay_apart():
    both = results([3, 3]) + results([-2, -2.1], "DX")
    assert [key for key, _ in by_modality(both).items()] == [("CT", "HU"), ("DX", "HU")]
    check = check_fidelity(both)
    assert [row["modality"] for row in check.rows] == ["CT", "DX"]
    assert check.verdict is Verdict.BAD
