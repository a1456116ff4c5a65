"""The trainings and peers of `benchmarks/denoising.py`: programs of their own, each run once."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

from denoising_data import ROOT, Condition

RECIPES = ROOT / "training" / "recipes"
HERE = Path(__file__).resolve().parent
PEERS = HERE / "peers"
REPORT = "report.json"


class JobFailedError(Exception):
    """A program did not end well; says how."""


@dataclass(frozen=True)
class Job:
    """One program, and the folder that it works in."""

    folder: Path
    command: tuple[str, ...]
    """{run} stands for the folder that is the program's own."""
    prepare: Callable[[Path], None] | None = field(default=None, compare=False)
    """Writes into that folder what the program reads."""


@dataclass(frozen=True)
class Report:
    """What became of a program."""

    seconds: float
    last_line: str
    """Of its output: peers say there what they are."""


def run(job: Job, *, threads: int) -> Report:
    """Run a program unless it was run already; what it prints goes into `job.folder`/log.

    Raises:
        JobFailedError: the program is not here, or it ended with an error.
    """
    kept = job.folder / REPORT
    if kept.is_file():
        return Report(**json.loads(kept.read_text()))
    if not shutil.which(job.command[0]):
        raise JobFailedError(f"{job.command[0]} is not installed here; benchmarks/peers/set-up.sh does that.")
    shutil.rmtree(job.folder, ignore_errors=True)
    job.folder.mkdir(parents=True)
    if job.prepare is not None:
        job.prepare(job.folder)
    command = [part.replace("{run}", str(job.folder)) for part in job.command]
    variables = {**os.environ, "OMP_NUM_THREADS": str(threads), "PYTHONPATH": str(HERE)}
    start = monotonic()
    log = job.folder / "log"
    with log.open("w") as output:
        ended = subprocess.run(
            command, cwd=ROOT, env=variables, stdout=output, stderr=subprocess.STDOUT, check=False
        )
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()] or ["nothing"]
    if ended.returncode:
        raise JobFailedError(
            f"{Path(command[0]).name} ended with {ended.returncode}: {lines[-1].strip()[:300]}"
        )
    report = Report(round(monotonic() - start, 1), lines[-1].strip())
    kept.write_text(json.dumps(report.__dict__))
    return report


@dataclass(frozen=True)
class Training:
    """How a recipe is run here."""

    recipe: str
    loss: str = ""
    told_noise: bool = False
    with_clean: bool = False
    from_shipped: bool = False
    """Start from a shipped bundle, by the overlay finetune.yaml and at its learning rate."""


ROBUST_LOSS = "{'_target_': 'dae_pacs.learn.losses.LogSquaredError'}"
"""That of the shipped models. Plain squared error is thrown off by patches whose edges stand hundreds of
sigma high: of three runs at a learning rate of 0.002 two lost for hundreds of steps what they had learnt."""
LEARNING_RATE = 0.0008
"""At 0.0015 and 8 patches, recorruption of correlated noise still lost 1.2 dB between steps 200 and 400."""
FEW_PATCHES = 8
"""A step's share on a CPU."""
TWIN_LOSS = "{'_target_': 'dae_pacs.learn.losses.LogSquaredError', 'floor': 5.667}"
"""Weighs patches as recorruption does, whose targets' noise has a variance of (1 - alpha) / alpha."""
TRAININGS = {
    "recorrupt": Training("recorrupt", loss=ROBUST_LOSS),
    "supervised": Training("supervised", loss=TWIN_LOSS, with_clean=True),
    "recorrupt_true_noise": Training("recorrupt", loss=ROBUST_LOSS, told_noise=True),
    "recorrupt_finetuned": Training("recorrupt", from_shipped=True),
    "neighbor2neighbor": Training("neighbor2neighbor"),
    "noise2void": Training("noise2void"),
}


