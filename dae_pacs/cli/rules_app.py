"""`dae-pacs rules`: the group of commands; what each does stands in `cli.rules`."""

# Imports inside the commands are what keeps the help fast.
# ruff: noqa: PLC0415

from typing import Annotated

import typer

from dae_pacs.cli.parameters import Config, Objects

rules_app = typer.Typer(help="Look at the rules that decide what happens to an object.", no_args_is_help=True)


@rules_app.command("try")
def rules_try(
    files: Objects,
    *,
    calling_ae: Annotated[str, typer.Option(metavar="AE", help="The sender's AE title.")] = "",
    called_ae: Annotated[
        str | None, typer.Option(metavar="AE", help="The AE title that it asks for; the node's own.")
    ] = None,
    config: Config = None,
) -> None:
    """Say which rule a file meets, and why each rule before it did not match."""
    from dae_pacs.cli.rules import run

    raise typer.Exit(run(files, calling_ae=calling_ae, called_ae=called_ae, config=config))
