"""Noise models for the images of a folder."""

from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.data import get_testdata_file

from dae_pacs.errors import TrainingError
from dae_pacs.learn.data import find_data
from dae_pacs.learn.measure import measure_noise, noise_models
from dae_pacs.noise.model import NoiseModel


def write_noisy(path: Path, *, sigma: float, seed: int, side: int = 160) -> None:
    y, x = np.mgrid[:side, :side]
    plane = 100 + 40 * np.sin(x / 60 + seed) + 20 * np.cos(y / 50)
    path.parent.mkdir(parents=True, exist_ok=True)
    noisy = plane + np.random.default_rng(seed).normal(0, sigma, plane.shape)
    Image.fromarray(np.clip(np.rint(noisy), 0, 255).astype(np.uint8)).save(path)


def write_flat(path: Path, *, sides: tuple[int, int] = (128, 128)) -> None:
    """A ramp without noise: the estimate is refused."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.add.outer(*map(np.arange, sides)).astype(np.uint8)).save(path)


def test_each_folder_of_pictures_has_its_own_noise(tmp_path: Path) -> None:
    for folder, sigma in (("quiet", 4.0), ("loud", 12.0)):
        for seed in range(3):
            write_noisy(tmp_path / folder / f"{seed}.png", sigma=sigma, seed=seed)
    data = measure_noise(find_data(tmp_path))
    sigmas = {
        Path(str(item["image"])).parent.name: float(NoiseModel.from_json(str(item["noise"])).sigma_at(100.0))
        for item in (*data.training, *data.validation)
    }
    assert sigmas == {"quiet": pytest.approx(4, rel=0.07), "loud": pytest.approx(12, rel=0.07)}
    assert len(noise_models(data)) == 2


def test_a_model_that_fits_worse_than_asked_is_not_learned_from(tmp_path: Path) -> None:
    for folder, sigma in (("quiet", 4.0), ("loud", 12.0)):
        for seed in range(3):
            write_noisy(tmp_path / folder / f"{seed}.png", sigma=sigma, seed=seed)
    found = find_data(tmp_path)
    better, worse = sorted(model.misfit for model in noise_models(measure_noise(found)))
    data = measure_noise(found, worst_misfit=(better + worse) / 2)
    assert [model.misfit for model in noise_models(data)] == [better]
    assert len(data.problems) == 3
    assert all("not well enough to learn from" in reason for _, reason in data.problems)
    with pytest.raises(TrainingError, match="hardly agree"):
        measure_noise(found, worst_misfit=better / 2)


def test_pictures_of_another_depth_are_measured_apart(tmp_path: Path) -> None:
    for seed in range(2):
        write_noisy(tmp_path / f"{seed}.png", sigma=5, seed=seed)
        with Image.open(tmp_path / f"{seed}.png") as image:
            deep = np.asarray(image).astype(np.uint16) * 100
        Image.fromarray(deep).save(tmp_path / f"deep-{seed}.png")
    models = noise_models(measure_noise(find_data(tmp_path)))
    sigmas = sorted(float(model.variances[0]) ** 0.5 for model in models)
    assert sigmas == [pytest.approx(5, rel=0.1), pytest.approx(500, rel=0.1)]


def test_the_slices_of_a_series_are_measured_together(tmp_path: Path) -> None:
    for number in range(5):
        ds = pydicom.dcmread(str(get_testdata_file("CT_small.dcm")))
        pixels = ds.pixel_array.copy()
        pixels[0, 0] = number
        ds.PixelData = pixels.tobytes()
        ds.SeriesInstanceUID = f"1.2.{number // 3}"
        ds.save_as(tmp_path / f"{number}.dcm")
    data = find_data(tmp_path)
    assert len({item["acquisition"] for item in (*data.training, *data.validation)}) == 2


def test_a_group_without_noise_is_left_out_with_the_reason(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for seed in range(3):
        write_noisy(tmp_path / "noisy" / f"{seed}.png", sigma=5, seed=seed)
    write_flat(tmp_path / "drawn" / "ramp.png")
    with caplog.at_level("WARNING", logger="dae_pacs.learn"):
        data = measure_noise(find_data(tmp_path))
    assert [Path(path).name for path, _ in data.problems] == ["ramp.png"]
    assert "practically none" in data.problems[0][1]
    assert "ramp.png" in caplog.text
    assert {Path(str(item["image"])).name for item in (*data.training, *data.validation)} == {
        "0.png",
        "1.png",
        "2.png",
    }


def test_an_image_is_held_out_even_where_the_held_out_ones_are_left_out(tmp_path: Path) -> None:
    for seed in range(3):
        write_noisy(tmp_path / "noisy" / f"{seed}.png", sigma=5, seed=seed)
    write_flat(tmp_path / "drawn" / "ramp.png")
    data = measure_noise(find_data(tmp_path, validation_images=["drawn/ramp.png"]))
    assert len(data.training) == 2
    assert len(data.validation) == 1


def test_nothing_measurable_names_the_recipes_that_still_work(tmp_path: Path) -> None:
    write_flat(tmp_path / "a.png")
    write_flat(tmp_path / "b.png", sides=(112, 128))
    with pytest.raises(TrainingError, match="neighbor2neighbor and noise2void"):
        measure_noise(find_data(tmp_path))


def test_a_bound_stands_in_for_the_measurement_when_asked(tmp_path: Path) -> None:
    write_flat(tmp_path / "a.png")
    write_flat(tmp_path / "b.png", sides=(112, 128))
    data = measure_noise(find_data(tmp_path), refused="fallback")
    assert [model.origin for model in noise_models(data)] == ["fallback"]
    assert data.problems == ()


def test_three_images_are_enough(tmp_path: Path) -> None:
    for seed in range(3):
        write_noisy(tmp_path / f"{seed}.png", sigma=5, seed=seed)
    data = measure_noise(find_data(tmp_path))
    assert (len(data.training), len(data.validation)) == (2, 1)
