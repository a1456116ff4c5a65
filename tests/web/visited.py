"""A console that tests visit: its address, its accounts, clients that are logged in."""

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from dae_pacs.config.model import Settings
from dae_pacs.dimse.scu import PeerAddress
from dae_pacs.node.lifecycle import Node
from dae_pacs.web.accounts import Accounts
from dae_pacs.web.process import WebProcess
from dae_pacs.web.role import Role

PASSWORD = "correct horse battery staple"
CONFIGURATION = """
[node]
accept = "anyone"
port = 0
quiet_s = 0.3
minimum_free_mb = 0

[web]
port = 0

[[rules]]
name = "everything"
action = "keep"
"""
START_S = 60.0


@dataclass(frozen=True)
class Console:
    """A node with its console."""

    settings: Settings
    node: Node
    web: WebProcess
    accounts: Accounts

    @property
    def url(self) -> str:
        assert self.web.url is not None
        return self.web.url

    @property
    def address(self) -> PeerAddress:
        """Where the node takes objects."""
        return PeerAddress(self.settings.node.ae_title, "127.0.0.1", self.node.scp.port)

    @contextmanager
    def client(self, role: Role | None = None) -> Iterator[httpx.Client]:
        """Give an HTTP client, logged in as the account of a role; without one, a stranger's."""
        with httpx.Client(base_url=self.url, verify=False, timeout=30) as client:
            if role is not None:
                assert log_in(client, role.label).status_code == 303
            yield client


def log_in(client: httpx.Client, name: str, password: str = PASSWORD, **headers: str) -> httpx.Response:
    page = client.get("/login")
    said = {"csrf_token": form_token(page), "name": name, "password": password}
    return client.post("/login", data=said, headers=headers)


def form_token(page: httpx.Response) -> str:
    """Take the CSRF token out of a page's form."""
    found = re.search(r'name="csrf_token" value="([^"]+)"', page.text)
    assert found is not None, page.text
    return found[1]


def until(true: Callable[[], Any], timeout_s: float = START_S) -> Any:
    """Wait until something holds, and give it."""
    deadline = time.monotonic() + timeout_s
    while not (found := true()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
    return found
