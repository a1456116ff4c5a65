"""`dae-pacs train`: from a folder of a site's own images to a bundle that the node loads."""

# What learns is imported where it is used: only this command needs it, after the extra was looked for.
# ruff: noqa: PLC0415

import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from dae_pacs.cli import train_words
from dae_pacs.cli.failures import INTERRUPTED, OK
from dae_pacs.config.load import load
from dae_pacs.errors import TrainingError
from dae_pacs.resources import find_bundle, is_bundle_name, models_folder, site_folder

if TYPE_CHECKING:
    from dae_pacs.learn.plan import Loss, Plan

EXTRA = {
    "fire": "fire",
    "ignite": "pytorch-ignite",
    "matplotlib": "matplotlib",
    "tensorboard": "tensorboard",
    "yaml": "PyYAML",
}
"""Modules of the extra `train` that a run can't do without, and the packages that bring them."""
RUNS = Path("runs")


@dataclass(frozen=True)
class TrainOptions:
    """How to train; None leaves the choice to the recipe, the machine or the configuration."""

    recipe: str
    name: str
    minutes: float | None = None
    steps: int | None = None
    output: Path | None = None
    bundle: str | None = None
    """To start from: a name, or the path of a folder."""
    reference: Path | None = None
    loss: "Loss | None" = None
    is_resumed: bool = False
    replace: bool = False
    with_pictures: bool = False
    device: str = "auto"
    seed: int | None = None
    settings: Sequence[str] = ()
    """NAME=VALUE each."""
    config: Path | None = None


def run(data: Path, *, options: TrainOptions) -> int:
    """Train on a folder of images; 0 when a bundle stands where the node finds it.

    Raises:
        ConfigError: the configuration has mistakes.
        DaePacsError: what can't be trained on, or went wrong on the way.
    """
    _check_extra()
    configured = load(options.config).model.folder
    folder = site_folder(configured)
    output = options.output or RUNS / options.name
    _check_name(options, folder)
    _check_places(data, output, folder)
    from dae_pacs.learn import plan as plans
    from dae_pacs.learn import run as runs

    request = plans.Request(
        data=data,
        recipe=options.recipe,
        name=options.name,
        output=output,
        steps=options.steps,
        minutes=options.minutes,
        bundle=find_bundle(options.bundle, configured) if options.bundle else None,
        reference=options.reference,
        loss=options.loss,
        device=options.device,
        seed=options.seed,
        is_resumed=options.is_resumed,
        with_pictures=options.with_pictures,
        is_parallel=int(os.environ.get("WORLD_SIZE", "1")) > 1,
        settings=plans.parse_settings(options.settings),
    )
    plan = plans.make_plan(request)
    if options.replace and not options.is_resumed and _is_first():
        runs.clear(plan)
    training = runs.Training(plan)
    out = Console(soft_wrap=True, highlight=False, quiet=not _is_first())
    with train_words.looking(data):
        found = training.data()
    train_words.say_findings(out, found, training)
    try:
        with train_words.progress(is_shown=_is_first()) as report:
            outcome = training.run(report)
    except KeyboardInterrupt:
        if _is_first():
            train_words.say_interrupted(request.output, command=_command())
        return INTERRUPTED
    if not _is_first():
        return OK
    bundle = _published(plan, folder, replace=options.replace or options.is_resumed)
    train_words.say_outcome(out, outcome, request=request, bundle=bundle, folder=configured)
    return OK


def _published(plan: "Plan", folder: Path, *, replace: bool) -> Path | None:
    if not plan.makes_bundle:
        return None
    from dae_pacs.learn.export import publish

    return publish(plan.request.output / plan.request.name, folder, replace=replace)


def _check_extra() -> None:
    missing = sorted(package for module, package in EXTRA.items() if find_spec(module) is None)
    if missing:
        raise TrainingError(
            f"Training needs packages that are not installed: {', '.join(missing)}. "
            "Install them with: pip install 'dae-pacs[train]'"
        )


def _check_name(options: TrainOptions, folder: Path) -> None:
    """Refuse a name before the training, not after it."""
    name = options.name
    if not is_bundle_name(name):
        raise TrainingError(
            f"--name {name!r}: a bundle's name has lower-case letters, digits and underscores, such as "
            "clinic_dx_denoising."
        )
    if (models_folder() / name).exists():
        raise TrainingError(f"--name {name}: a model of that name is shipped with dae-pacs. Choose another.")
    if (folder / name).exists() and not (options.replace or options.is_resumed):
        raise TrainingError(
            f"--name {name}: {folder / name} is there already. Choose another name, or replace it with "
            "--replace."
        )


def _check_places(data: Path, *places: Path) -> None:
    """Keep what a run makes out of what the next one would learn from."""
    for place in places:
        if place.resolve().is_relative_to(data.resolve()):
            raise TrainingError(
                f"{place} lies inside {data}: the next run would learn from this one's pictures. Work in "
                "another folder, or give --output one outside."
            )


def _is_first() -> bool:
    """Tell whether this is the only process, or the one under torchrun that speaks for all."""
    return os.environ.get("RANK", "0") == "0"


def _command() -> str:
    words = [word for word in sys.argv[1:] if word not in {"--resume", "--replace"}]
    return shlex.join(["dae-pacs", *words, "--resume"])
