"""What the pages are made from: one frozen value, made when the process starts."""

import secrets
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from jinja2 import Environment
from starlette.requests import HTTPConnection

from dae_pacs.config.model import Settings
from dae_pacs.spool.files import SpoolFiles
from dae_pacs.spool.ledger import Ledger
from dae_pacs.web.accounts import Accounts, open_accounts
from dae_pacs.web.assets import Assets, read_assets
from dae_pacs.web.desk import Desk
from dae_pacs.web.gate import Gate
from dae_pacs.web.look.accesses import Accesses
from dae_pacs.web.look.frames import OpenImages
from dae_pacs.web.sessions import Sessions
from dae_pacs.web.templating import environment
from dae_pacs.web.throttle import Throttle
from dae_pacs.web.turns import Turns

if TYPE_CHECKING:
    from dae_pacs.web.provider import Provider


@dataclass(frozen=True)
class Context:
    """Everything that a handler may use."""

    settings: Settings
    ledger: Ledger
    """For reading alone: whatever changes something is asked of the node, at the desk."""
    files: SpoolFiles
    desk: Desk
    accounts: Accounts
    sessions: Sessions
    gate: Gate
    provider: "Provider | None"
    """The site's identity provider, where there is one."""
    assets: Assets
    templates: Environment
    secret: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)
    """Signs what visitors without a session hold; another one each time the process starts."""
    images: OpenImages = field(default_factory=OpenImages)
    accesses: Accesses = field(default_factory=Accesses)
    conversions: Turns = field(default_factory=lambda: Turns(at_once=4, waiting=8, patience_s=10.0))
    """Retrievals that need copies on the disk; there are forty threads for all requests together."""


def open_context(settings: Settings, desk: Desk) -> Context:
    """Open all that the pages need.

    Raises:
        SpoolError: the spool or its ledger can't be used.
    """
    files = SpoolFiles(settings.node.spool)
    assets = read_assets()
    web = settings.web
    accounts = open_accounts(settings.node.spool)
    return Context(
        settings=settings,
        ledger=Ledger(files.ledger_path, verify=False),
        files=files,
        desk=desk,
        accounts=accounts,
        provider=_provider(settings),
        gate=Gate(accounts, Throttle(time.monotonic), desk),
        sessions=Sessions(
            idle_s=60 * web.idle_minutes, longest_s=3600 * web.session_hours, clock=time.monotonic
        ),
        assets=assets,
        templates=environment(assets),
    )


def _provider(settings: Settings) -> "Provider | None":
    if settings.oidc.issuer is None:
        return None
    from dae_pacs.web.provider import Provider  # noqa: PLC0415  its libraries, where there is a provider

    return Provider(settings.oidc, redirect_uri=f"{settings.web.url}/login/callback")


def context_of(connection: HTTPConnection) -> Context:
    """Give the context of the application that a request came to."""
    context = connection.app.state.context
    if not isinstance(context, Context):
        raise TypeError("the application was made without its context")
    return context
