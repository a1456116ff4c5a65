"""`dae-pacs train`: from a folder of noisy images to a bundle that the other commands take at once."""

import json
import os
import re
import resource
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from pydicom import dcmread
from pydicom.data import get_testdata_file

from dae_pacs.cli import train as command
from dae_pacs.demo.phantoms import Study, ct_series, write_all
from dae_pacs.denoise.bundle import load_bundle
from dae_pacs.denoise.engine import open_denoiser
from dae_pacs.learn import plan as plans
from dae_pacs.noise.model import NoiseModel

Run = Callable[..., Any]

TINY = (
    *("--set", "architecture={'channels': [8, 16], 'strides': [2], 'residual_units': 1, 'features': 8}"),
    *("--set", "patch_px=32", "--set", "validation_px=64"),
    *("--set", "threads=1", "--set", "tensorboard=False"),
)  # fmt: skip
SHORT = ("--steps", "8", "--set", "steps_per_epoch=4", *TINY)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def drawing(seed: int) -> np.ndarray:
    """Draw discs on waves; (128, 160) float."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:128, :160]
    plane = 90 + 40 * np.sin(x / 30 + seed)
    for _ in range(6):
        row, column, radius = rng.uniform(0, 128), rng.uniform(0, 160), rng.uniform(6, 25)
        plane += rng.uniform(-30, 30) * ((y - row) ** 2 + (x - column) ** 2 < radius**2)
    return plane


def picture(seed: int) -> np.ndarray:
    """Put noise on a drawing; uint8."""
    noisy = drawing(seed) + np.random.default_rng(seed + 1000).normal(0, 8, (128, 160))
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Three JPG images, the fewest that make sense."""
    folder = tmp_path / "images"
    folder.mkdir()
    for seed in range(3):
        Image.fromarray(picture(seed)).save(folder / f"doe_jane_{seed}.jpg", quality=98)
    return folder


def test_three_pictures_become_a_bundle_that_denoise_takes_at_once(
    run: Run, images: Path, tmp_path: Path
) -> None:
    (images / "notes.txt").write_text("no image")
    ran = run("train", images, "--name", "clinic_dx", *SHORT)

    assert ran.code == 0, ran.err
    for words in (
        "notes.txt",
        "Only 3 files",
        "independent",
        "8 steps",
        "validation and a checkpoint every 4",
    ):
        assert words in ran.out
    assert "notes.txt" in (tmp_path / "runs" / "clinic_dx" / "left_out.txt").read_text()
    assert "step 4 of 8" in ran.err
    assert "left" in ran.err
    bundle = tmp_path / "dae-pacs-models" / "clinic_dx"
    assert load_bundle(bundle).identity.name == "clinic_dx"
    assert f"dae-pacs denoise {images} --output denoised --model clinic_dx" in ran.out

    taken = run("denoise", images, "--output", tmp_path / "out", "--model", "clinic_dx")
    assert taken.code == 0, taken.err
    assert len(list((tmp_path / "out").glob("*.jpg"))) == 3


def test_the_bundle_tells_what_it_learned_from_and_names_no_file(
    run: Run, images: Path, tmp_path: Path
) -> None:
    assert run("train", images, "--name", "clinic_dx", "--pictures", *SHORT).code == 0
    bundle = tmp_path / "dae-pacs-models" / "clinic_dx"

    card = (bundle / "docs" / "README.md").read_text()
    for words in (
        "| trained on | 2 | 2 | 2 | 2 JPEG |",
        "Noise, as measured",
        "dae-pacs train DATA",
        "| 8 | ",
    ):
        assert words in card
    for link in ("course.png", "picture_1.png"):
        assert f"({link})" in card
        assert (bundle / "docs" / link).stat().st_size > 0
    models = json.loads((bundle / "configs" / "noise.json").read_text())["models"]
    assert [NoiseModel.from_json(json.dumps(model)).origin for model in models] == ["estimate"]
    for text in (card, (bundle / "configs" / "train.yaml").read_text()):
        assert "doe_jane" not in text
        assert str(images) not in text
    told = json.loads((bundle / "configs" / "metadata.json").read_text())
    assert told["authors"] == plans.SITE


