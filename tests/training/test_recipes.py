"""Every recipe trains through MONAI's command line, and says in words what is wrong with its input."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from dae_pacs.denoise.bundle import load_bundle

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
SUPERVISED = "training/recipes/supervised.yaml"
AUTOENCODER = "training/recipes/autoencoder.yaml"
TINY = {
    "architecture": "{'channels': [8, 16], 'strides': [2], 'residual_units': 1, 'features': 8}",
    "patch_px": 32,
    "shrink": 1,
    "validation_px": 64,
}


def test_training_is_data_only() -> None:
    for folder in ("training", "models"):
        assert list((ROOT / folder).rglob("*.py")) == []


def test_supervised_learns_and_leaves_a_bundle(run_recipe, noisy_images: Path, tmp_path: Path) -> None:
    (noisy_images / "notes.txt").write_text("no image")
    output = tmp_path / "run"
    run = run_recipe(
        SUPERVISED,
        data_dir=noisy_images,
        output_dir=output,
        steps=240,
        steps_per_epoch=120,
        learning_rate=0.01,
        name="clinic_dx_denoising",
        **{**TINY, "levels": "[0.1, 0.3]", "validation_levels": "[0.2]"},
    )
    assert run.returncode == 0, run.stderr[-2000:]
    assert "notes.txt" in run.stderr
    assert "1 of 7 files left out" in run.stderr
    scores = [json.loads(line) for line in (output / "scores.jsonl").read_text().splitlines()]
    assert [score["step"] for score in scores] == [120, 240]
    assert scores[-1]["psnr_db"] > scores[-1]["psnr_input_db"] + 1
    configuration = yaml.safe_load((output / "configuration.yaml").read_text())
    assert configuration["architecture"]["channels"] == [8, 16]
    assert configuration["learning_rate"] == 0.01
    assert len(list((output / "pictures").glob("*.png"))) >= 2
    bundle = output / "clinic_dx_denoising"
    assert load_bundle(bundle).identity.version == "0.1.0"
    assert (bundle / "configs" / "train.yaml").read_text() == (output / "configuration.yaml").read_text()


def test_autoencoder_takes_a_folder_and_gives_one(run_recipe, noisy_images: Path, tmp_path: Path) -> None:
    output = tmp_path / "run"
    run = run_recipe(
        AUTOENCODER,
        data_dir=noisy_images,
        output_dir=output,
        epochs=4,
        validate_every=2,
        patch_px=64,
        tensorboard=True,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    for source in noisy_images.iterdir():
        with Image.open(source) as before, Image.open(output / "denoised" / source.name) as after:
            assert (before.format, before.size, before.mode) == (after.format, after.size, after.mode)
            assert np.any(np.asarray(before) != np.asarray(after))
    assert len((output / "scores.jsonl").read_text().splitlines()) == 2
    assert list((output / "tensorboard").glob("events*"))


def test_an_empty_folder_is_refused_in_words(run_recipe, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    run = run_recipe(SUPERVISED, data_dir=tmp_path / "empty", output_dir=tmp_path / "run")
    assert run.returncode != 0
    assert "TrainingError" in run.stderr
    assert "holds no files. Put JPG, PNG, TIFF or DICOM images there." in run.stderr
    assert not (tmp_path / "run" / "xray_radiograph_denoising").exists()


def test_a_loss_that_breaks_ends_the_run_in_words(run_recipe, noisy_images: Path, tmp_path: Path) -> None:
    output = tmp_path / "run"
    run = run_recipe(
        SUPERVISED, data_dir=noisy_images, output_dir=output, steps=20, learning_rate=1e30, **TINY
    )
    assert run.returncode != 0
    assert "TrainingError: the loss became" in run.stderr
    assert "Lower the learning rate" in run.stderr
    assert not (output / "xray_radiograph_denoising").exists()
