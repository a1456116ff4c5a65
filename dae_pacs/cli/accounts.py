"""`dae-pacs accounts`: who may use the console. A running console sees each change at once."""

import getpass
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from dae_pacs.audit.codes import SECURITY_ROLES_CHANGED, USER_ATTRIBUTES_CHANGED
from dae_pacs.cli.auditing import tell
from dae_pacs.cli.failures import OK
from dae_pacs.config.load import load
from dae_pacs.config.model import Settings
from dae_pacs.errors import InputError
from dae_pacs.spool.files import SpoolFiles
from dae_pacs.web.accounts import Accounts, open_accounts
from dae_pacs.web.role import Role
from dae_pacs.web.templating import moment


def add(name: str, *, role: str, from_stdin: bool, config: Path | None) -> int:
    """Make an account.

    Raises:
        ConfigError: settings are wrong.
        InputError: there is one of that name, or name or password can't be taken.
        SpoolError: the spool can't be used.
    """
    settings, accounts = _open(config)
    if accounts.find(name) is not None:
        raise InputError(f"There is an account {name} already; `dae-pacs accounts password` changes it.")
    made = accounts.add(name, Role.of(role), _password(name, from_stdin=from_stdin))
    words = f"account {made.name} was made, with the role {made.role.label}"
    tell(settings, USER_ATTRIBUTES_CHANGED, f"dae-pacs accounts add: {words}")
    return _say(f"The {words}.")


def show(*, config: Path | None) -> int:
    """List the accounts.

    Raises:
        ConfigError: settings are wrong.
        SpoolError: the accounts can't be read.
    """
    _, accounts = _open(config)
    found = accounts.all()
    if not found:
        return _say("There is no account yet. Make one: dae-pacs accounts add NAME --role administrator")
    table = Table("Name", "Role", "Made", "Changed", "Token")
    for account in found:
        token = "yes" if account.token else ""
        table.add_row(
            account.name, account.role.label, moment(account.created_at), moment(account.changed_at), token
        )
    Console(highlight=False).print(table)
    return OK


def remove(name: str, *, config: Path | None) -> int:
    """Remove an account.

    Raises:
        ConfigError: settings are wrong.
        InputError: there is none of that name, or it is the last administrator beside others.
        SpoolError: the accounts can't be changed.
    """
    settings, accounts = _open(config)
    accounts.remove(name)
    tell(settings, USER_ATTRIBUTES_CHANGED, f"dae-pacs accounts remove: account {name} was removed")
    return _say(f"The account {name} was removed; its sessions are over.")


def set_password(name: str, *, from_stdin: bool, config: Path | None) -> int:
    """Give an account another password.

    Raises:
        ConfigError: settings are wrong.
        InputError: there is none of that name, or the password can't be taken.
        SpoolError: the accounts can't be changed.
    """
    settings, accounts = _open(config)
    _refuse_unknown(accounts, name)
    accounts.set_password(name, _password(name, from_stdin=from_stdin))
    tell(settings, USER_ATTRIBUTES_CHANGED, f"dae-pacs accounts password: that of {name} was changed")
    return _say(f"The password of {name} was changed; its sessions, and its token, are over.")


def set_role(name: str, role: str, *, config: Path | None) -> int:
    """Give an account another role.

    Raises:
        ConfigError: settings are wrong.
        InputError: there is none of that name, or it is the last administrator.
        SpoolError: the accounts can't be changed.
    """
    settings, accounts = _open(config)
    accounts.set_role(name, Role.of(role))
    tell(settings, SECURITY_ROLES_CHANGED, f"dae-pacs accounts role: {name} has the role {role} now")
    return _say(f"The account {name} has the role {role} now; its sessions are over.")


def make_token(name: str, *, config: Path | None) -> int:
    """Make a token for programs, and print it: it can't be read again.

    Raises:
        ConfigError: settings are wrong.
        InputError: there is no account of that name.
        SpoolError: the accounts can't be changed.
    """
    settings, accounts = _open(config)
    token = accounts.set_token(name)
    tell(settings, USER_ATTRIBUTES_CHANGED, f"dae-pacs accounts token: {name} has a new token")
    print(token)
    print(
        f"A program says it so: Authorization: Bearer {token[:4]}...; it is shown this once.", file=sys.stderr
    )
    return OK


def _open(config: Path | None) -> tuple[Settings, Accounts]:
    settings = load(config)
    SpoolFiles(settings.node.spool)  # makes it where no node has run yet
    return settings, open_accounts(settings.node.spool)


def _refuse_unknown(accounts: Accounts, name: str) -> None:
    """Refuse before a password is asked for."""
    if accounts.find(name) is None:
        raise InputError("There is no account of that name; `dae-pacs accounts list` shows those there are.")


def _password(name: str, *, from_stdin: bool) -> str:
    """Ask for a password, twice and unseen; or read it from standard input."""
    if from_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    if not sys.stdin.isatty():
        raise InputError(
            "There is no terminal to ask for a password; give --password-stdin, and the password."
        )
    first = getpass.getpass(f"New password of {name}: ")
    if getpass.getpass("Again: ") != first:
        raise InputError("The two passwords differ; nothing was changed.")
    return first


def _say(words: str) -> int:
    Console(soft_wrap=True, highlight=False).print(words, markup=False)
    return OK
