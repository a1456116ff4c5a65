"""Who is it? By the cookie of a session, or by what a program says in its Authorization header."""

import base64
import binascii
import hmac
import math
import secrets
from dataclasses import dataclass
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection

from dae_pacs.audit.events import Person
from dae_pacs.config.model import Settings
from dae_pacs.errors import TooManyTriesError
from dae_pacs.web.context import Context, context_of
from dae_pacs.web.gate import Try
from dae_pacs.web.role import Role
from dae_pacs.web.sessions import Session

CSRF_HEADER: Final = "x-csrf-token"
CSRF_FIELD: Final = "csrf_token"
LIVE_HEADER: Final = "x-live"
"""Sent by what refreshes itself, so that a page left open does not keep its session."""


@dataclass(frozen=True)
class Visitor:
    """Somebody who is known."""

    name: str
    role: Role
    address: str
    session: Session | None
    """None for a program that says its name and password, or token, with each request."""

    @property
    def is_of_account(self) -> bool:
        """Whether it is an account of ours, and not a provider's word, that lets the visitor in."""
        return self.session is None or self.session.stamp is not None

    @property
    def person(self) -> Person:
        """As requests to the node name whoever asks."""
        return Person(self.name, self.address)


def address_of(connection: HTTPConnection) -> str:
    """Say where a request came from."""
    return connection.client.host if connection.client else ""


def cookie_name(settings: Settings, *, kind: str = "session") -> str:
    """Name a cookie: browsers keep those with __Host- to TLS and to this host alone."""
    if settings.web.is_secure:
        return f"__Host-dae-pacs-{kind}"
    return (
        f"dae-pacs-{kind}-{settings.web.port}"  # cookies don't know ports, and one machine may have two nodes
    )


def by_cookie(connection: HTTPConnection) -> Visitor | None:
    """Find whose session a request belongs to; None for nobody's, or one that is over."""
    context = context_of(connection)
    token = connection.cookies.get(cookie_name(context.settings))
    if token is None:
        return None
    session = context.sessions.find(token, is_click=not _refreshes_itself(connection))
    if session is None:
        return None
    if not is_vouched_for(context, session):
        context.sessions.end(token)
        return None
    return Visitor(session.name, session.role, address_of(connection), session)


def _refreshes_itself(connection: HTTPConnection) -> bool:
    """Tell whether a page asks by itself: by a script that says so, or for a stream of events."""
    return LIVE_HEADER in connection.headers or "text/event-stream" in connection.headers.get("accept", "")


def is_vouched_for(context: Context, session: Session) -> bool:
    """Tell whether the account of a session is still what it was when the session began."""
    if session.stamp is None:
        return True
    account = context.accounts.find(session.name)
    return account is not None and hmac.compare_digest(account.stamp, session.stamp)


def by_header(connection: HTTPConnection) -> Visitor | None:
    """Find who a program is by its Authorization header: Basic with name and password, or Bearer.

    Raises:
        HTTPException: 429, after too many wrong ones.
    """
    context = context_of(connection)
    scheme, _, rest = connection.headers.get("authorization", "").partition(" ")
    address = address_of(connection)
    account = None
    try:
        if scheme.lower() == "bearer" and rest:
            account = context.gate.enter_token(rest.strip(), address)
        elif scheme.lower() == "basic" and rest:
            name, password = _name_and_password(rest)
            account = context.gate.enter_program(Try(name, password, address))
    except TooManyTriesError as error:
        raise too_many(error) from error
    return Visitor(account.name, account.role, address, None) if account else None


def too_many(error: TooManyTriesError) -> HTTPException:
    """Say how long somebody has to wait who was wrong too often."""
    wait_s = math.ceil(error.wait_s)
    return HTTPException(429, str(error), headers={"Retry-After": str(wait_s)})


def _name_and_password(packed: str) -> tuple[str, str]:
    try:
        name, _, password = base64.b64decode(packed, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    return name, password


def csrf_token(connection: HTTPConnection) -> str:
    """Give what a page's forms must say; "" for a visitor without a session and without a seed."""
    visitor = getattr(connection.state, "visitor", None)
    if isinstance(visitor, Visitor) and visitor.session is not None:
        return visitor.session.csrf
    seed = connection.cookies.get(cookie_name(context_of(connection).settings, kind="form"), "")
    return seeded_token(context_of(connection), seed) if seed else ""


def seeded_token(context: Context, seed: str) -> str:
    """Give the token that belongs to the seed which a visitor without a session holds in a cookie."""
    return hmac.new(context.secret, seed.encode(), "sha256").hexdigest()


def is_csrf_token(connection: HTTPConnection, said: str) -> bool:
    """Tell whether a request that changes something comes from a page of ours."""
    expected = csrf_token(connection)
    return bool(expected) and secrets.compare_digest(expected.encode(), said.encode())
