import numpy as np
import pytest

from dae_pacs.noise.spectrum import WHITE, gaussian_spectrum, unit_noise
from dae_pacs.quality.edge import check_edges, edge_responses, slanted_edge
from dae_pacs.quality.inserted import check_lesions, disc, insert, signal_to_noise
from dae_pacs.quality.verdict import Verdict


@pytest.fixture
def places() -> np.ndarray:
    """Twenty flat places with white noise of 10."""
    return (200 + 10 * np.random.default_rng(0).standard_normal((20, 64, 64))).astype(np.float32)


def test_disc_has_its_area():
    assert disc(16).sum() == pytest.approx(np.pi * 64, rel=0.01)
    np.testing.assert_array_equal(disc(8), disc(8)[::-1, ::-1])


def test_signal_to_noise_is_the_matched_filters():
    profile = disc(8)
    assert signal_to_noise(profile, WHITE) == pytest.approx(np.sqrt(np.square(profile).sum()), rel=1e-5)
    rng = np.random.default_rng(0)
    spectrum = gaussian_spectrum(1.0)
    response = [float((unit_noise((64, 64), spectrum, rng) * profile).sum()) for _ in range(800)]
    measured = float(np.square(profile).sum()) / np.std(response)
    assert signal_to_noise(profile, spectrum) == pytest.approx(measured, rel=0.1)


def test_object_is_inserted_at_its_contrast(places, white):
    added = insert(places, disc(8), 2.0, white) - places
    np.testing.assert_allclose(added[:, 31, 31], 20, rtol=1e-4)


def test_identity_keeps_every_object_and_edge(places, white):
    lesions = check_lesions(places, lambda frames: frames, noise=white, strength=1)
    assert lesions.verdict is Verdict.GOOD
    assert lesions.numbers["recovered_least"] == pytest.approx(1, abs=1e-3)
    edges = check_edges(edge_responses(places, lambda frames: frames, white))
    assert edges.verdict is Verdict.GOOD
    assert edges.numbers["width_after_px"] == pytest.approx(edges.numbers["width_before_px"], abs=0.02)


def test_what_is_wiped_out_keeps_the_share_that_the_strength_leaves(places, white):
    def wipe(frames: np.ndarray) -> np.ndarray:
        return frames + np.float32(0.7) * (frames.mean(axis=(1, 2), keepdims=True) - frames)

    check = check_lesions(places, wipe, noise=white, strength=0.7)
    assert check.verdict is Verdict.BAD
    assert check.numbers["recovered_least"] == pytest.approx(0.3, abs=0.03)
    assert check.rows[0]["recovered at full strength"] == pytest.approx(0, abs=0.05)


def test_blur_loses_small_objects_and_widens_edges(places, white, blurred):
    check = check_lesions(places, lambda frames: blurred(frames, 1.5), noise=white, strength=1)
    assert check.verdict is Verdict.BAD
    small, large = check.rows[2], check.rows[-1]
    assert small["recovered"] < 0.6 < large["recovered"]
    edges = edge_responses(places, lambda frames: blurred(frames, 1.0), white)
    # A Gaussian's 10 to 90 % distance is 2.563 sigma; the pixels' own width adds to it a little.
    assert edges[-1].width_after_px == pytest.approx(np.hypot(2.563, edges[-1].width_before_px), rel=0.1)
    at_quarter = np.interp(0.25, edges[-1].frequency, edges[-1].transfer)
    assert at_quarter == pytest.approx(np.exp(-2 * np.pi**2 * 0.25**2), rel=0.1)
    assert check_edges(edges).verdict is Verdict.BAD


def test_edge_is_slanted_and_half_covered_on_its_line():
    image, distance = slanted_edge()
    assert image.min() == 0
    assert image.max() == 1
    assert np.abs(image[np.abs(distance) < 0.02] - 0.5).max(initial=0) < 0.1


def test_too_few_places_are_told(places, white):
    assert check_lesions(places[:1], lambda f: f, noise=white, strength=1).verdict is Verdict.UNKNOWN
    assert check_edges(edge_responses(places[:1], lambda f: f, white)).verdict is Verdict.UNKNOWN
