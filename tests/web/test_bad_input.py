"""What strangers send to the console, and what becomes of it: nothing, quickly, and the node goes on."""

import os
import signal
import socket
import threading
import time
from urllib.parse import urlsplit

import httpx
import psutil
import pytest
from visited import CONFIGURATION as USUAL
from visited import PASSWORD, form_token, log_in, until

from dae_pacs.dimse.scu import echo
from dae_pacs.web.doorman import cookie_name
from dae_pacs.web.gate import OF_ACCOUNT, OF_ADDRESS
from dae_pacs.web.role import Role

CONFIGURATION = USUAL.replace("[web]", '[web]\nrequest_timeout_s = 1.5\nproxies = ["127.0.0.1"]')
GIGABYTE = 10**9


@pytest.fixture
def raw(console):
    """Open plain connections to the console."""
    opened = []

    def connect(said: bytes = b"") -> socket.socket:
        url = urlsplit(console.url)
        connection = socket.create_connection((url.hostname, url.port), timeout=30)
        opened.append(connection)
        connection.sendall(said)
        return connection

    yield connect
    for connection in opened:
        connection.close()


def all_of(connection: socket.socket) -> bytes:
    """Read until the other side closes."""
    got = b""
    try:
        while part := connection.recv(65536):
            got += part
    except ConnectionResetError:
        pass
    return got


def head(console, method: str, path: str, *lines: str) -> bytes:
    host = urlsplit(console.url).netloc
    return "\r\n".join([f"{method} {path} HTTP/1.1", f"Host: {host}", *lines, "", ""]).encode()


def session_cookie(console) -> str:
    return cookie_name(console.settings)


def test_of_many_dry_runs_at_once_a_few_are_taken(console):
    form = {"Content-Type": "multipart/form-data; boundary=x"}

    def slowly():
        yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="x.dcm"\r\n\r\n'
        while not enough.wait(0.1):
            yield bytes(4096)
        yield b"\r\n--x--\r\n"

    with console.client(Role.VIEWER) as client:
        client.headers["X-CSRF-Token"] = form_token(client.get("/"))

        def hold():
            """Take a place, again where who asks below was quicker."""
            while not enough.is_set():
                if client.post("/rules", content=slowly(), headers=form).status_code != 503:
                    return

        def status(accept="*/*"):
            file = {"file": ("x.dcm", b"no DICOM")}
            return client.post("/rules", files=file, headers={"Accept": accept}).status_code

        for accept in ("*/*", "text/html"):
            enough = threading.Event()
            senders = [threading.Thread(target=hold) for _ in range(2)]
            for sender in senders:
                sender.start()
            seen = []
            until(lambda seen=seen, accept=accept: seen.append(status(accept)) or seen[-1] != 200, 30)
            enough.set()
            for sender in senders:
                sender.join()
            assert seen[-1] == 503
        assert status() == 200


# Passwords, sessions, forms


def test_wrong_password_ten_times_waits_and_the_right_one_gets_in_again(console):
    name, right = "guessed", "the right long sentence"
    console.accounts.add(name, Role.VIEWER, right)
    with console.client() as client, console.client() as own:
        assert log_in(own, name, right).status_code == 303
        own.post("/logout", data={"csrf_token": form_token(own.get("/"))})
        answers = [log_in(client, name, f"wrong {n}") for n in range(10)]
        assert [one.status_code for one in answers] == [401] * (OF_ACCOUNT.free + 1) + [429] * (
            9 - OF_ACCOUNT.free
        )
        assert 1 <= int(answers[-1].headers["retry-after"]) <= 60
        assert log_in(client, name, right).status_code == 429  # not looked at
        assert log_in(own, name, right).status_code == 303  # a browser that is known has its own count
        until(lambda: log_in(client, name, right).status_code == 303, timeout_s=10)
    console.accounts.remove(name)


def test_unknown_name_and_wrong_password_sound_the_same(console):
    with console.client() as client:
        first, second = log_in(client, "viewer", "not it at all"), log_in(client, "nobody", "not it at all")
    assert first.status_code == second.status_code == 401
    assert "Name or password is wrong." in first.text
    assert "Name or password is wrong." in second.text


def test_script_in_a_name_is_shown_as_words(console):
    with console.client() as client:
        page = log_in(client, '"><script>alert(1)</script>', "whatever it is")
    assert "<script>alert" not in page.text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page.text


def test_forged_and_ended_sessions_are_nobodys(console):
    with console.client(Role.VIEWER) as client:
        token = client.cookies[session_cookie(console)]
        for forged in ("x" * 43, token[:-1] + ("A" if token[-1] != "A" else "B"), "", "é".encode().hex()):
            answer = httpx.get(f"{console.url}/", timeout=30, cookies={session_cookie(console): forged})
            assert answer.status_code == 401
        client.post("/logout", data={"csrf_token": form_token(client.get("/"))})
        replayed = httpx.get(f"{console.url}/", timeout=30, cookies={session_cookie(console): token})
        assert replayed.status_code == 401


