"""Names and passwords are checked here alone: slowed down for guessers, and told to the audit trail.

Failures count against the address that they come from, and against the account. A browser that has logged in
to an account before shows so by a cookie, and has a count of its own: whoever guesses at an account from
elsewhere can't keep its owner out.
"""

import hashlib
import hmac
import logging
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from dae_pacs.audit.events import Person
from dae_pacs.errors import DaePacsError, TooManyTriesError
from dae_pacs.node.asking import AccountsChanged, Authenticated
from dae_pacs.web.accounts import Account, Accounts
from dae_pacs.web.desk import Desk
from dae_pacs.web.throttle import Patience, Throttle

if TYPE_CHECKING:
    from dae_pacs.web.provider import Known

logger = logging.getLogger(__name__)

OF_ADDRESS: Final = Patience(free=20, most_s=300.0)
"""A hospital's people may all come from one address."""
OF_ACCOUNT: Final = Patience(free=5, most_s=60.0)
OF_BROWSER: Final = Patience(free=5, most_s=60.0)
REMEMBERED_S: Final = 300.0
"""A program that says its password with each request is not made to wait for Argon2 each time."""
MOST_REMEMBERED: Final = 500
_TELL_S: Final = 3.0
UNKNOWN: Final = "(unknown account)"
"""In the trail, for a name that is none: people type their password there."""


@dataclass(frozen=True)
class Try:
    """Somebody's name and password, where they come from, and what their browser remembers."""

    name: str
    password: str
    address: str
    browser: str = ""
    """The cookie of a browser that has logged in before."""


class Gate:
    """Lets in who knows the password of an account."""

    def __init__(self, accounts: Accounts, throttle: Throttle, desk: Desk) -> None:
        self._accounts = accounts
        self._throttle = throttle
        self._desk = desk
        self._lock = threading.Lock()
        self._salt = secrets.token_bytes(32)
        self._remembered: OrderedDict[bytes, tuple[str, str, float]] = OrderedDict()

    def enter(self, tried: Try) -> Account | None:
        """Check a name and password; None where they are wrong.

        Raises:
            TooManyTriesError: it was not checked.
            ServiceError: too many are being checked at this moment.
        """
        found = self._accounts.find(tried.name)
        is_known_browser = found is not None and is_browser_of(found, tried.browser)
        counts = self._counts(tried, found, is_known_browser=is_known_browser)
        wait_s = self._throttle.wait_s(*counts)
        if wait_s > 0:
            raise TooManyTriesError(wait_s)
        account = self._accounts.verified(tried.name, tried.password)
        who = Person(found.name if found else UNKNOWN, tried.address)
        if account is None:
            for key, patience in counts.items():
                self._throttle.failed(key, patience)
            self.tell(Authenticated(who, "login", "wrong name or password"))
            return None
        self._throttle.forgive(*(key for key in counts if not key.startswith("address ")))
        self.tell(Authenticated(who, "login"))
        return account

    def enter_program(self, tried: Try) -> Account | None:
        """Check as `enter` does, but believe for some minutes what was right before."""
        said = f"{tried.name}\0{tried.password}\0{tried.address}".encode()
        key, now = hmac.digest(self._salt, said, "sha256"), time.monotonic()
        with self._lock:
            name, stamp, until = self._remembered.get(key, ("", "", 0.0))
        account = self._accounts.find(name) if now < until else None
        if account is not None and hmac.compare_digest(account.stamp, stamp):
            return account
        account = self.enter(tried)
        if account is not None:
            with self._lock:
                self._remembered[key] = (account.name, account.stamp, now + REMEMBERED_S)
                while len(self._remembered) > MOST_REMEMBERED:
                    self._remembered.popitem(last=False)
        return account

    def enter_token(self, token: str, address: str) -> Account | None:
        """Find the account of a program's token; a right one never waits for others' wrong ones.

        A token has 256 bits: nobody comes nearer to one by guessing while they should wait.

        Raises:
            TooManyTriesError: it is wrong, as too many from that address were.
        """
        account = self._accounts.of_token(token)
        if account is None:
            key = f"address {address}"
            if (wait_s := self._throttle.wait_s(key)) > 0:
                raise TooManyTriesError(wait_s)
            self._throttle.failed(key, OF_ADDRESS)
        return account

    def enter_by_provider(self, address: str, ask: Callable[[], "Known"]) -> "Known":
        """Let in whom a provider vouches for.

        Args:
            address: where they come from; its failures there don't make passwords wait.
            ask: asks the provider, and raises what it refuses.

        Raises:
            TooManyTriesError: the provider was not asked.
            DaePacsError: as `ask`.
        """
        key = f"provider {address}"
        if (wait_s := self._throttle.wait_s(key)) > 0:
            raise TooManyTriesError(wait_s)
        try:
            return ask()
        except DaePacsError:
            self._throttle.failed(key, OF_ADDRESS)
            self.tell(Authenticated(Person(UNKNOWN, address), "login", "the provider's word did not hold"))
            raise

    def tell(self, event: Authenticated | AccountsChanged) -> None:
        """Have it written into the audit trail; what can't be told now is in the log, and stops nobody."""
        try:
            self._desk.ask(event, timeout_s=_TELL_S)
        except DaePacsError as error:
            fields = {"event": type(event).__name__, "why": str(error)}
            logger.warning("not told to the audit trail", extra=fields)

    def _counts(self, tried: Try, found: Account | None, *, is_known_browser: bool) -> dict[str, Patience]:
        if found is not None and is_known_browser:
            return {f"browser {_digest(tried.browser)}": OF_BROWSER}
        # The stamp is part of the key, so that a new password starts a new count.
        account = f"{found.name} {found.stamp}" if found else _digest(tried.name.strip().lower())
        return {f"address {tried.address}": OF_ADDRESS, f"account {account}": OF_ACCOUNT}


def browser_cookie(account: Account) -> str:
    """Make what a browser remembers of a log-in: good until the account's password or role changes."""
    nonce = secrets.token_urlsafe(12)
    return f"{nonce}.{_signed(account, nonce)}"


def is_browser_of(account: Account, cookie: str) -> bool:
    """Tell whether a browser has logged in to this account before."""
    nonce, _, signature = cookie.partition(".")
    return bool(signature) and hmac.compare_digest(signature.encode(), _signed(account, nonce).encode())


def _signed(account: Account, nonce: str) -> str:
    return hmac.new(account.stamp.encode(), f"browser {account.name} {nonce}".encode(), "sha256").hexdigest()


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]