def test_dicom_of_two_patients_is_learned_from_and_denoised(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "dicom"
    for number in range(2):
        series = ct_series(Study(patient_id=f"P{number}"), slices=2, size=160, seed=number)
        write_all(series, folder / str(number))
    small = Path(get_testdata_file("CT_small.dcm", download=False))
    (folder / "small.dcm").write_bytes(small.read_bytes())
    (folder / "report.dcm").write_bytes(Path(get_testdata_file("test-SR.dcm", download=False)).read_bytes())

    ran = run("train", folder, "--name", "clinic_ct", *SHORT)
    assert ran.code == 0, ran.err
    assert " CT" in ran.out
    assert "correlated" in ran.out
    assert "Left out" in ran.out

    out = tmp_path / "out"
    assert run("denoise", folder / "0", "--output", out, "--model", "clinic_ct").code == 0
    assert {dcmread(path).ImageType[0] for path in out.glob("*.dcm")} == {"DERIVED"}


@pytest.mark.slow
def test_the_same_run_by_monais_own_command_line_gives_the_same_bits(
    run: Run, images: Path, tmp_path: Path
) -> None:
    assert run("train", images, "--name", "clinic_dx", "--seed", "7", *SHORT).code == 0
    weights = tmp_path / "runs" / "clinic_dx" / "clinic_dx" / "models" / "model.safetensors"
    ours = weights.read_bytes()
    header = (tmp_path / "runs" / "clinic_dx" / "configuration.yaml").read_text().splitlines()[0]
    words = shlex.split(header.removeprefix("# As run by: python"))
    for path in (tmp_path / "runs").rglob("checkpoint_last.pt"):
        path.unlink()
    subprocess.run([sys.executable, *words], check=True, capture_output=True, env=os.environ)

    assert weights.read_bytes() == ours


def interrupted(images: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Start a long run, and press Ctrl-C once its first checkpoint is there."""
    arguments = ["train", str(images), "--name", "clinic_dx", "--steps", "100000", *SHORT[2:]]
    process = subprocess.Popen(
        [sys.executable, "-m", "dae_pacs", *arguments],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 180
    while not (folder / "runs" / "clinic_dx" / "checkpoint_last.pt").exists():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    return subprocess.CompletedProcess(arguments, process.returncode, out, err)


@pytest.mark.slow
def test_ctrl_c_says_how_to_go_on_and_the_resumed_run_ends_with_a_bundle(
    run: Run, images: Path, tmp_path: Path
) -> None:
    ended = interrupted(images, tmp_path)
    assert ended.returncode == 130
    assert "checkpoint_last.pt; go on from it with:" in ended.stderr
    assert ended.stderr.rstrip().endswith("--resume")
    assert "Traceback" not in ended.stderr
    assert not (tmp_path / "dae-pacs-models").exists()

    other = run("train", images, "--name", "clinic_dx", *SHORT, "--resume", "--set", "learning_rate=0.5")
    assert other.code == 1
    assert "other settings: learning_rate" in other.err

    scores = [
        json.loads(line) for line in (tmp_path / "runs/clinic_dx/scores.jsonl").read_text().splitlines()
    ]
    longer = ("--steps", str(scores[-1]["step"] + 4), *SHORT[2:])
    resumed = run("train", images, "--name", "clinic_dx", *longer, "--resume")
    assert resumed.code == 0, resumed.err
    assert load_bundle(tmp_path / "dae-pacs-models" / "clinic_dx").identity.version == "0.1.0"
    lines = (tmp_path / "runs/clinic_dx/scores.jsonl").read_text().splitlines()
    assert len(lines) == len(scores) + 1, "it went on, and did not start anew"


def test_a_bundle_is_fine_tuned_and_keeps_its_network(run: Run, images: Path, tmp_path: Path) -> None:
    assert run("train", images, "--name", "clinic_dx", *SHORT).code == 0
    own = ("--steps", "8", "--set", "steps_per_epoch=4", *TINY[2:])  # the network comes with the bundle
    ran = run("train", images, "--name", "tuned", "--from", "clinic_dx", *own)
    assert ran.code == 0, ran.err
    networks = [
        json.loads((tmp_path / "dae-pacs-models" / name / "configs" / "network.json").read_text())
        for name in ("clinic_dx", "tuned")
    ]
    assert networks[0] == networks[1]


@pytest.mark.slow
def test_what_it_tells_of_the_noise_is_true_where_the_truth_is_known(
    run: Run, images: Path, tmp_path: Path
) -> None:
    for seed in range(3, 6):
        Image.fromarray(picture(seed)).save(images / f"{seed}.png")
    fast = ("--set", "learning_rate=0.01", "--set", "steps_per_epoch=100")
    ran = run("train", images, "--name", "clinic_dx", *TINY, "--steps", "300", *fast)
    assert ran.code == 0, ran.err
    (told,) = re.findall(r"About (\d+)% of the variance of the images' own noise is gone", ran.out)

    denoiser = open_denoiser(tmp_path / "dae-pacs-models" / "clinic_dx", device="cpu")
    clean, noisy = drawing(99), picture(99).astype(np.float32)[None]
    keep = np.zeros(noisy.shape, dtype=bool)
    noise = denoiser.calibrate(list(noisy), list(keep))
    after = denoiser.denoise(noisy, keep, noise=noise, strength=1.0)
    gone = 1 - np.mean((after - clean) ** 2) / np.mean((noisy - clean) ** 2)
    assert gone > 0.8
    assert int(told) / 100 == pytest.approx(gone, abs=0.08)


@pytest.mark.parametrize(
    "recipe", ["neighbor2neighbor", "noise2void", "neighbour_slices", "supervised", "simulated"]
)
def test_every_recipe_ends_with_a_bundle(run: Run, images: Path, tmp_path: Path, recipe: str) -> None:
    folder, more = images, []
    if recipe == "neighbour_slices":
        folder = tmp_path / "dicom"
        for number in range(2):
            series = ct_series(Study(patient_id=f"P{number}"), slices=3, size=160, seed=number)
            write_all(series, folder / str(number))
    if recipe == "supervised":
        clean = tmp_path / "clean"
        clean.mkdir()
        for seed in range(3):
            values = np.clip(np.rint(drawing(seed)), 0, 255).astype(np.uint8)
            Image.fromarray(values).save(clean / f"doe_jane_{seed}.png")
        more = ["--reference", clean]
    ran = run("train", folder, "--recipe", recipe, "--name", "clinic", *more, *SHORT)
    assert ran.code == 0, ran.err
    assert load_bundle(tmp_path / "dae-pacs-models" / "clinic").identity.name == "clinic"
    assert "loss" in ran.out


@pytest.mark.slow
def test_the_autoencoder_ends_with_images_and_no_bundle(run: Run, images: Path, tmp_path: Path) -> None:
    ran = run("train", images, "--recipe", "autoencoder", "--steps", "2", "--set", "patch_px=64")
    assert ran.code == 0, ran.err
    assert len(list((tmp_path / "runs" / "site_denoising" / "denoised").glob("*.jpg"))) == 3
    assert not (tmp_path / "dae-pacs-models").exists()
    refused = run("train", images, "--recipe", "autoencoder", "--minutes", "1", "--output", "other")
    assert "Recipe autoencoder has no setting 'minutes'" in refused.err


def test_pairs_need_their_references(run: Run, images: Path) -> None:
    ran = run("train", images, "--recipe", "supervised", *SHORT)
    assert ran.code == 1
    assert "--reference" in ran.err
    assert "--reference_dir" not in ran.err


def test_a_name_that_is_there_is_refused_before_the_training(run: Run, images: Path, tmp_path: Path) -> None:
    (tmp_path / "dae-pacs-models" / "clinic_dx").mkdir(parents=True)
    ran = run("train", images, "--name", "clinic_dx", *SHORT)
    assert ran.code == 1
    assert "is there already" in ran.err
    assert "--replace" in ran.err
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nowhere",), "nowhere is not a folder. Give DATA a folder"),
        (("empty",), "holds no files"),
        (("colour",), "none of 2 files can be trained on"),
        (("images", "--recipe", "recorupt"), "Did you mean recorrupt? There is: autoencoder, "),
        (("images", "--name", "Clinic DX"), "lower-case letters, digits and underscores"),
        (("images", "--name", "xray_radiograph_denoising"), "is shipped with dae-pacs"),
        (("images", "--set", "learning_rat=1"), "no setting 'learning_rat'. Did you mean learning_rate?"),
        (("images", "--set", "steps"), "expected NAME=VALUE"),
        (("images", "--recipe", "noise2void", "--loss", "ssim"), "has a loss of its own"),
        (("images", "--from", "no_such_bundle"), "no_such_bundle"),
        (("images", "--device", "cuda:99"), "use --device cpu"),
        (("images", "--device", "tpu"), "expected auto, cpu, cuda or cuda:N"),
        (("images", "--output", "images/run"), "lies inside images"),
        (("images", "--output", "run#1"), "# and a leading $, % or @"),
        (("images", "--set", "learning_rate=1e30"), "Lower the learning rate (--set learning_rate=...)"),
        (("images", "--set", "patch_px='wide'"), "can't run with these settings"),
        (("images", "--resume"), "has no checkpoint_last.pt to go on from"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_told_in_words(
    run: Run, images: Path, tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "colour").mkdir()
    for seed in range(2):
        colour = np.stack([picture(seed), picture(seed + 9), picture(seed + 5)], axis=-1)
        Image.fromarray(colour).save(tmp_path / "colour" / f"{seed}.png")
    ran = run("train", *SHORT, *arguments)
    assert ran.code == 1
    assert words in " ".join(ran.err.split())
    assert "Traceback" not in ran.err
    assert not list(tmp_path.glob("dae-pacs-models/*"))


def test_a_full_disk_is_told_and_leaves_no_half_bundle(run: Run, images: Path, tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))  # Python ignores SIGXFSZ: writing fails
    try:
        ran = run("train", images, "--name", "clinic_dx", *SHORT)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert ran.code == 1
    assert "can't be written" in ran.err
    assert "--resume" in ran.err
    assert not list(tmp_path.glob("dae-pacs-models/*"))
    assert not list(tmp_path.rglob("*.part"))


def test_without_the_extra_the_command_says_what_to_install(
    run: Run, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(command.EXTRA, "no_such_module", "no-such-package")
    ran = run("train", images)
    assert ran.code == 1
    assert "not installed: no-such-package" in ran.err
    assert "pip install 'dae-pacs[train]'" in ran.err


def test_the_clock_ends_a_run_and_the_configuration_can_be_read_again(
    run: Run, images: Path, tmp_path: Path
) -> None:
    short = ("--minutes", "0.01", *SHORT[2:])
    ran = run("train", images, "--name", "clinic_dx", "--loss", "both", *short)
    assert ran.code == 0, ran.err
    assert "4000 steps or 0.01 min" in ran.out
    assert "--loss mse is surer" in ran.out
    kept = yaml.safe_load((tmp_path / "runs" / "clinic_dx" / "configuration.yaml").read_text())
    assert kept["data_dir"] == str(images)
    assert kept["architecture"]["channels"] == [8, 16]
    assert kept["loss"] == dict(plans.LOSSES["both"])
