"""Every recipe trains through MONAI's command line, and ends with a bundle that beats its input."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pydicom.data
import pytest
import yaml
from PIL import Image
from pydicom.dataset import Dataset
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from dae_pacs.denoise.bundle import load_bundle
from dae_pacs.image import files
from dae_pacs.image.pixels import decode

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
PLATEAU = {
    "_target_": "monai.handlers.LrScheduleHandler",
    "name": "dae_pacs.learn",
    "lr_scheduler": {
        "_target_": "torch.optim.lr_scheduler.ReduceLROnPlateau",
        "optimizer": "@optimizer",
        "factor": 0.5,
        "patience": 0,
        "threshold": 0.5,
    },
    "step_transform": "$lambda engine: @validate#evaluator.state.metrics['loss']",
}
"""As in training/README.md, but that only half of the lowest loss counts as lower."""


def scores_of(output: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (output / "scores.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def recorrupted(train, all_images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of the default recipe, on a folder that also holds what is no image."""
    folder = tmp_path_factory.mktemp("recorrupt")
    images = shutil.copytree(all_images / "noisy", folder / "images")
    (images / "notes.txt").write_text("no image")
    run = train("recorrupt", data_dir=images, output_dir=folder / "run", name="clinic_dx_denoising")
    assert run.returncode == 0, run.stderr[-2000:]
    assert "notes.txt" in run.stderr
    assert "1 of 7 files left out" in run.stderr
    return folder / "run"


def test_training_is_data_only() -> None:
    for folder in ("training", "models"):
        assert list((ROOT / folder).rglob("*.py")) == []


def test_recorrupt_learns_without_clean_images(recorrupted: Path, gain_db) -> None:
    assert gain_db(recorrupted / "denoised") > 5
    assert [score["step"] for score in scores_of(recorrupted)] == [120, 240]


def test_a_run_leaves_a_bundle_and_what_it_took(recorrupted: Path) -> None:
    bundle = load_bundle(recorrupted / "clinic_dx_denoising")
    assert bundle.identity.version == "0.1.0"
    noise = json.loads((bundle.folder / "configs" / "noise.json").read_text())["models"]
    assert [len(model["levels"]) >= 1 for model in noise] == [True]
    configuration = yaml.safe_load((recorrupted / "configuration.yaml").read_text())
    assert configuration["architecture"]["channels"] == [8, 16]
    assert configuration["learning_rate"] == 0.01
    assert configuration["alpha"] == [0.15, 0.75]


def test_a_run_leaves_pictures_and_curves(recorrupted: Path) -> None:
    assert len(list((recorrupted / "pictures").glob("*.png"))) == 2
    assert len(list((recorrupted / "denoised").glob("*.comparison.png"))) == 1
    events = EventAccumulator(str(recorrupted / "tensorboard"))
    events.Reload()
    assert {"training_loss", "loss"} <= set(events.Tags()["scalars"])
    assert [event.step for event in events.Scalars("loss")] == [120, 240]
    assert events.Tags()["images"]


def test_finetune_starts_where_a_bundle_ended(train, recorrupted: Path, tmp_path: Path, gain_db) -> None:
    run = train(
        "recorrupt",
        "finetune",
        output_dir=tmp_path / "run",
        bundle=recorrupted / "clinic_dx_denoising",
        steps=20,
        steps_per_epoch=20,
        learning_rate=0.0002,
        architecture="{'_target_': 'dae_pacs.learn.network.trained_architecture', 'bundle': '@bundle'}",
    )
    assert run.returncode == 0, run.stderr[-2000:]
    assert load_bundle(tmp_path / "run" / "my_denoising").network_config["channels"] == [8, 16]
    before, after = scores_of(recorrupted)[-1]["loss"], scores_of(tmp_path / "run")[-1]["loss"]
    assert after == pytest.approx(before, rel=0.01)
    assert gain_db(tmp_path / "run" / "denoised") > 5


def test_supervised_learns_from_pairs(train, all_images: Path, tmp_path: Path, gain_db) -> None:
    run = train("supervised", output_dir=tmp_path / "run", reference_dir=all_images / "clean")
    assert run.returncode == 0, run.stderr[-2000:]
    last = scores_of(tmp_path / "run")[-1]
    assert last["psnr_db"] > last["psnr_input_db"] + 5
    assert gain_db(tmp_path / "run" / "denoised") > 5


def test_simulated_learns_from_references(train, all_images: Path, tmp_path: Path) -> None:
    run = train(
        "simulated",
        data_dir=all_images / "clean",
        output_dir=tmp_path / "run",
        shrink=1,
        levels="[0.1, 0.3]",
        validation_levels="[0.2]",
    )
    assert run.returncode == 0, run.stderr[-2000:]
    last = scores_of(tmp_path / "run")[-1]
    assert last["psnr_db"] > last["psnr_input_db"] + 3


