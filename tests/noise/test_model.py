import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dae_pacs.errors import NoiseError
from dae_pacs.noise import vst
from dae_pacs.noise.model import NoiseModel, affine
from dae_pacs.noise.simulate import poisson_gaussian
from dae_pacs.noise.spectrum import gaussian_spectrum

RADIOGRAPH = affine(gain=2.0, offset=30.0, low=0.0, high=4000.0)
CT = NoiseModel(levels=(-1000.0, 0.0, 60.0, 1500.0), variances=(60.0, 200.0, 210.0, 150.0), unit="HU")
CONSTANT = NoiseModel(levels=(12.0,), variances=(9.0,))
MODELS = [RADIOGRAPH, CT, CONSTANT]


@st.composite
def models(draw):
    count = draw(st.integers(1, 6))
    steps = draw(st.lists(st.floats(0.1, 500), min_size=count, max_size=count))
    variances = draw(st.lists(st.floats(1e-3, 1e4), min_size=count, max_size=count))
    levels = np.cumsum(steps) + draw(st.floats(-2000, 2000))
    return NoiseModel(levels=tuple(map(float, levels)), variances=tuple(variances))


@settings(max_examples=60, deadline=None)
@given(models())
def test_stabiliser_increases_and_is_finite_far_beyond_what_was_measured(noise):
    low, high = noise.levels[0], noise.levels[-1]
    span = high - low + 100
    x = np.linspace(low - 50 * span, high + 50 * span, 3001).astype(np.float32)
    z = noise.stabilise(x)
    assert np.isfinite(z).all()
    assert (np.diff(z.astype(np.float64)) >= 0).all()
    coarse = noise.stabilise(np.array([low - span, low, high + 1, high + span], dtype=np.float32))
    assert (np.diff(coarse) > 0).all()


@settings(max_examples=60, deadline=None)
@given(models())
def test_json_gives_the_same_model_back(noise):
    assert NoiseModel.from_json(noise.to_json()) == noise


@pytest.mark.parametrize("noise", MODELS)
def test_stabilised_noise_has_sigma_one_at_every_level(noise, rng):
    for level in np.linspace(noise.levels[0], noise.levels[-1], 5):
        if noise is RADIOGRAPH and level == 0:
            continue
        x = level + noise.sigma_at(level) * rng.standard_normal(200_000)
        assert noise.stabilise(x.astype(np.float32)).std() == pytest.approx(1, abs=0.05)


def test_few_quanta_are_stabilised_as_anscombe_does(rng):
    counts = affine(gain=1.0, offset=1e-6, low=0.0, high=100.0)
    for level in (6.0, 20.0, 80.0):
        clean = np.full((500, 500), level, dtype=np.float32)
        noisy = poisson_gaussian(clean, gain=1, sigma=0, rng=rng)
        assert counts.stabilise(noisy).std() == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("level", [5.0, 20.0, 80.0])
def test_inverse_of_the_expected_value_is_unbiased(level, rng):
    counts = affine(gain=1.0, offset=0.5, low=0.0, high=200.0)
    clean = np.full((600, 600), level, dtype=np.float32)
    noisy = poisson_gaussian(clean, gain=1, sigma=np.sqrt(0.5), rng=rng)
    mean_z = counts.stabilise(noisy).mean(dtype=np.float64)
    restored = counts.invert(np.array([mean_z], dtype=np.float32))[0]
    assert restored == pytest.approx(level, abs=0.08)


@pytest.mark.parametrize("noise", MODELS)
def test_inverse_undoes_the_stabiliser_within_a_small_part_of_sigma(noise):
    x = np.linspace(noise.levels[0], noise.levels[-1] + 1, 400).astype(np.float32)
    assert np.abs((noise.invert(noise.stabilise(x)) - x) / noise.sigma_at(x)).max() < 0.15


def test_unchanged_z_gives_x_back_bit_for_bit(rng):
    for noise in MODELS:
        x = (noise.levels[0] + 300 * rng.random((3, 50, 40))).astype(np.float32)
        z = noise.stabilise(x)
        z_new = z.copy()
        z_new[0] -= 0.5
        out = noise.carry_over(x, z, z_new, strength=0.7)
        assert np.array_equal(out[1:], x[1:])
        assert (out[0] < x[0]).all()
        assert np.array_equal(noise.carry_over(x, z, z_new, strength=0), x)


@pytest.mark.parametrize("strength", [0.4, 1.0])
def test_a_perfect_denoiser_leaves_no_bias(strength, rng):
    counts = affine(gain=1.0, offset=0.5, low=0.0, high=200.0)
    for level in (8.0, 40.0):
        clean = np.full((600, 600), level, dtype=np.float32)
        x = poisson_gaussian(clean, gain=1, sigma=np.sqrt(0.5), rng=rng)
        z = counts.stabilise(x)
        out = counts.carry_over(x, z, z + strength * (z.mean() - z), strength=strength)
        assert out.mean(dtype=np.float64) == pytest.approx(level, abs=0.05)
        assert out.std() == pytest.approx((1 - strength) * np.sqrt(level + 0.5), abs=0.06)


