"""`dae-pacs spool`: the group of commands; what each does stands in `cli.repair`."""

# Imports inside the commands are what keeps the help fast.
# ruff: noqa: PLC0415

from typing import Annotated

import typer

from dae_pacs.cli.parameters import Config

spool_app = typer.Typer(help="Look after the node's spool.", no_args_is_help=True)


@spool_app.command("repair")
def spool_repair(
    *,
    yes: Annotated[
        bool, typer.Option("--yes", help="Do it; without this, only say what would be done.")
    ] = False,
    config: Config = None,
) -> None:
    """Rebuild a ledger that is damaged, foreign or gone from the spool's files."""
    from dae_pacs.cli.repair import run

    raise typer.Exit(run(config=config, is_confirmed=yes))
