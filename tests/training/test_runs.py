"""What a run does that is cut off, goes wrong, or has nothing left to learn."""

import json
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from dae_pacs.denoise.bundle import load_bundle
from dae_pacs.learn.checkpoint import CHECKPOINT

pytestmark = pytest.mark.slow

WAIT_S = 120.0


def steps_of(output: Path) -> list[int]:
    return [json.loads(line)["step"] for line in (output / "scores.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def killed(tiny_command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of a run that was killed after its first checkpoint."""
    output = tmp_path_factory.mktemp("killed") / "run"
    arguments, environment, root = tiny_command("recorrupt", output_dir=output, steps_per_epoch=40)
    process = subprocess.Popen(
        arguments, cwd=root, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + WAIT_S
    while not (output / CHECKPOINT).exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait(WAIT_S)
    assert (output / CHECKPOINT).exists()
    assert not (output / "my_denoising").exists()
    return output


def test_a_killed_run_goes_on_from_its_checkpoint(train, killed: Path, tmp_path: Path, gain_db) -> None:
    output = shutil.copytree(killed, tmp_path / "run")
    done = steps_of(output)[-1]
    run = train("recorrupt", output_dir=output, steps_per_epoch=40, resume=True)
    assert run.returncode == 0, run.stderr[-2000:]
    assert "goes on after step" in run.stderr
    assert done < 240
    assert steps_of(output) == [40, 80, 120, 160, 200, 240]
    assert gain_db(output / "denoised") > 5


def test_a_run_is_not_gone_on_with_under_other_settings(train, killed: Path) -> None:
    before = (killed / "configuration.yaml").read_text()
    run = train("recorrupt", output_dir=killed, steps_per_epoch=40, resume=True, learning_rate=0.5, seed=7)
    assert run.returncode != 0
    assert "was run with other settings: seed, learning_rate." in run.stderr
    assert (killed / "configuration.yaml").read_text() == before


def test_a_run_ends_early_when_no_validation_is_better(train, tmp_path: Path) -> None:
    output = tmp_path / "run"
    run = train(
        "recorrupt",
        output_dir=output,
        steps=200,
        steps_per_epoch=5,
        patience=2,
        learning_rate=0.0,  # nothing is learned, so no validation is better than the first
    )
    assert run.returncode == 0, run.stderr[-2000:]
    assert "ended early: 2 validations in a row were no better than epoch 1's" in run.stderr
    assert steps_of(output) == [5, 10, 15]
    load_bundle(output / "my_denoising")


def test_a_full_disk_leaves_no_half_written_file(train, tmp_path: Path) -> None:
    output = tmp_path / "run"
    run = train(
        "recorrupt",
        output_dir=output,
        steps=10,
        steps_per_epoch=10,
        tensorboard=False,
        most_file_bytes=60_000,
    )
    assert run.returncode != 0
    assert "TrainingError" in run.stderr
    assert f"{output / CHECKPOINT} can't be written at step 10: File too large." in run.stderr
    assert "Make room there" in run.stderr
    left = {path.name for path in output.iterdir()}
    assert left == {"configuration.yaml", "scores.jsonl", "pictures"}


def test_an_empty_folder_is_refused_in_words(train, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    run = train("recorrupt", data_dir=tmp_path / "empty", output_dir=tmp_path / "run")
    assert run.returncode != 0
    assert "TrainingError" in run.stderr
    assert "holds no files. Put JPG, PNG, TIFF or DICOM images there." in run.stderr
    assert not (tmp_path / "run" / "my_denoising").exists()


def test_a_loss_that_breaks_ends_the_run_in_words(train, tmp_path: Path) -> None:
    output = tmp_path / "run"
    run = train("recorrupt", output_dir=output, steps=20, learning_rate=1e30)
    assert run.returncode != 0
    assert "TrainingError: the loss became" in run.stderr
    assert "Lower the learning rate" in run.stderr
    assert not (output / "my_denoising").exists()


def test_two_processes_learn_as_well_as_one(train, tmp_path: Path, gain_db) -> None:
    output = tmp_path / "run"
    run = train("recorrupt", "parallel", output_dir=output, processes=2, minutes=10)
    assert run.returncode == 0, run.stderr[-2000:]
    assert gain_db(output / "denoised") > 5
    assert steps_of(output) == [120, 240]
    assert run.stderr.count("bundle written to") == 1
