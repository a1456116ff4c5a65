"""What pages answer when something under them fails: words, the right status, and to strangers no path."""

import asyncio
import multiprocessing
import sqlite3

import httpx
import pytest

from dae_pacs.config.model import NodeSettings, Settings
from dae_pacs.web.app import create_app
from dae_pacs.web.context import open_context
from dae_pacs.web.desk import Desk
from dae_pacs.web.doorman import CSRF_HEADER, cookie_name, seeded_token
from dae_pacs.web.role import Role

HOST = "localhost"
SEED = "a seed"


@pytest.fixture
def context(tmp_path):
    ours, theirs = multiprocessing.Pipe()
    context = open_context(Settings(node=NodeSettings(spool=tmp_path)), Desk(theirs))
    yield context
    context.ledger.close()
    ours.close()
    theirs.close()


@pytest.fixture
def ask(context):
    """Ask the application: `ask("GET", "/studies", role=Role.VIEWER)`."""

    async def asked(method, path, role, accept) -> httpx.Response:
        transport = httpx.ASGITransport(create_app(context))
        headers = {"Accept": accept}
        cookies = {cookie_name(context.settings, kind="form"): SEED}
        if role is None:
            headers[CSRF_HEADER] = seeded_token(context, SEED)
        else:
            token = context.sessions.begin("jane", role, stamp=None, address="127.0.0.1")
            cookies[cookie_name(context.settings)] = token
            headers[CSRF_HEADER] = context.sessions.find(token).csrf
        async with httpx.AsyncClient(
            transport=transport, base_url=f"http://{HOST}", headers=headers, cookies=cookies
        ) as client:
            return await client.request(method, path, data={} if method == "POST" else None)

    def ask(method, path, *, role=None, accept="text/html") -> httpx.Response:
        return asyncio.run(asked(method, path, role, accept))

    return ask


@pytest.mark.parametrize("accept", ["text/html", "*/*"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_stranger_sees_no_path_of_accounts_that_cant_be_read(ask, context, tmp_path, caplog, method, accept):
    (tmp_path / "accounts.json").write_text("damaged")
    answer = ask(method, "/login", accept=accept)
    assert answer.status_code == 503
    assert str(tmp_path) not in answer.text
    assert str(tmp_path) in next(record for record in caplog.records if hasattr(record, "why")).why


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_ledger_that_cant_be_read_is_no_conflict(ask, context, tmp_path, method):
    assert ask(method, "/studies", role=Role.VIEWER).status_code == 200
    with sqlite3.connect(context.files.ledger_path) as other:
        other.execute("DROP TABLE studies")
    other.close()
    answer = ask(method, "/studies", role=Role.VIEWER)
    assert answer.status_code == 503
    assert "The ledger" in answer.text


def test_form_that_breaks_off_is_no_mistake_of_ours(context, caplog):
    said = [{"type": "http.request", "body": b"name=ja", "more_body": True}, {"type": "http.disconnect"}]
    answered = []

    async def receive():
        return said.pop(0)

    async def send(message):
        answered.append(message)

    headers = {"host": HOST, "content-type": "application/x-www-form-urlencoded", "content-length": "90"}
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/login",
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }
    asyncio.run(create_app(context)(scope, receive, send))
    assert answered[0]["status"] == 400
    assert not [record for record in caplog.records if record.levelname in {"ERROR", "WARNING"}]