@dataclass(frozen=True)
class Compute:
    """How much a training may use."""

    steps: int
    minutes: float | None = None
    """Ends the trainings by the clock, before their last step."""
    bundle: Path = ROOT / "models" / "xray_radiograph_denoising"
    """That fine-tuning starts from."""
    patches: int = FEW_PATCHES
    """That the network sees in one step; recorruption makes two of each."""
    learning_rate: float = LEARNING_RATE
    threads: int = 1
    workers: int = 0
    """Processes that cut patches, beside that of the training."""
    curve_every: int = 200
    more: tuple[str, ...] = ()
    """Of the command line; --quick makes the network small."""


def training_job(method: str, condition: Condition, output: Path, compute: Compute) -> Job:
    """Train by the recipe's command line, on `output/images/CONDITION`."""
    training = TRAININGS[method]
    images = output / "images" / condition.name
    pairs = 2 if training.recipe == "recorrupt" else 1
    at_once = max(2, compute.patches // 8)
    overlays = (training.recipe, "finetune") if training.from_shipped else (training.recipe,)
    files = [RECIPES / f"{name}.yaml" for name in ("common", *overlays)] + [HERE / "denoising_curve.yaml"]
    options = {
        "config_file": str([str(file) for file in files]),
        "data_dir": str(images / "noisy"),
        "output_dir": "{run}/run",
        "name": "bundle",
        "steps": str(compute.steps),
        "steps_per_epoch": str(compute.curve_every),
        "curve_every": str(compute.curve_every),
        "batch_images": str(at_once),
        "patches_per_image": str(compute.patches // at_once // pairs),
        "validation_share": "0.1",
        "denoised_most": "1",
        "threads": str(compute.threads),
        "workers": str(compute.workers),
        "tensorboard": "False",
        "inferer": "{'_target_': 'dae_pacs.learn.network.ReducedPrecisionInferer'}",
    }
    more = compute.more
    if training.from_shipped:
        options |= {"bundle": str(compute.bundle)}
        more = tuple(option for option in more if not option.startswith("--architecture"))
    if training.loss:
        options |= {"loss": training.loss, "learning_rate": str(compute.learning_rate)}
    if training.told_noise:
        told = {"_target_": "denoising_true.told", "data": "@found", "folder": str(images / "true")}
        options["data"] = str(told)
    if training.with_clean:
        options["reference_dir"] = str(images / "clean")
    if compute.minutes is not None:
        options["minutes"] = f"{compute.minutes:g}"
    size = f"{compute.steps}" if compute.minutes is None else f"{compute.minutes:g}-minutes"
    if compute.patches != FEW_PATCHES:
        size += f"-of-{compute.patches}"
    return Job(output / "runs" / f"{method}-{condition.name}-{size}", _bundle_run(options, more))


def autoencoder_job(condition: Condition, output: Path, compute: Compute, *, epochs: tuple[int, int]) -> Job:
    """Train the seed's recipe on the noisy images, keeping its weights every 50 steps.

    Args:
        condition: whose images.
        output: of the benchmark.
        compute: how; its steps do not count.
        epochs: how many, and of how many steps.
    """
    saver = {
        "_target_": "monai.handlers.CheckpointSaver",
        "save_dir": "@output_dir",
        "save_dict": {"network": "@network"},
        "save_interval": 50,
        "epoch_level": False,
        "n_saved": None,
    }
    options = {
        "config_file": str(RECIPES / "autoencoder.yaml"),
        "data_dir": str(output / "images" / condition.name / "noisy"),
        "output_dir": "{run}/run",
        "epochs": str(epochs[0]),
        "steps_per_epoch": str(epochs[1]),
        "validate_every": "1000",
        "threads": str(compute.threads),
        "train#handlers#3": str(saver),
        "train#trainer#inferer": "{'_target_': 'dae_pacs.learn.network.ReducedPrecisionInferer'}",
        "denoise": "$lambda: None",
    }
    return Job(output / "runs" / f"autoencoder-{condition.name}-{epochs[0]}", _bundle_run(options, ()))


def _bundle_run(options: dict[str, str], more: tuple[str, ...]) -> tuple[str, ...]:
    given = [part for name, value in options.items() for part in (f"--{name}", value)]
    return (sys.executable, "-m", "monai.bundle", "run", *given, *more)
