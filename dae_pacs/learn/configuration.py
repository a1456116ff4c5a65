"""Keep the configuration of a run beside what it makes: a checkpoint alone does not know its overrides."""

import logging
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fire
import yaml
from monai.bundle import ConfigParser

from dae_pacs.durable import durable_file
from dae_pacs.errors import TrainingError
from dae_pacs.learn.checkpoint import CHECKPOINT

logger = logging.getLogger(__name__)

CONFIGURATION = "configuration.yaml"
NOT_CONFIGURATION = ("config_file", "meta_file", "logging_file", "tracking", "args_file", "workflow_type")
"""Options of `monai.bundle run` itself; everything else overrides the recipe."""
MAY_CHANGE = (
    "steps",
    "minutes",
    "patience",
    "threads",
    "workers",
    "device",
    "tensorboard",
    "cache_share",
    "denoised_most",
    "resume",
    "start",
    "output_dir",
    "name",
    "version",
    "description",
)
"""When a run is resumed: what neither the weights so far nor the split of the images depend on."""


def start_run(
    output_dir: str | Path, *, resume: bool = False, configuration: str | None = None, rank: int = 0
) -> None:
    """Make the output folder and write the configuration there; log progress of ours to the terminal.

    Args:
        output_dir: of the run.
        resume: go on from the checkpoint there.
        configuration: as YAML, where it isn't what `monai.bundle run` was given.
        rank: among parallel processes; the first alone writes.

    Raises:
        TrainingError: the folder can't be made or written to, holds an earlier run that this one would
            overwrite, or one that this one can't go on from.
    """
    folder = Path(output_dir)
    _log_to_terminal(logging.INFO if rank == 0 else logging.ERROR)
    text = configuration if configuration is not None else of_command_line(sys.argv)
    if resume:
        _check_resumable(folder, text)
    elif rank == 0 and (folder / CHECKPOINT).exists():
        raise TrainingError(
            f"{folder} holds an earlier run. Go on from it with --resume True, or give another --output_dir."
        )
    if rank > 0:
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if text is not None:
            header = f"# As run by: python -m monai.bundle {shlex.join(sys.argv[1:])}\n"
            with durable_file(folder / CONFIGURATION) as file:
                file.write((text if configuration is not None else header + text).encode())
    except OSError as error:
        raise TrainingError(
            f"{folder} can't hold the results ({error.strerror}). "
            "Give --output_dir a folder that can be written to."
        ) from error


def of_command_line(arguments: list[str]) -> str | None:
    """Resolve the configuration of `python -m monai.bundle run ...`, as YAML; None for any other program.

    MONAI gives a recipe no way to see its own configuration, so the command line is read a second time, by
    the same parser (fire) and the same merging (ConfigParser) as the first.
    """
    if len(arguments) < 2 or Path(arguments[0]).parent.name != "bundle" or not arguments[1].startswith("run"):
        return None
    given: dict[str, Any] = fire.Fire(_as_given, command=arguments[2:], serialize=lambda _: "")
    files = given.get("config_file")
    if files is None:
        return None
    parser = ConfigParser()
    parser.read_config(f=files)
    parser.update(pairs={name: value for name, value in given.items() if name not in NOT_CONFIGURATION})
    return str(yaml.safe_dump(parser.get(), sort_keys=False, allow_unicode=True))


def _as_given(**options: Any) -> dict[str, Any]:
    return options


def changed_settings(before: str, now: str) -> list[str]:
    """Name the settings that differ between two configurations and make another run of it.

    Args:
        before: YAML.
        now: YAML.
    """
    first, second = (dict(_flat(yaml.safe_load(text))) for text in (before, now))
    names = [*first, *(name for name in second if name not in first)]
    return [
        name for name in names if first.get(name) != second.get(name) and name.split("#")[0] not in MAY_CHANGE
    ]


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Give each leaf its path, as on MONAI's command line."""
    if isinstance(value, dict | list) and value:
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        for key, inner in pairs:
            yield from _flat(inner, f"{name}#{key}" if name else str(key))
    else:
        yield name, value


def _check_resumable(folder: Path, configuration: str | None) -> None:
    if not (folder / CHECKPOINT).is_file():
        raise TrainingError(
            f"{folder} has no {CHECKPOINT} to go on from. Start the run without --resume, or name the "
            "--output_dir of the run that was cut off."
        )
    earlier = folder / CONFIGURATION
    if configuration is None or not earlier.is_file():
        return
    changed = changed_settings(earlier.read_text(encoding="utf-8"), configuration)
    if changed:
        shown = ", ".join(changed[:5]) + (f" and {len(changed) - 5} more" if len(changed) > 5 else "")
        raise TrainingError(
            f"{folder} was run with other settings: {shown}. A run goes on only with those that it began "
            f"with ({', '.join(MAY_CHANGE)} may differ). Give them again, or start in another --output_dir; "
            "the recipe finetune.yaml starts from a finished bundle instead."
        )


def _log_to_terminal(level: int) -> None:
    ours = logging.getLogger("dae_pacs.learn")
    if not ours.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        ours.addHandler(handler)
    ours.setLevel(level)
    ours.propagate = False  # whatever MONAI did to the root logger must not print each line twice
