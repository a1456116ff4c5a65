"""Write the reference of all commands from the commands themselves: `docs/cli.md`."""

from collections.abc import Iterator
from typing import Any

import typer

from dae_pacs.cli.app import app

_HEAD = """# The command line

<!-- Generated from dae_pacs/cli/app.py by `python -m dae_pacs.cli.reference`; a test fails when stale. -->

`dae-pacs` and `python -m dae_pacs` are the same. The exit code is 0 when everything went well, 1 when
anything failed (standard error says what, and what to do), 2 when the command itself was wrong, 130 when it
was interrupted. Every setting that a command does not name comes from the [configuration](configuration.md).
"""


def reference() -> str:
    """Give the reference as Markdown."""
    root = typer.main.get_command(app)
    sections = [_section("dae-pacs", root), *_sections("dae-pacs", root)]
    return "\n".join([_HEAD, *sections])


def _sections(path: str, group: Any) -> Iterator[str]:  # Any: click's classes moved into Typer with 0.2x
    for name, command in group.commands.items():
        if command.hidden:
            continue
        if hasattr(command, "commands"):
            yield from _sections(f"{path} {name}", command)
        else:
            yield _section(f"{path} {name}", command)


def _section(path: str, command: Any) -> str:
    arguments = [param for param in command.params if param.param_type_name == "argument"]
    options = [
        param for param in command.params if param.param_type_name == "option" and param.name != "help"
    ]
    words = "".join(f" {param.metavar}{'...' if param.nargs == -1 else ''}" for param in arguments)
    lines = [f"## `{path}{words}`", "", command.help, ""]
    if params := [*arguments, *options]:
        lines += ["| Argument or option | What it does |", "|---|---|", *map(_row, params), ""]
    return "\n".join(lines)


def _row(param: Any) -> str:
    if param.param_type_name == "argument":
        names = f"`{param.metavar}`"
    else:
        value = "" if param.is_flag else f" {param.metavar or param.name.upper()}"
        names = ", ".join(f"`{name}{value}`" for name in param.opts)
    default = "" if param.default in {None, False, ""} or param.required else f" Default: `{param.default}`."
    cells = (names.replace("|", r"\|"), f"{param.help}{' Required.' if param.required else ''}{default}")
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    typer.echo(reference(), nl=False)
