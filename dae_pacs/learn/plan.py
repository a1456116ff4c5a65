"""Turn what a person asks for into a recipe's files and overrides, as MONAI's command line takes them."""

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

import fire.parser
import yaml
from monai.bundle import ConfigParser

from dae_pacs.errors import TrainingError
from dae_pacs.learn import settings
from dae_pacs.resources import recipes_folder

Loss = Literal["mse", "ssim", "both"]

COMMON = "common"
FINE_TUNING = "finetune"
PARALLEL = "parallel"
PLAIN_LOSS = "torch.nn.MSELoss"
LOSSES: Mapping[Loss, Mapping[str, Any]] = {
    "mse": {"_target_": PLAIN_LOSS},
    "ssim": {"_target_": "dae_pacs.learn.losses.StructureError"},
    "both": {"_target_": "dae_pacs.learn.losses.SquaredErrorWithStructure"},
}
PATHS = ("data_dir", "output_dir", "reference_dir", "bundle", "training_images", "validation_images")
"""Entries whose values may name patients: they stay out of the bundle."""
SITE = "The site that trained it, with dae-pacs"


@dataclass(frozen=True)
class Request:
    """What a person asks for; None leaves the choice to the recipe."""

    data: Path
    recipe: str
    name: str
    output: Path
    steps: int | None = None
    minutes: float | None = None
    bundle: Path | None = None
    """To start from, instead of random weights."""
    reference: Path | None = None
    loss: Loss | None = None
    device: str = "auto"
    seed: int | None = None
    is_resumed: bool = False
    with_pictures: bool = False
    """In the model card; they may show patients."""
    is_parallel: bool = False
    """Whether this is one of several processes under torchrun."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """More entries of the recipe, by their path; they win over everything else."""


@dataclass(frozen=True)
class Plan:
    """A run that could as well be started by `python -m monai.bundle run`."""

    request: Request
    machine: settings.Machine
    files: tuple[Path, ...]
    overrides: Mapping[str, Any]
    merged: Mapping[str, Any]
    """The recipe with its overrides, unresolved."""

    @property
    def makes_bundle(self) -> bool:
        """Whether the run ends with a bundle; the autoencoder ends with images."""
        return "export" in self.merged

    @property
    def monai_command(self) -> str:
        """The same run by MONAI's own command line."""
        files = "[" + ",".join(repr(str(path)) for path in self.files) + "]"
        options = [
            part for name, value in self.overrides.items() for part in (f"--{name}", as_argument(value))
        ]
        return shlex.join(["python", "-m", "monai.bundle", "run", "--config_file", files, *options])

    @property
    def configuration(self) -> str:
        """The whole configuration as YAML, below the command that gives it."""
        text = yaml.safe_dump(dict(self.merged), sort_keys=False, allow_unicode=True)
        return f"# As run by: {self.monai_command}\n{text}"

    @property
    def all_overrides(self) -> dict[str, Any]:
        """The overrides, and what only `dae-pacs train` knows: none of it changes a weight."""
        if not self.makes_bundle:
            return dict(self.overrides)
        request = self.request
        pictures = str(request.output / "pictures") if request.with_pictures else None
        return {
            **self.overrides,
            # JSON is YAML, and can do without the sign that MONAI turns into "::" in every text.
            "start#configuration": json.dumps(self.merged).replace("#", "\\u0023"),
            "export#facts#command": command_without_paths(request),
            "export#facts#author": SITE,
            "export#facts#hidden": list(PATHS),
            **({"export#facts#pictures": pictures} if pictures else {}),
        }


def recipes() -> tuple[str, ...]:
    """Name the recipes that a run can follow."""
    names = {path.stem for path in (recipes_folder() / "recipes").glob("*.yaml")}
    return tuple(sorted(names - {COMMON, FINE_TUNING, PARALLEL}))


def make_plan(request: Request) -> Plan:
    """Choose files and overrides.

    Raises:
        TrainingError: there is no such recipe or device, or the recipe has no such setting.
    """
    files = _files(request)
    recipe = _merged(files, {})
    machine = settings.look(request.device)
    chosen = _chosen(request, recipe) | _asked(request, recipe)
    suited = settings.overrides(machine)
    if request.is_parallel:
        suited = {name: value for name, value in suited.items() if name not in {"device", "threads"}}
    overrides = {name: value for name, value in suited.items() if name in recipe} | chosen
    for name, value in request.settings.items():
        _check_known(name, recipe, request.recipe)
        overrides[name] = value
    return Plan(request, machine, files, overrides, _merged(files, overrides))