def test_neighbor2neighbor_learns_without_a_noise_model(train, tmp_path: Path, gain_db) -> None:
    run = train("neighbor2neighbor", output_dir=tmp_path / "run", patch_px=64, learning_rate=0.005)
    assert run.returncode == 0, run.stderr[-2000:]
    assert gain_db(tmp_path / "run" / "denoised") > 3


def test_noise2void_learns_without_a_noise_model(train, tmp_path: Path, gain_db) -> None:
    run = train("noise2void", output_dir=tmp_path / "run")
    assert run.returncode == 0, run.stderr[-2000:]
    assert gain_db(tmp_path / "run" / "denoised") > 3


@pytest.fixture
def series(tmp_path: Path) -> tuple[Path, Path]:
    """Twelve CT slices of a rod that widens slowly, noisy, and the same without noise."""
    template = pydicom.dcmread(pydicom.data.get_testdata_file("CT_small.dcm"))
    y, x = np.mgrid[:96, :96]
    folders = (tmp_path / "series", tmp_path / "clean_series")
    for folder in folders:
        folder.mkdir()
    for number in range(12):
        plane = 40.0 + 300 * (np.hypot(y - 48, x - 48) < 12 + number / 4) + 60 * np.sin(x / 12)
        noisy = plane + np.random.default_rng(number).normal(0, 40, plane.shape)
        for folder, values in zip(folders, (noisy, plane), strict=True):
            _slice(template, values, number).save_as(folder / f"{number:02}.dcm")
    return folders


def _slice(template: Dataset, values: np.ndarray, number: int) -> Dataset:
    ds = pydicom.dcmread(pydicom.data.get_testdata_file("CT_small.dcm"))
    ds.Rows, ds.Columns = values.shape
    ds.PixelData = (values - template.RescaleIntercept).round().astype("<i2").tobytes()
    for name in ("PixelPaddingValue", "SmallestImagePixelValue", "LargestImagePixelValue"):
        if name in ds:
            del ds[name]
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{number}"
    ds.InstanceNumber, ds.ImagePositionPatient = number, [0, 0, 5 * number]
    return ds


def test_neighbour_slices_learns_from_a_series(train, series: tuple[Path, Path], tmp_path: Path) -> None:
    noisy, clean = series
    output = tmp_path / "run"
    run = train("neighbour_slices", data_dir=noisy, output_dir=output)
    assert run.returncode == 0, run.stderr[-2000:]
    denoised = sorted((output / "denoised").glob("*.dcm"))
    assert denoised
    for path in denoised:
        truth, before, after = (
            decode(files.read(folder / path.name)).values for folder in (clean, noisy, output / "denoised")
        )
        assert np.std(after - truth) < np.std(before - truth) / 1.4  # 3 dB


def test_autoencoder_loses_what_it_had_gained_the_longer_it_trains(
    run_recipe, noisy_images: Path, tmp_path: Path, gain_db
) -> None:
    gains = []
    for epochs in (100, 500):
        output = tmp_path / str(epochs)
        run = run_recipe(
            "training/recipes/autoencoder.yaml",
            data_dir=noisy_images,
            output_dir=output,
            epochs=epochs,
            steps_per_epoch=2,
            learning_rate=0.003,
            batch_size=4,
            patch_px=32,
            validate_every=epochs // 2,
            tensorboard=True,
            **{
                "network_def#channels": "[8, 16]",
                "network_def#strides": "[2]",
                "network_def#num_res_units": 1,
            },
        )
        assert run.returncode == 0, run.stderr[-2000:]
        assert len(scores_of(output)) == 2
        assert list((output / "tensorboard").glob("events*"))
        for source in noisy_images.iterdir():
            with Image.open(source) as before, Image.open(output / "denoised" / source.name) as after:
                assert (before.format, before.size, before.mode) == (after.format, after.size, after.mode)
        gains.append(gain_db(output / "denoised"))
    assert gains[0] > 1
    assert gains[1] < gains[0] - 1


def test_rate_optimiser_and_loss_may_be_others(train, all_images: Path, tmp_path: Path) -> None:
    run = train(
        "supervised",
        output_dir=tmp_path / "run",
        reference_dir=all_images / "clean",
        steps=80,
        steps_per_epoch=20,
        tensorboard=False,
        rate=repr(PLATEAU),
        loss="{'_target_': 'dae_pacs.learn.losses.SquaredErrorWithStructure', 'ssim_share': 0.1}",
        **{"optimizer#_target_": "torch.optim.AdamW", "optimizer#weight_decay": 0.01},
    )
    assert run.returncode == 0, run.stderr[-2000:]
    last = scores_of(tmp_path / "run")[-1]
    assert last["psnr_db"] > last["psnr_input_db"]
    assert "Current learning rate: 0.005" in run.stderr, run.stderr[-2000:]
    assert not (tmp_path / "run" / "tensorboard").exists()
