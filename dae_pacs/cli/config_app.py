"""`dae-pacs config`: the group of commands; what each does stands in `cli.config`."""

# Imports inside the commands are what keeps the help fast.
# ruff: noqa: PLC0415

import typer

from dae_pacs.cli.parameters import Config

config_app = typer.Typer(
    help="Look at the configuration: check it, show it, print a sample.", no_args_is_help=True
)


@config_app.command("check")
def config_check(*, config: Config = None) -> None:
    """Check every setting, and that the models it names are there."""
    from dae_pacs.cli.config import check

    raise typer.Exit(check(config))


@config_app.command("show")
def config_show(*, config: Config = None) -> None:
    """Print every setting in force, defaults and environment included, as TOML."""
    from dae_pacs.cli.config import show

    raise typer.Exit(show(config))


@config_app.command("sample")
def config_sample() -> None:
    """Print a commented sample configuration."""
    from dae_pacs.config.load import sample

    typer.echo(sample(), nl=False)


@config_app.command("reference", hidden=True)
def config_reference() -> None:
    """Print docs/configuration.md."""
    from dae_pacs.config.load import reference

    typer.echo(reference(), nl=False)


@config_app.command("conformance", hidden=True)
def config_conformance() -> None:
    """Print docs/conformance.md."""
    from dae_pacs.cli.conformance import conformance

    typer.echo(conformance(), nl=False)
