import io
from time import process_time

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.data import get_testdata_file

from dae_pacs.errors import NoiseError
from dae_pacs.image.pixels import decode
from dae_pacs.noise.estimate import estimate, fallback, flat_sigma
from dae_pacs.noise.simulate import correlated, halve, poisson_gaussian
from dae_pacs.noise.spectrum import gaussian_spectrum


def ratio(model, clean, *, gain, sigma):
    """Estimated over true standard deviation, root mean square over the pixels."""
    true = gain * np.maximum(clean, 0) + sigma**2
    return float(np.sqrt(model.variance_at(clean).mean() / true.mean()))


@pytest.mark.parametrize("blur_px", [0.0, 0.8])
@pytest.mark.parametrize(("gain", "sigma"), [(0.0, 12.0), (0.5, 5.0), (2.0, 10.0)])
def test_sigma_of_a_radiograph_is_found_a_little_low(radiograph, blur_px, gain, sigma, rng):
    noisy = correlated(radiograph, gain=gain, sigma=sigma, blur_px=blur_px, rng=rng)
    assert 0.93 <= ratio(estimate([noisy]), radiograph, gain=gain, sigma=sigma) <= 1.02


def test_counting_noise_is_found_too(radiograph, rng):
    noisy = poisson_gaussian(radiograph, gain=1.5, sigma=8, rng=rng)
    model = estimate([noisy])
    assert 0.93 <= ratio(model, radiograph, gain=1.5, sigma=8) <= 1.02
    assert model.origin == "estimate"
    assert model.patches > 50


def test_variance_rises_with_the_signal_as_it_was_made_to(radiograph, rng):
    model = estimate([correlated(radiograph, gain=2, sigma=5, blur_px=0, rng=rng)])
    low, high = model.variance_at(np.array([400.0, 800.0]))
    assert (high - low) / 400 == pytest.approx(2, rel=0.2)


@pytest.mark.parametrize("blur_px", [0.0, 0.8])
def test_slices_of_a_ct_are_pooled(ct_slices, blur_px, rng):
    noisy = [correlated(one, gain=0, sigma=15, blur_px=blur_px, rng=rng) for one in ct_slices]
    model = estimate(noisy, [one < -900 for one in ct_slices], unit="HU")
    assert 0.93 <= float(model.sigma_at(40.0)) / 15 <= 1.02
    assert model.unit == "HU"


def test_spectrum_is_that_of_the_noise(radiograph, rng):
    noisy = correlated(radiograph, gain=0.5, sigma=10, blur_px=0.8, rng=rng)
    found, true = np.array(estimate([noisy]).spectrum), np.array(gaussian_spectrum(0.8))
    assert np.abs(found - true)[:8, :8].max() < 0.2 * true.max()
    assert found[:3, :3].mean() == pytest.approx(true[:3, :3].mean(), rel=0.15)


def test_white_noise_has_a_flat_spectrum(radiograph, rng):
    found = np.array(estimate([poisson_gaussian(radiograph, gain=0.5, sigma=10, rng=rng)]).spectrum)
    assert np.abs(found - 1).max() < 0.35


def test_stabilised_radiograph_has_noise_of_one(radiograph, rng):
    noisy = correlated(radiograph, gain=1, sigma=6, blur_px=0.8, rng=rng)
    model = estimate([noisy])
    rest = model.stabilise(noisy) - model.stabilise(radiograph)
    assert rest.std() == pytest.approx(1.02, abs=0.06)


def test_the_same_frames_give_the_same_model(radiograph, rng):
    noisy = poisson_gaussian(radiograph, gain=1, sigma=6, rng=rng)
    assert estimate([noisy]) == estimate([noisy.copy()])


@pytest.mark.parametrize("shape", [(8, 512, 512), (1, 2000, 2500)])
def test_it_takes_a_fraction_of_a_second(shape, rng):
    frames = list((rng.standard_normal(shape) * 9 + np.linspace(0, 900, shape[2])).astype(np.float32))
    started = process_time()
    estimate(frames)
    assert process_time() - started < 1.5


def test_what_is_kept_does_not_count(radiograph, rng):
    noisy = poisson_gaussian(radiograph, gain=0, sigma=10, rng=rng)
    noisy[:, :300] += 200 * rng.standard_normal((600, 300)).astype(np.float32)
    noisy[0, 0] = np.nan
    keep = np.zeros(noisy.shape, dtype=bool)
    keep[:, :300] = True
    assert 0.93 <= float(estimate([noisy], [keep]).sigma_at(600.0)) / 10 <= 1.03


