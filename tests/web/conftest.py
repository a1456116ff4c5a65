"""A real node with its console on a free port, accounts of each role, and browsers that are logged in.

One of each for a module of tests: a node and a browser take seconds to start. `CONFIGURATION` of a module
adds to the settings.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from dae_pacs.config.load import load
from dae_pacs.node.answers import answers_of
from dae_pacs.node.lifecycle import Node
from dae_pacs.web.accounts import open_accounts
from dae_pacs.web.process import WebProcess
from dae_pacs.web.role import Role

sys.path.insert(0, str(Path(__file__).parent))  # for this folder's own module

from visited import CONFIGURATION, PASSWORD, Console, until

CHROMIUM = Path("/usr/bin/chromium")

StartConsole = Callable[..., Console]


@pytest.fixture(scope="module")
def start_console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartConsole]:
    """Start consoles: `start_console(configuration)`; they end with the module."""
    with ExitStack() as running:

        def start(configuration: str = CONFIGURATION) -> Console:
            folder = tmp_path_factory.mktemp("node")
            (folder / "dae-pacs.toml").write_text(configuration)
            settings = load(folder / "dae-pacs.toml")
            node = Node(settings)
            running.callback(node.stop)
            node.start()
            accounts = open_accounts(settings.node.spool)
            for role in (Role.ADMINISTRATOR, Role.OPERATOR, Role.VIEWER):
                accounts.add(role.label, role, PASSWORD)
            web = WebProcess(settings, answers_of(node.parts))
            running.callback(web.stop)
            web.start()
            until(lambda: web.url)
            return Console(settings, node, web, accounts)

        yield start


@pytest.fixture(scope="module")
def console(request: pytest.FixtureRequest, start_console: StartConsole) -> Console:
    """One node with its console; a module's own CONFIGURATION takes the place of the one here."""
    return start_console(getattr(request.module, "CONFIGURATION", CONFIGURATION))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium, without a window."""
    if not CHROMIUM.exists():
        pytest.skip("Debian's chromium is not installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield browser
        browser.close()


OpenPage = Callable[..., Page]


@pytest.fixture
def open_page(console: Console, browser: Browser) -> Iterator[OpenPage]:
    """Open pages: `open_page(Role.VIEWER, color_scheme="dark")`; without a role, of a stranger.

    A page that logs an error, or breaks its Content-Security-Policy, fails the test.
    """
    wrong: list[str] = []
    with ExitStack() as opened:

        def open_one(role: Role | None = None, **options: object) -> Page:
            context = browser.new_context(base_url=console.url, ignore_https_errors=True, **options)
            opened.callback(context.close)
            page = context.new_page()
            page.on("pageerror", lambda error: wrong.append(str(error)))
            page.on("console", lambda told: wrong.append(told.text) if is_fault(told) else None)
            if role is not None:
                page.goto("/login")
                page.get_by_label("Name").fill(role.label)
                page.get_by_label("Password").fill(PASSWORD)
                page.get_by_role("button", name="Log in").click()
                page.wait_for_url(lambda url: "/login" not in url)
            return page

        yield open_one
    assert not wrong


def is_fault(told: Any) -> bool:
    """Tell a script's mistake from an answer with a status that a test asked for."""
    return told.type == "error" and not told.text.startswith("Failed to load resource")


@pytest.fixture
def viewer_page(open_page: OpenPage) -> Page:
    return open_page(Role.VIEWER)


@pytest.fixture
def operator_page(open_page: OpenPage) -> Page:
    return open_page(Role.OPERATOR)


@pytest.fixture
def administrator_page(open_page: OpenPage) -> Page:
    return open_page(Role.ADMINISTRATOR)
