"""Whether a command that a document shows is one that there is: its options, targets, scripts and extras."""

import re
import shlex
import tomllib
from collections.abc import Callable, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import typer
import yaml

from dae_pacs.cli.app import app

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = ("dae-pacs", ".venv/bin/dae-pacs")
PYTHONS = ("python", "python3", ".venv/bin/python")
# click's ClickException, which Typer carries by another name from version to version
CommandLineError = typer.BadParameter.__mro__[2]


def fault_of(command: str) -> str | None:
    """Say what is wrong with a command line; None where nothing is, or running it alone would tell."""
    faults = (judge(words) for words in _simple_commands(command) if (judge := _judge_of(words)))
    return next((fault for fault in faults if fault), None)


def unjudged(command: str) -> list[str]:
    """List the programs that a command line calls, and that only running it would judge."""
    return [words[0] for words in _simple_commands(command) if _judge_of(words) is None]


def _simple_commands(line: str) -> list[list[str]]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars=";|&()<>")
    lexer.whitespace_split = True
    lexer.commenters = "#"
    commands: list[list[str]] = [[]]
    for word in lexer:
        if set(word) <= set(";|&()"):
            commands.append([])
        elif commands[-1] or not re.match(r"[A-Z_]+=", word):  # a variable for this command alone
            commands[-1].append(word)
    return [words for words in commands if words]


def _judge_of(words: Sequence[str]) -> Callable[[Sequence[str]], str | None] | None:
    first = words[0]
    if first in (*PYTHONS, "torchrun"):
        return _module_fault if "-m" in words else _script_fault
    if first.startswith("--"):
        return _recipe_fault
    return {
        **dict.fromkeys(PROGRAMS, lambda words: cli_fault(words[1:])),
        **dict.fromkeys(("pip", ".venv/bin/pip"), _extra_fault),
        **dict.fromkeys(("cd", "export"), lambda words: None),
        "make": _make_fault,
    }.get(first)


def cli_fault(arguments: Sequence[str]) -> str | None:
    """Parse the arguments of `dae-pacs` with its own parser, without running anything."""
    command: Any = typer.main.get_command(app)
    name, rest, parent = "dae-pacs", _without_redirections(arguments), None
    try:
        while True:
            parent = command.make_context(name, list(rest), parent=parent)
            if not hasattr(command, "commands"):
                return None
            left = [*parent._protected_args, *parent.args]
            if not left:
                return None if command.invoke_without_command else "it needs a command"
            name, command, rest = command.resolve_command(parent, left)
    except CommandLineError as error:
        return str(error) or type(error).__name__


def span_fault(arguments: Sequence[str]) -> str | None:
    """Hold what a sentence says of `dae-pacs` against its commands and options; values are left alone."""
    command: Any = typer.main.get_command(app)
    options = _options(command)
    for word in arguments:
        if word.startswith("-"):
            if word.partition("=")[0] not in options:
                return f"{command.name} has no option {word}"
        elif hasattr(command, "commands") and re.fullmatch(r"[a-z-]+", word):
            if word not in command.commands:
                return f"{command.name} has no command {word}"
            command = command.commands[word]
            options |= _options(command)
    return None


def _options(command: Any) -> set[str]:
    named = {name for param in command.params for name in (*param.opts, *param.secondary_opts)}
    return named | {"--help"}


def _without_redirections(words: Sequence[str]) -> list[str]:
    for at, word in enumerate(words):
        if set(word) <= set("<>&"):
            return list(words[: at - 1 if words[at - 1].isdigit() else at])
    return list(words)


def _module_fault(words: Sequence[str]) -> str | None:
    at = words.index("-m")
    module, arguments = words[at + 1], words[at + 2 :]
    if module == "dae_pacs":
        return cli_fault(arguments)
    if module == "monai.bundle":
        return _monai_fault(arguments)
    if module == "pytest":
        paths = [word for word in arguments if word.startswith("tests")]
        return next((f"there is no {path}" for path in paths if not (ROOT / path).exists()), None)
    return None if find_spec(module) else f"there is no {module}"


def _script_fault(words: Sequence[str]) -> str | None:
    return None if words[1] == "-c" or (ROOT / words[1]).is_file() else f"there is no {words[1]}"


def _make_fault(words: Sequence[str]) -> str | None:
    known = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    return next((f"make has no {word}" for word in words[1:] if "=" not in word and word not in known), None)


def _extra_fault(words: Sequence[str]) -> str | None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    named = [name for inside in re.findall(r"\[([a-z,]+)\]", " ".join(words)) for name in inside.split(",")]
    return next((f"there is no extra {name}" for name in named if name not in extras), None)


def _monai_fault(words: Sequence[str]) -> str | None:
    """Hold a run by MONAI's command line against the recipes that it names: its files and their entries."""
    files = re.findall(r"[\w/.-]+\.yaml", words[words.index("--config_file") + 1])
    # a run in a bundle's folder names the bundle's own files
    folder = next((base for base in (ROOT, *ROOT.glob("models/*")) if (base / files[0]).is_file()), ROOT)
    lost = [name for name in files if not (folder / name).is_file()]
    return f"there is no {lost[0]}" if lost else _entry_fault(words, [folder / name for name in files])


def _recipe_fault(words: Sequence[str]) -> str | None:
    return _entry_fault(words, sorted((ROOT / "training").rglob("*.yaml")))


def _entry_fault(words: Sequence[str], recipes: Sequence[Path]) -> str | None:
    known = {"config_file"}.union(*map(_entries_of, recipes))
    options = [word[2:].split("#")[0] for word in words if word.startswith("--")]
    return next((f"no recipe has an entry {name}" for name in options if name not in known), None)


@cache
def _entries_of(path: Path) -> frozenset[str]:
    return frozenset(yaml.safe_load(path.read_text()))
