"""Log-in over TLS, by password and by a provider, in a browser; what the audit trail says of it."""

import re
import socket
import ssl
import xml.etree.ElementTree as Xml
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from identity_provider import IdentityProvider
from visited import CONFIGURATION, form_token, log_in, until

from dae_pacs.demo.orthanc import free_port
from dae_pacs.web.doorman import cookie_name
from dae_pacs.web.gate import OF_ADDRESS
from dae_pacs.web.role import Role

EXTRA = """
[audit]
file = "audit.xml"

[oidc]
issuer = "{issuer}"
client_id = "console"
client_secret_file = "{secret}"
roles = {{ physics = "operator" }}
"""


@pytest.fixture(scope="module")
def identity():
    port = free_port()
    provider = IdentityProvider("console", "a secret", f"https://127.0.0.1:{port}/login/callback")
    provider.claims = {"preferred_username": "jane", "groups": ["physics"]}
    yield port, provider
    provider.close()


@pytest.fixture(scope="module")
def issued(authority):
    return authority.issue("console")


@pytest.fixture(scope="module")
def console(start_console, identity, issued, tmp_path_factory):
    port, provider = identity
    secret = tmp_path_factory.mktemp("secret") / "secret"
    secret.write_text("a secret")
    web = (
        f'[web]\nport = {port}\nurl = "https://127.0.0.1:{port}"\n'
        f'certificate = "{issued.certificate}"\nkey = "{issued.key}"\nproxies = ["127.0.0.1"]'
    )
    settings = CONFIGURATION.replace("[web]\nport = 0", web)
    return start_console(settings + EXTRA.format(issuer=provider.issuer, secret=secret))


def events(console, count):
    """Wait for messages about people, and give (type, outcome, who, from where) of each."""

    def found():
        path = console.settings.audit.file
        lines = path.read_text().splitlines() if path.exists() else []
        roots = [Xml.fromstring(line[line.index("<AuditMessage") :]) for line in lines if "110114" in line]
        return [
            (
                root.find("EventIdentification/EventTypeCode").get("originalText"),
                root.find("EventIdentification").get("EventOutcomeIndicator"),
                root.find("ActiveParticipant[@UserIsRequestor='true']").get("UserID"),
                root.find("ActiveParticipant[@UserIsRequestor='true']").get("NetworkAccessPointID"),
            )
            for root in roots
        ]

    until(lambda: len(found()) >= count)
    return found()


def test_trail_tells_of_log_ins_failures_and_log_outs(console):
    before = len(events(console, 0))
    with console.client() as client:
        log_in(client, "viewer", "wrong password here")
        log_in(client, "hunter2 in the wrong field", "wrong password here")
        log_in(client, "viewer")
        client.post("/logout", data={"csrf_token": form_token(client.get("/"))})
        log_in(client, "viewer", **{"X-Forwarded-For": "203.0.113.9"})
    assert events(console, before + 5)[before : before + 5] == [
        ("Login", "4", "viewer", "127.0.0.1"),
        ("Login", "4", "(unknown account)", "127.0.0.1"),
        ("Login", "0", "viewer", "127.0.0.1"),
        ("Logout", "0", "viewer", "127.0.0.1"),
        ("Login", "0", "viewer", "203.0.113.9"),
    ]


def test_cookies_over_tls_are_for_tls_and_this_host_alone(console, authority):
    trusting = ssl.create_default_context(cafile=authority.certificate)
    with httpx.Client(base_url=console.url, verify=trusting, timeout=30) as client:
        answer = log_in(client, "viewer")
        cookies = answer.headers.get_list("set-cookie")
        assert answer.headers["strict-transport-security"]
    assert all(one.startswith("__Host-dae-pacs-") and "Secure" in one for one in cookies)


def test_who_says_nothing_before_a_handshake_is_shown_out_in_seconds(console):
    host, port = console.url.removeprefix("https://").split(":")
    with socket.create_connection((host, int(port)), timeout=40) as silent:
        assert silent.recv(100) == b""
        with console.client() as client:
            assert client.get("/healthz").status_code == 200


def test_plain_text_and_old_tls_get_no_answer(console):
    with pytest.raises(httpx.HTTPError):
        httpx.get(console.url.replace("https", "http") + "/login", timeout=30)
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(httpx.HTTPError):
        httpx.get(f"{console.url}/login", timeout=30, verify=old)


def test_replaced_certificate_is_shown_from_then_on(console, authority, issued):
    where = (urlsplit(console.url).hostname, urlsplit(console.url).port)
    before = ssl.get_server_certificate(where)
    other = authority.issue("renewed")
    issued.key.write_bytes(other.key.read_bytes())
    issued.certificate.write_bytes(other.certificate.read_bytes())
    assert until(lambda: ssl.get_server_certificate(where) != before)


