"""`dae-pacs accounts`: the group of commands; what each does stands in `cli.accounts`."""

# Imports inside the commands are what keeps the help fast.
# ruff: noqa: PLC0415

from enum import StrEnum
from typing import Annotated

import typer

from dae_pacs.cli.parameters import Config

accounts_app = typer.Typer(help="Say who may use the console.", no_args_is_help=True)


class RoleName(StrEnum):
    """What an account may do; each may do what those before it may."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMINISTRATOR = "administrator"


Name = Annotated[str, typer.Argument(metavar="NAME", help="The account's name.", show_default=False)]
FromStdin = Annotated[
    bool,
    typer.Option("--password-stdin", help="Read the password from standard input, instead of asking."),
]


@accounts_app.command("add")
def accounts_add(
    name: Name,
    *,
    role: Annotated[
        RoleName,
        typer.Option(
            metavar="viewer|operator|administrator",
            help="viewer sees; operator also retries, releases and deletes; administrator also looks after "
            "accounts.",
        ),
    ] = RoleName.VIEWER,
    password_stdin: FromStdin = False,
    config: Config = None,
) -> None:
    """Make an account."""
    from dae_pacs.cli.accounts import add

    raise typer.Exit(add(name, role=role.value, from_stdin=password_stdin, config=config))


@accounts_app.command("list")
def accounts_list(*, config: Config = None) -> None:
    """List the accounts with their roles."""
    from dae_pacs.cli.accounts import show

    raise typer.Exit(show(config=config))


@accounts_app.command("remove")
def accounts_remove(name: Name, *, config: Config = None) -> None:
    """Remove an account, and end its sessions."""
    from dae_pacs.cli.accounts import remove

    raise typer.Exit(remove(name, config=config))


@accounts_app.command("password")
def accounts_password(name: Name, *, password_stdin: FromStdin = False, config: Config = None) -> None:
    """Give an account another password, and end its sessions and its waits after wrong tries."""
    from dae_pacs.cli.accounts import set_password

    raise typer.Exit(set_password(name, from_stdin=password_stdin, config=config))


@accounts_app.command("role")
def accounts_role(
    name: Name,
    role: Annotated[
        RoleName,
        typer.Argument(metavar="ROLE", help="viewer, operator or administrator.", show_default=False),
    ],
    *,
    config: Config = None,
) -> None:
    """Give an account another role, and end its sessions."""
    from dae_pacs.cli.accounts import set_role

    raise typer.Exit(set_role(name, role.value, config=config))


@accounts_app.command("token")
def accounts_token(name: Name, *, config: Config = None) -> None:
    """Make a token by which a program logs in to DICOMweb as this account; the one before is void."""
    from dae_pacs.cli.accounts import make_token

    raise typer.Exit(make_token(name, config=config))
