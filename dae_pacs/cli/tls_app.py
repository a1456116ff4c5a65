"""`dae-pacs tls`, as Typer sees it; what it does is imported when it runs."""

# ruff: noqa: PLC0415

from typing import Annotated

import typer

from dae_pacs.cli.parameters import Config

tls_app = typer.Typer(help="Look at certificates: ours, and those of peers.", no_args_is_help=True)


@tls_app.callback()
def tls() -> None:
    """Keep `check` a command of its own."""


@tls_app.command("check")
def check(
    peer: Annotated[
        str | None,
        typer.Argument(
            metavar="[PEER]",
            help="A peer's name in the configuration, or AE@host:port; without it, our own files.",
            show_default=False,
        ),
    ] = None,
    *,
    config: Config = None,
) -> None:
    """Say whose certificates there are, who signed them, and when they expire."""
    from dae_pacs.cli.tls import run

    raise typer.Exit(run(peer, config=config))