def test_clipped_and_constant_areas_do_not_pull_the_noise_down(radiograph, rng):
    noisy = poisson_gaussian(radiograph, gain=0, sigma=10, rng=rng)
    noisy = np.clip(np.round(noisy), 400, 800).astype(np.float32)
    assert 0.93 <= float(estimate([noisy]).sigma_at(600.0)) / 10 <= 1.03


def test_too_little_area_is_refused_in_words(rng):
    with pytest.raises(NoiseError, match="too little flat area"):
        estimate([rng.standard_normal((40, 40)).astype(np.float32)])
    big = rng.standard_normal((300, 300)).astype(np.float32)
    with pytest.raises(NoiseError, match="too little flat area"):
        estimate([big], [np.ones(big.shape, dtype=bool)])
    with pytest.raises(NoiseError, match="too little flat area"):
        estimate([])


def test_constant_image_is_refused_in_words():
    with pytest.raises(NoiseError, match="Noise not measured"):
        estimate([np.full((300, 300), 7, dtype=np.float32)])


def test_nearly_all_clipped_is_refused_in_words(rng):
    frame = np.clip(rng.standard_normal((300, 300)), 0, 1).astype(np.float32)
    with pytest.raises(NoiseError, match="unclipped"):
        estimate([frame])


@pytest.mark.parametrize("quality", [15, 40])
def test_visible_jpeg_blocks_are_refused_in_words(radiograph, quality, rng):
    noisy = poisson_gaussian(radiograph / 5, gain=0, sigma=4, rng=rng)
    file = io.BytesIO()
    Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)).save(file, "JPEG", quality=quality)
    with pytest.raises(NoiseError, match="8×8 blocks"):
        estimate([np.asarray(Image.open(file), dtype=np.float32)])


@pytest.mark.parametrize("rounded", [False, True])
def test_no_noise_is_refused_in_words(rounded):
    smooth = np.add.outer(np.linspace(0, 300, 400), np.linspace(0, 500, 400))
    with pytest.raises(NoiseError, match="practically none"):
        estimate([(np.round(smooth) if rounded else smooth).astype(np.float32)])


@pytest.mark.parametrize("rounded", [False, True])
def test_fallback_for_no_noise_is_too_small_to_matter(rounded):
    smooth = np.add.outer(np.linspace(0, 300, 400), np.linspace(0, 500, 400))
    model = fallback([(np.round(smooth) if rounded else smooth).astype(np.float32)])
    assert float(model.sigma_at(100.0)) < 0.05


def test_fallback_finds_white_noise(radiograph, rng):
    model = fallback([poisson_gaussian(radiograph, gain=0, sigma=10, rng=rng)])
    assert float(model.sigma_at(500.0)) == pytest.approx(10, rel=0.15)
    assert model.origin == "fallback"


@pytest.mark.parametrize(
    "frame",
    [
        np.zeros((64, 64)),
        np.full((64, 64), 1e30),
        np.full((64, 64), -1e-30),
        np.zeros((1, 1)),
        np.zeros((1, 50)),
        np.zeros((0, 5)),
        np.array([[np.nan, 1.0], [2.0, 3.0]]),
        np.full((4, 4), np.nan),
    ],
)
def test_fallback_never_fails(frame):
    model = fallback([frame.astype(np.float32)])
    assert np.isfinite(model.sigma_at(0.0))
    assert model.sigma_at(0.0) > 0


def test_fallback_never_fails_without_frames_or_pixels():
    assert fallback([]).sigma_at(0.0) > 0
    frame = np.ones((9, 9), dtype=np.float32)
    assert fallback([frame], [np.ones((9, 9), dtype=bool)]).sigma_at(0.0) > 0


def test_flat_sigma_is_the_noise_where_nothing_else_is(radiograph, rng):
    noisy = poisson_gaussian(radiograph, gain=0, sigma=10, rng=rng)
    assert flat_sigma(noisy) == pytest.approx(10, rel=0.05)
    assert flat_sigma(noisy, radiograph < 500) == pytest.approx(10, rel=0.05)
    less = radiograph + 0.3 * (noisy - radiograph)
    assert flat_sigma(less) == pytest.approx(3, rel=0.08)


def test_flat_sigma_of_little_or_nothing_is_a_number():
    assert flat_sigma(np.zeros((5, 5), dtype=np.float32)) == 0
    assert flat_sigma(np.zeros((500, 500), dtype=np.float32)) == 0
    assert flat_sigma(np.full((5, 5), np.nan, dtype=np.float32)) == 0