@pytest.mark.parametrize("change", ["password", "role", "remove", "logout"])
def test_session_ends_with_its_account_as_it_was(console, change):
    console.accounts.add("passing", Role.OPERATOR, PASSWORD)
    with console.client() as client:
        log_in(client, "passing")
        assert client.get("/").status_code == 200
        match change:
            case "password":
                console.accounts.set_password("passing", "another long sentence")
            case "role":
                console.accounts.set_role("passing", Role.VIEWER)
            case "remove":
                console.accounts.remove("passing")
            case "logout":
                with console.client(Role.ADMINISTRATOR) as boss:
                    token = form_token(boss.get("/accounts"))
                    boss.post("/accounts/passing/sessions/end", data={"csrf_token": token})
        assert client.get("/").status_code == 401
    if change != "remove":
        console.accounts.remove("passing")


def test_form_without_our_token_does_nothing(console):
    with console.client(Role.ADMINISTRATOR) as client, console.client(Role.OPERATOR) as other:
        page = client.get("/accounts")
        said = {"name": "intruder", "role": "administrator", "password": PASSWORD}
        foreign = form_token(other.get("/account"))
        tries = [
            client.post("/accounts", data=said),
            client.post("/accounts", data=said | {"csrf_token": "x"}),
            client.post("/accounts", data=said | {"csrf_token": foreign}),
            client.post("/accounts", data=said, headers={"X-CSRF-Token": foreign}),
            client.post("/accounts", json=said),
            client.post(
                "/accounts",
                data=said | {"csrf_token": form_token(page)},
                headers={"Sec-Fetch-Site": "cross-site"},
            ),
            client.post("/accounts", content=b"name=intruder", headers={"Content-Type": "text/plain"}),
        ]
        assert [one.status_code for one in tries] == [403] * len(tries)
        assert client.post("/login", data={"name": "viewer", "password": PASSWORD}).status_code == 403
    assert console.accounts.find("intruder") is None


def test_role_is_needed_for_each_page(console):
    with console.client(Role.OPERATOR) as client:
        assert client.get("/accounts").status_code == 403
        token = form_token(client.get("/account"))
        for path in ("/accounts", "/accounts/viewer/remove", "/accounts/operator/role"):
            said = {"csrf_token": token, "role": "administrator", "name": "x", "password": PASSWORD}
            assert client.post(path, data=said).status_code == 403
    assert console.accounts.find("operator").role is Role.OPERATOR


def test_login_leads_to_our_own_pages_alone(console):
    with console.client() as client:
        foreign = ("https://evil.example/", "//evil.example", "/\\evil.example", "javascript:alert(1)")
        for target in (*foreign, "/\t/["):
            page = client.get("/login", params={"next": target})
            said = {"csrf_token": form_token(page), "name": "viewer", "password": PASSWORD, "next": target}
            answer = client.post("/login", data=said)
            assert (answer.status_code, answer.headers["location"]) == (303, "/")
            client.cookies.clear()


def test_cookies_are_for_us_and_not_for_scripts(console):
    with console.client() as client:
        cookies = log_in(client, "viewer").headers.get_list("set-cookie")
    assert cookies
    assert all("HttpOnly" in one and "SameSite=strict" in one for one in cookies)


# Bodies, headers, paths


def test_upload_of_two_gigabytes_is_refused_unread(console, raw):
    before = psutil.Process(console.web.pid).memory_info().rss
    lines = ("Content-Type: multipart/form-data; boundary=x", f"Content-Length: {2 * GIGABYTE}")
    connection = raw(head(console, "POST", "/login", *lines))
    answer = all_of(connection)
    assert b" 413 " in answer.splitlines()[0]
    assert psutil.Process(console.web.pid).memory_info().rss - before < 20e6


def test_upload_that_says_no_length_is_cut_off(console, raw):
    before = psutil.Process(console.web.pid).memory_info().rss
    connection = raw(
        head(console, "POST", "/login", "Content-Type: text/plain", "Transfer-Encoding: chunked")
    )
    part = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    sent = 0
    connection.settimeout(5)
    try:
        while sent < 200e6:
            connection.sendall(part)
            sent += len(part)
    except OSError:  # reset, or nobody reads any more
        pass
    assert sent < 50e6
    assert psutil.Process(console.web.pid).memory_info().rss - before < 20e6