def test_person_of_the_provider_gets_in_by_the_browser(console, identity, open_page):
    page = open_page()
    page.goto("/login?next=/account")
    page.get_by_role("link", name="Log in with your hospital account").click()
    page.wait_for_url("**/account")
    assert page.get_by_role("heading", name="oidc:jane").is_visible()
    assert page.get_by_label("Current password").count() == 0
    page.goto("/")
    page.get_by_text("oidc:jane").click()
    page.get_by_role("button", name="Log out").click()
    page.wait_for_url("**/login")
    identity[1].claims["groups"] = []
    page.get_by_role("link", name="Log in with your hospital account").click()
    assert "gives you no role here" in page.get_by_role("alert").inner_text()


def test_way_back_from_the_provider_is_the_browsers_that_went(console, identity):
    identity[1].claims["groups"] = ["physics"]
    with console.client() as client, console.client() as other:
        there = client.get("/login/provider").headers["location"]
        back = urlsplit(httpx.get(there, timeout=30).headers["location"])
        path = f"{back.path}?{back.query}"
        assert other.get(path).status_code == 403
        assert other.get("/login/callback?code=x&state=").status_code == 403
        assert other.get("/").status_code == 401
        assert client.get(path).status_code == 200
        assert client.get("/").status_code == 200


def told_of(console, address, count):
    """Wait for messages about people at an address, and give (type, outcome, who) of each."""

    def found():
        return [event[:3] for event in events(console, 0) if event[3] == address]

    until(lambda: len(found()) >= count)
    return found()


def test_way_back_that_nobody_went_is_not_in_the_trail(console):
    where = {"X-Forwarded-For": "203.0.113.4"}
    name = cookie_name(console.settings, kind="provider")
    with console.client() as client:
        for cookie, query in (("", ""), ("", "state=&code=x"), ("madeup", "state=madeup&code=x")):
            headers = where | {"Cookie": f"{name}={cookie}"}
            assert client.get(f"/login/callback?{query}", headers=headers).status_code == 403
        log_in(client, "viewer", **where)
    assert told_of(console, "203.0.113.4", 1) == [("Login", "0", "viewer")]


def test_provider_that_refuses_is_told_of_and_not_asked_without_end(console):
    where = {"X-Forwarded-For": "203.0.113.5"}
    answers = []
    with console.client() as client:
        while 429 not in answers and len(answers) < OF_ADDRESS.free + 10:
            there = client.get("/login/provider", headers=where).headers["location"]
            (state,) = parse_qs(urlsplit(there).query)["state"]
            way = f"/login/callback?state={state}&code=wrong"
            answers.append(client.get(way, headers=where).status_code)
        assert log_in(client, "viewer", **where).status_code == 303
    *refused, last = answers
    assert last == 429
    assert refused == [403] * len(refused)
    told = told_of(console, "203.0.113.5", len(refused) + 1)
    assert told == [("Login", "4", "(unknown account)")] * len(refused) + [("Login", "0", "viewer")]


def test_own_password_is_changed_on_the_page(console, open_page):
    console.accounts.add("changing", Role.VIEWER, "the first long sentence")
    page = open_page()
    page.goto("/login")
    page.get_by_label("Name").fill("changing")
    page.get_by_label("Password").fill("the first long sentence")
    page.get_by_role("button", name="Log in", exact=True).click()
    page.wait_for_url(re.compile("/$"))
    page.goto("/account")
    for current, words in (("not it, really not", "wrong"), ("the first long sentence", "was changed")):
        page.get_by_label("Current password").fill(current)
        page.get_by_label("New password", exact=True).fill("the second long sentence")
        page.get_by_label("New password again").fill("the second long sentence")
        page.get_by_role("button", name="Change the password").click()
        page.get_by_text(words).first.wait_for()
    assert console.accounts.verified("changing", "the second long sentence") is not None


def test_administrator_looks_after_accounts_on_the_page(console, administrator_page):
    page = administrator_page
    page.goto("/accounts")
    page.get_by_label("Name", exact=True).fill("New.Person")
    page.get_by_label("Password", exact=True).fill("short and then some")
    page.get_by_role("button", name="Make it").click()
    page.get_by_role("row", name=re.compile("new.person")).wait_for()
    page.get_by_label("Role of new.person", exact=True).select_option("operator")
    page.get_by_role("button", name="Save the role of new.person").click()
    until(lambda: console.accounts.find("new.person").role is Role.OPERATOR)
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Remove new.person").click()
    until(lambda: console.accounts.find("new.person") is None)
    page.get_by_role("button", name="Remove administrator").click()
    page.get_by_role("alert").wait_for()
    assert console.accounts.find("administrator") is not None