@pytest.mark.parametrize("blur_px", [0.0, 0.8])
@pytest.mark.parametrize("name", ["RG2_JLSL", "RG3_JLSL", "CT1_JLSL", "CT2_JLSL", "XA1_JLSL"])
def test_sigma_on_real_anatomy_is_found_a_little_low(shared_data, name, blur_px, rng):
    image = pydicom.dcmread(shared_data / "dicom" / "wg04" / "JLSL" / name)
    clean = halve(decode(image).values[0])
    clean -= np.percentile(clean, 1)
    span = float(np.percentile(clean, 99))
    gain, sigma = 0.0064 * span, 0.0566 * span
    noisy = correlated(clean, gain=gain, sigma=sigma, blur_px=blur_px, rng=rng)
    assert 0.93 <= ratio(estimate([noisy]), clean, gain=gain, sigma=sigma) <= 1.02


def as_reference(name):
    """Halve one of pydicom's images and scale it to 0..1."""
    clean = halve(decode(pydicom.dcmread(get_testdata_file(name))).values[0])
    low, high = np.percentile(clean, [0.5, 99.5])
    return ((clean - low) / (high - low)).astype(np.float32)


@pytest.mark.parametrize("blur_px", [0.0, 0.8])
@pytest.mark.parametrize("level", [0.05, 0.1])
@pytest.mark.parametrize("name", ["RG1_UNCR.dcm", "RG3_UNCR.dcm", "693_UNCR.dcm"])
def test_sigma_on_images_of_pydicom_is_found_a_little_low(name, level, blur_px, rng):
    clean = as_reference(name)
    gain, sigma = 1.6 * level**2, 0.447 * level
    noisy = correlated(clean, gain=gain, sigma=sigma, blur_px=blur_px, rng=rng)
    assert 0.93 <= ratio(estimate([noisy]), clean, gain=gain, sigma=sigma) <= 1.03


@pytest.mark.parametrize("blur_px", [0.0, 0.8])
def test_one_small_slice_with_hardly_a_flat_square_is_not_far_off(blur_px, rng):
    clean = as_reference("explicit_VR-UN.dcm")
    noisy = correlated(clean, gain=0.004, sigma=0.0224, blur_px=blur_px, rng=rng)
    assert 0.9 <= ratio(estimate([noisy]), clean, gain=0.004, sigma=0.0224) <= 1.12


def test_spectrum_keeps_its_low_end_on_real_anatomy(rng):
    clean = as_reference("RG1_UNCR.dcm")
    noisy = correlated(clean, gain=0.004, sigma=0.0224, blur_px=0.8, rng=rng)
    found, true = np.array(estimate([noisy]).spectrum), np.array(gaussian_spectrum(0.8))
    assert found[:4, :4].mean() == pytest.approx(true[:4, :4].mean(), rel=0.08)


def test_weak_noise_among_structure_is_not_taken_for_more(rng):
    clean = as_reference("RG1_UNCR.dcm")
    noisy = poisson_gaussian(clean, gain=0.00064, sigma=0.009, rng=rng)
    assert 0.93 <= ratio(estimate([noisy]), clean, gain=0.00064, sigma=0.009) <= 1.04


def test_levels_that_hold_only_structure_do_not_count(ct_slices, rng):
    noisy = [correlated(one, gain=0, sigma=15, blur_px=0.8, rng=rng) for one in ct_slices]
    model = estimate(noisy, [one < -900 for one in ct_slices])
    found = np.array(model.spectrum)
    assert found[:4, :4].mean() == pytest.approx(np.array(gaussian_spectrum(0.8))[:4, :4].mean(), rel=0.1)


@pytest.mark.parametrize("blur_px", [0.0, 0.8])
def test_fallback_finds_correlated_noise_too(ct_slices, blur_px, rng):
    frame = correlated(ct_slices[0], gain=0, sigma=15, blur_px=blur_px, rng=rng)[60:124, 60:124]
    with pytest.raises(NoiseError, match="too little flat area"):
        estimate([frame[:40, :40]])
    model = fallback([frame])
    assert 0.8 <= float(model.sigma_at(40.0)) / 15 <= 1.05
    assert model.origin == "fallback"


@pytest.mark.parametrize("seed", range(4))
def test_an_even_image_has_an_even_variance(seed):
    frame = (500 + 30 * np.random.default_rng(seed).standard_normal((300, 300))).astype(np.float32)
    model = estimate([frame])
    assert 0.93 <= float(model.sigma_at(500.0)) / 30 <= 1.03
    assert model.sigma_at(0.0) == model.sigma_at(1000.0)