def parse_settings(texts: Sequence[str]) -> dict[str, Any]:
    """Read `name=value` as MONAI's command line reads `--name value`.

    Raises:
        TrainingError: one has no equals sign.
    """
    pairs = [text.partition("=") for text in texts]
    wrong = [name for name, equals, _ in pairs if not equals or not name]
    if wrong:
        raise TrainingError(f"--set {wrong[0]}: expected NAME=VALUE, such as --set learning_rate=0.0005.")
    return {name: fire.parser.DefaultParseValue(value) for name, _, value in pairs}


def as_argument(value: Any) -> str:
    """Write a value so that MONAI's command line reads the same."""
    text = str(value)
    return text if fire.parser.DefaultParseValue(text) == value else repr(value)


def command_without_paths(request: Request) -> str:
    """Write the command as a model card may show it."""
    words = ["dae-pacs", "train", "DATA", "--recipe", request.recipe, "--name", request.name]
    options = {
        "--minutes": request.minutes,
        "--steps": request.steps,
        "--loss": request.loss,
        "--seed": request.seed,
    }
    for option, value in options.items():
        words += [option, str(value)] if value is not None else []
    words += ["--from", request.bundle.name] if request.bundle else []
    words += ["--reference", "REFERENCE"] if request.reference else []
    for name, value in request.settings.items():
        words += ["--set", f"{name}=..." if name in PATHS else f"{name}={as_argument(value)}"]
    return shlex.join(words)


def _files(request: Request) -> tuple[Path, ...]:
    known = recipes()
    if request.recipe not in known:
        close = get_close_matches(request.recipe, known, n=1)
        guess = f" Did you mean {close[0]}?" if close else ""
        raise TrainingError(
            f"Recipe {request.recipe!r}: there is no such recipe.{guess} There is: {', '.join(known)}."
        )
    for path in filter(None, (request.data, request.output, request.reference, request.bundle)):
        if "#" in str(path) or str(path).startswith(("$", "%", "@")):
            raise TrainingError(
                f"{path}: MONAI's configurations give # and a leading $, % or @ a meaning of their own. "
                "Give the folder another name, or a link to it that has none of them."
            )
    folder = recipes_folder() / "recipes"
    own = folder / f"{request.recipe}.yaml"
    if "network_def" in ConfigParser.load_config_file(str(own)):  # a recipe that needs no other file
        if request.bundle or request.is_parallel:
            raise TrainingError(f"Recipe {request.recipe}: it knows neither --from nor several processes.")
        return (own,)
    extra = [FINE_TUNING] if request.bundle else []
    extra += [PARALLEL] if request.is_parallel else []
    return (folder / f"{COMMON}.yaml", own, *(folder / f"{name}.yaml" for name in extra))


def _chosen(request: Request, recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Give the overrides that every run has."""
    chosen: dict[str, Any] = {"data_dir": str(request.data), "output_dir": str(request.output)}
    if "name" in recipe:
        chosen["name"] = request.name
    if request.is_resumed:
        chosen["resume"] = True
    return chosen


def _asked(request: Request, recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Give the overrides that were asked for by an option, in the recipe's own names."""
    asked: dict[str, Any] = {
        "minutes": request.minutes,
        "steps": request.steps,
        "seed": request.seed,
        "reference_dir": str(request.reference) if request.reference else None,
        "bundle": str(request.bundle) if request.bundle else None,
    }
    given = {name: value for name, value in asked.items() if value is not None}
    if "steps" in given and "epochs" in recipe and "steps" not in recipe:
        given["epochs"] = f"$-(-{given.pop('steps')} // @steps_per_epoch)"
    if request.is_resumed:
        _check_known("resume", recipe, request.recipe)
    for name in given:
        _check_known(name, recipe, request.recipe)
    if request.loss is not None:
        own = recipe.get("loss", {}).get("_target_")
        if own != PLAIN_LOSS:
            raise TrainingError(f"Recipe {request.recipe} has a loss of its own ({own}); leave --loss out.")
        given["loss"] = dict(LOSSES[request.loss])
    return given


def _check_known(name: str, recipe: Mapping[str, Any], recipe_name: str) -> None:
    first = name.replace("::", "#").partition("#")[0]
    if first in recipe:
        return
    close = get_close_matches(first, list(recipe), n=1)
    guess = f" Did you mean {close[0]}?" if close else ""
    raise TrainingError(
        f"Recipe {recipe_name} has no setting {first!r}.{guess} Its settings stand at the top of it."
    )


def _merged(files: Sequence[Path], overrides: Mapping[str, Any]) -> dict[str, Any]:
    parser = ConfigParser()
    parser.read_config(f=[str(path) for path in files])
    try:
        parser.update(pairs=dict(overrides))
    except (KeyError, IndexError, ValueError, TypeError) as error:
        raise TrainingError(
            f"--set: the recipe has no such place ({error}). Look it up in {files[-1]}."
        ) from error
    merged: dict[str, Any] = parser.get()
    return merged