def test_sample_follows_variance_and_spectrum(rng):
    noise = affine(gain=0.5, offset=4.0, low=0.0, high=100.0, spectrum=gaussian_spectrum(0.8))
    for level in (0.0, 80.0):
        drawn = noise.sample(np.full((300, 300), level, dtype=np.float32), rng)
        assert drawn.dtype == np.float32
        assert drawn.std() == pytest.approx(np.sqrt(0.5 * level + 4), rel=0.03)
        assert np.corrcoef(drawn[1:].ravel(), drawn[:-1].ravel())[0, 1] > 0.6


@pytest.mark.parametrize(
    ("levels", "variances", "spectrum"),
    [
        ((), (), ((1.0,),)),
        ((1.0,), (1.0, 2.0), ((1.0,),)),
        ((2.0, 1.0), (1.0, 1.0), ((1.0,),)),
        ((1.0, 2.0), (1.0, 0.0), ((1.0,),)),
        ((1.0, 2.0), (1.0, float("nan")), ((1.0,),)),
        ((1.0,), (1.0,), ((1.0, 2.0),)),
        ((1.0,), (1.0,), ((-1.0,),)),
        ((1.0,), (1.0,), ()),
    ],
)
def test_impossible_models_are_refused(levels, variances, spectrum):
    with pytest.raises(NoiseError, match="Noise model"):
        NoiseModel(levels=levels, variances=variances, spectrum=spectrum)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[" * 100_000,
        "[]",
        "{}",
        "null",
        json.dumps({"levels": ["a"], "variances": [1]}),
        CT.to_json().replace("60.0", "NaN"),
    ],
)
def test_what_is_no_noise_model_is_refused_in_words(text):
    with pytest.raises(NoiseError, match="Noise model"):
        NoiseModel.from_json(text)


def test_a_saved_model_is_loaded_as_it_was(tmp_path):
    CT.save(tmp_path / "noise.json")
    assert NoiseModel.load(tmp_path / "noise.json") == CT
    assert [path.name for path in tmp_path.iterdir()] == ["noise.json"]


def test_a_file_that_holds_no_model_is_refused_in_words(tmp_path):
    with pytest.raises(NoiseError, match="can't be read"):
        NoiseModel.load(tmp_path / "missing.json")
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(NoiseError, match="can't be read"):
        NoiseModel.load(tmp_path / "bytes.json")
    (tmp_path / "empty.json").write_text("")
    with pytest.raises(NoiseError, match="not what dae-pacs wrote"):
        NoiseModel.load(tmp_path / "empty.json")


@pytest.mark.parametrize("level", [1.0, 3.0, 10.0, 100.0, 1000.0, 10000.0])
def test_counts_from_one_to_ten_thousand_are_stabilised_and_come_back_unbiased(level, rng):
    counts = affine(gain=1.0, offset=1e-6, low=0.0, high=12000.0)
    noisy = poisson_gaussian(np.full((500, 500), level, dtype=np.float32), gain=1, sigma=0, rng=rng)
    z = counts.stabilise(noisy)
    # Anscombe's root is known to fall short below about 4 counts (Makitalo & Foi 2011, figure 1).
    assert z.std() == pytest.approx(1, abs=0.03 if level >= 10 else 0.25)
    restored = counts.invert(np.array([z.mean(dtype=np.float64)], dtype=np.float32))[0]
    assert restored == pytest.approx(level, abs=0.2 + 0.003 * level)


def test_equal_models_write_equal_json():
    again = NoiseModel(levels=CT.levels, variances=CT.variances, unit="HU")
    assert again.to_json() == CT.to_json()
    assert "\n" not in CT.to_json()


def test_a_line_is_the_same_however_many_nodes_it_has(rng):
    x = np.concatenate([rng.uniform(-500, 4000, 20_000), [0.0, 3000.0]]).astype(np.float32)
    few, many = (
        NoiseModel(levels=tuple(levels), variances=tuple(100 + 0.2 * levels))
        for levels in (np.linspace(0, 3000, nodes) for nodes in (2, 9))
    )
    assert len(few.levels) <= vst.FEW_NODES < len(many.levels)
    z = few.stabilise(x)
    np.testing.assert_allclose(z, many.stabilise(x), atol=1e-5)
    np.testing.assert_allclose(few.invert(z), many.invert(z), atol=2e-3)
    blurred = (z + rng.uniform(-3, 3, len(z))).astype(np.float32)
    np.testing.assert_allclose(
        few.carry_over(x, z, blurred, strength=0.7), many.carry_over(x, z, blurred, strength=0.7), atol=2e-3
    )
