"""The accounts of the console: one small file below the spool, written whole, readable by its owner alone.

The command line and the console both write it, under a lock; whoever reads it sees the last whole one.
"""

import fcntl
import hashlib
import json
import os
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

from dae_pacs.durable import durable_file
from dae_pacs.errors import InputError, SpoolError
from dae_pacs.web.passwords import Hasher, refuse_weak
from dae_pacs.web.role import Role

FILE_NAME: Final = "accounts.json"
MOST_ACCOUNTS: Final = 1000
_VERSION: Final = 1
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._@-]{0,63}")


@dataclass(frozen=True)
class Account:
    """Who may get in, and as what."""

    name: str
    role: Role
    password: str
    """Its Argon2id hash, in the form of the PHC."""
    stamp: str
    """Random and secret, and new when password or role change: sessions with another stamp are over."""
    created_at: float
    changed_at: float
    """Both in seconds since 1970."""
    token: str = ""
    """SHA-256 of a token for programs; empty where there is none."""


class Accounts:
    """Reads and changes the file; for any thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._seen: tuple[int, int, int] | None = None
        self._accounts: Mapping[str, Account] = {}
        self.hasher = Hasher()

    def all(self) -> list[Account]:
        """List the accounts, by name.

        Raises:
            SpoolError: the file can't be read, or is damaged.
        """
        return [account for _, account in sorted(self._current().items())]

    def find(self, name: str) -> Account | None:
        """Find an account by its name."""
        return self._current().get(name.lower())

    def of_token(self, token: str) -> Account | None:
        """Find the account that a program's token is of."""
        digest = token_digest(token)
        for account in self._current().values():
            if account.token and secrets.compare_digest(account.token, digest):
                return account
        return None

    def verified(self, name: str, password: str) -> Account | None:
        """Find the account of a name and its password; None where either is wrong, after the same time."""
        account = self.find(name)
        right = self.hasher.is_right(password, account.password if account else None)
        return account if right else None

    def add(self, name: str, role: Role, password: str) -> Account:
        """Make an account.

        Raises:
            InputError: there is one of that name, or name or password can't be taken.
        """
        name = name.strip().lower()
        if not _NAME.fullmatch(name):
            raise InputError(
                "The account's name can't be taken: give up to 64 letters, digits, dots, - _ or @, such as "
                "jane.doe"
            )
        refuse_weak(password, name=name)
        now = time.time()
        made = Account(name, role, self.hasher.hash(password), _stamp(), now, now)

        def put(accounts: dict[str, Account]) -> None:
            if name in accounts:
                raise InputError(f"There is an account {name} already; change it, or take another name.")
            if len(accounts) >= MOST_ACCOUNTS:
                raise InputError(
                    f"There are {MOST_ACCOUNTS} accounts already; use a provider (OIDC) for more."
                )
            accounts[name] = made

        self._change(put)
        return made

    def remove(self, name: str) -> None:
        """Remove an account; its sessions are over.

        Raises:
            InputError: there is none of that name, or it is the last administrator beside others.
        """

        def take(accounts: dict[str, Account]) -> None:
            del accounts[_known(accounts, name).name]
            _refuse_without_administrator(accounts)

        self._change(take)

    def set_password(self, name: str, password: str) -> None:
        """Give an account another password; its sessions and its token are over.

        Raises:
            InputError: there is none of that name, or the password can't be taken.
        """
        refuse_weak(password, name=name)
        hashed = self.hasher.hash(password)
        self._update(name, lambda account: replace(account, password=hashed, token=""))

    def set_role(self, name: str, role: Role) -> None:
        """Give an account another role; its sessions are over.

        Raises:
            InputError: there is none of that name, or it is the last administrator.
        """
        self._update(name, lambda account: replace(account, role=role))

    def end_sessions(self, name: str) -> None:
        """Log an account out everywhere."""
        self._update(name, lambda account: account)

    def set_token(self, name: str) -> str:
        """Give an account a new token for programs, in place of the old one; it can't be read again."""
        token = secrets.token_urlsafe(32)
        self._update(name, lambda account: replace(account, token=token_digest(token)))
        return token

    def _update(self, name: str, change: Callable[[Account], Account]) -> None:
        def put(accounts: dict[str, Account]) -> None:
            changed = change(_known(accounts, name))
            accounts[changed.name] = replace(changed, stamp=_stamp(), changed_at=time.time())
            _refuse_without_administrator(accounts)

        self._change(put)

    def _change(self, change: Callable[[dict[str, Account]], None]) -> None:
        with self._locked():
            accounts = dict(_read(self._path)[1])
            change(accounts)
            entries = [asdict(account) | {"role": account.role.label} for account in accounts.values()]
            text = json.dumps({"version": _VERSION, "accounts": entries}, indent=1)
            try:
                with durable_file(self._path) as file:
                    os.fchmod(file.fileno(), 0o600)
                    _give_to_owner(file.fileno(), self._path.parent)
                    file.write(text.encode())
            except OSError as error:
                raise SpoolError(f"Accounts {self._path}: can't be written ({error.strerror}).") from error

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Keep others, also other processes, from changing the file meanwhile."""
        try:
            handle = os.open(self._path.with_suffix(".lock"), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise SpoolError(
                f"Accounts {self._path}: can't be changed ({error.strerror}). Use the account that the node "
                "runs under, and a spool that is there."
            ) from error
        try:
            _give_to_owner(handle, self._path.parent)
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def _current(self) -> Mapping[str, Account]:
        try:
            found = self._path.stat()
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise _unreadable(self._path, error.strerror) from error
        mark = (found.st_mtime_ns, found.st_ino, found.st_size)
        with self._lock:
            if mark != self._seen:
                self._seen, self._accounts = _read(self._path)
            return self._accounts


def open_accounts(spool: Path) -> Accounts:
    """Open the accounts of a spool."""
    return Accounts(spool / FILE_NAME)


def token_digest(token: str) -> str:
    """Say how a token is kept; it is random and long, so that no salt and no slow hash is needed."""
    return hashlib.sha256(token.encode()).hexdigest()


def _read(path: Path) -> tuple[tuple[int, int, int] | None, Mapping[str, Account]]:
    try:
        with path.open("rb") as file:
            found = os.fstat(file.fileno())
            facts = json.load(file)
        accounts = [Account(**{**entry, "role": Role.of(entry["role"])}) for entry in facts["accounts"]]
    except FileNotFoundError:
        return None, {}
    except OSError as error:
        raise _unreadable(path, error.strerror) from error
    except (ValueError, KeyError, TypeError) as error:
        raise _unreadable(path, "it is damaged") from error
    return (found.st_mtime_ns, found.st_ino, found.st_size), {one.name: one for one in accounts}


def _give_to_owner(handle: int, folder: Path) -> None:
    """Leave the file to the user that the node runs under, where root makes accounts for it."""
    if os.geteuid() == 0:
        owner = folder.stat()
        os.fchown(handle, owner.st_uid, owner.st_gid)


def _unreadable(path: Path, why: str | None) -> SpoolError:
    return SpoolError(
        f"Accounts {path}: can't be read ({why}). Restore the file from a backup, or move it away and make "
        "the accounts anew: dae-pacs accounts add"
    )


def _known(accounts: Mapping[str, Account], name: str) -> Account:
    account = accounts.get(name.strip().lower())
    if account is None:
        raise InputError("There is no account of that name; `dae-pacs accounts list` shows those there are.")
    return account


def _refuse_without_administrator(accounts: Mapping[str, Account]) -> None:
    if accounts and not any(account.role is Role.ADMINISTRATOR for account in accounts.values()):
        raise InputError(
            "That would leave nobody to look after the accounts; make another administrator first."
        )


def _stamp() -> str:
    return secrets.token_hex(16)