def test_half_a_request_is_closed_in_time(console, raw):
    silent, half = raw(), raw(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ")
    began = time.monotonic()
    for _ in range(8):
        try:
            half.sendall(b"x")
        except OSError:
            break
        time.sleep(0.3)
    assert all_of(half) == all_of(silent) == b""
    assert time.monotonic() - began < 15
    assert httpx.get(f"{console.url}/login", timeout=30).status_code == 200


def test_half_a_body_is_closed_in_time(console, raw):
    lines = ("Content-Type: application/x-www-form-urlencoded", "Content-Length: 100")
    connection = raw(head(console, "POST", "/login", *lines) + b"name=")
    assert all_of(connection)[:12] == b"HTTP/1.1 408"


def test_body_that_trickles_is_closed_in_time(console, raw):
    lines = ("Content-Type: application/x-www-form-urlencoded", "Content-Length: 1000")
    connection = raw(head(console, "POST", "/login", *lines))
    connection.settimeout(0.2)
    for _ in range(100):
        try:
            connection.sendall(b"x")
            answer = connection.recv(12)
            break
        except TimeoutError:
            continue
    assert answer == b"HTTP/1.1 408"


@pytest.mark.parametrize(
    "said",
    [
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Long: " + b"x" * 100_000 + b"\r\nConnection: close\r\n\r\n",
        b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: evil.example\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
    ],
    ids=["header", "path", "tls", "negative", "two lengths", "two hosts", "no host"],
)
def test_requests_that_are_none_are_refused(console, raw, said):
    answer = all_of(raw(said))
    assert answer[:12] in (b"HTTP/1.1 400", b"HTTP/1.1 421", b"HTTP/1.1 431", b""), answer[:200]
    assert httpx.get(f"{console.url}/login", timeout=30).status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/static/../templates/base.html.j2",
        "/static/..%2f..%2fweb/app.py",
        "/static/%2e%2e/%2e%2e/accounts.json",
        "/static//etc/passwd",
        "/static/console.css%00.txt",
        "/static/",
    ],
)
def test_paths_lead_out_of_no_folder(console, raw, path):
    answer = all_of(raw(head(console, "GET", path, "Connection: close")))
    assert b" 404 " in answer.splitlines()[0]


def test_multipart_that_is_broken_is_told_in_words(console):
    with console.client(Role.ADMINISTRATOR) as client:
        token = form_token(client.get("/accounts"))
        answer = client.post(
            "/accounts",
            content=b"--y\r\nno header at all",
            headers={"Content-Type": "multipart/form-data; boundary=x", "X-CSRF-Token": token},
        )
    assert answer.status_code == 400
    assert "Traceback" not in answer.text


@pytest.mark.parametrize("charset", ["punycode", "utf-16", '"idna"', "utf-8; charset=punycode"])
def test_multipart_in_any_other_charset_is_refused_unread(console, charset):
    words = "a" * 200_000 + "-" + "b" * 20_000  # Python's punycode takes minutes for this
    part = f'--x\r\nContent-Disposition: form-data; name="name"\r\n\r\n{words}\r\n--x--\r\n'
    kind = f"multipart/form-data; boundary=x; charset={charset}"
    answer = httpx.post(f"{console.url}/login", content=part, headers={"Content-Type": kind}, timeout=30)
    assert answer.status_code == 415


def test_multipart_in_utf_8_is_read(console):
    with console.client() as client:
        said = {"csrf_token": form_token(client.get("/login")), "name": "viewer", "password": PASSWORD}
        parts = "".join(
            f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
            for name, value in said.items()
        )
        kind = 'multipart/form-data; boundary=x; charset="UTF-8"'
        answer = client.post("/login", content=f"{parts}--x--\r\n", headers={"Content-Type": kind})
    assert answer.status_code == 303


@pytest.mark.parametrize("number", ["9" * 5000, "9" * 19, "-1", "\u00b2", "\u0663"])
def test_numbers_that_no_study_has_are_nobodys(console, number):
    paths = [f"/studies/{number}/look", f"/studies/1/look/frames/{number}/0", f"/studies/{number}"]
    with console.client() as stranger, console.client(Role.VIEWER) as client:
        assert [stranger.get(path).status_code for path in paths] == [401] * 3
        assert [client.get(path).status_code for path in paths] == [404] * 3


def test_wrong_tokens_of_others_keep_no_right_one_out(console):
    console.accounts.add("program", Role.VIEWER, PASSWORD)
    token = console.accounts.set_token("program")

    def asked(said: str) -> int:
        headers = {"Authorization": f"Bearer {said}", "X-Forwarded-For": "203.0.113.7"}
        return httpx.get(f"{console.url}/dicom-web/studies", headers=headers, timeout=30).status_code

    assert 429 in [asked("wrong") for _ in range(OF_ADDRESS.free + 5)]
    assert asked(token) == 204  # nothing is held
    console.accounts.remove("program")


# The node goes on


def test_killed_console_comes_back_and_the_node_never_notices(console):
    first = console.web.pid
    os.kill(first, signal.SIGKILL)
    assert echo(console.address, calling_ae="MODALITY") < 5

    def is_back() -> bool:
        console.web.keep_running()
        return console.web.pid not in (None, first) and console.web.url is not None

    until(is_back)
    assert echo(console.address, calling_ae="MODALITY") < 5
    with console.client(Role.VIEWER) as client:
        assert client.get("/").status_code == 200
