"""Keep the configuration of a run beside what it makes: a checkpoint alone does not know its overrides."""

import logging
import shlex
import sys
from pathlib import Path
from typing import Any

import fire
import yaml
from monai.bundle import ConfigParser

from dae_pacs.errors import TrainingError

logger = logging.getLogger(__name__)

CONFIGURATION = "configuration.yaml"
NOT_CONFIGURATION = ("config_file", "meta_file", "logging_file", "tracking", "args_file", "workflow_type")
"""Options of `monai.bundle run` itself; everything else overrides the recipe."""


def start_run(output_dir: str | Path) -> None:
    """Make the output folder and write the configuration there; log progress of ours to the terminal.

    Raises:
        TrainingError: the folder can't be made or written to.
    """
    folder = Path(output_dir)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        configuration = of_command_line(sys.argv)
        if configuration is not None:
            header = f"# As run by: python -m monai.bundle {shlex.join(sys.argv[1:])}\n"
            (folder / CONFIGURATION).write_text(header + configuration, encoding="utf-8")
    except OSError as error:
        raise TrainingError(
            f"{folder} can't hold the results ({error.strerror}). "
            "Give --output_dir a folder that can be written to."
        ) from error
    _log_to_terminal()


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


def _log_to_terminal() -> None:
    ours = logging.getLogger("dae_pacs.learn")
    if not ours.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        ours.addHandler(handler)
    ours.setLevel(logging.INFO)
    ours.propagate = False  # whatever MONAI did to the root logger must not print each line twice
