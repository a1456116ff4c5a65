"""The file of accounts, sessions and the throttle, each by itself."""

import json
import stat
import threading

import pytest

from dae_pacs.errors import InputError, SpoolError
from dae_pacs.web.accounts import open_accounts
from dae_pacs.web.gate import browser_cookie, is_browser_of
from dae_pacs.web.role import Role
from dae_pacs.web.sessions import MOST_OF_ONE, Sessions
from dae_pacs.web.throttle import Patience, Throttle

PASSWORD = "correct horse battery staple"


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def accounts(tmp_path):
    found = open_accounts(tmp_path)
    found.add("boss", Role.ADMINISTRATOR, PASSWORD)
    return found


def test_file_is_its_owners_alone_and_holds_no_password(accounts, tmp_path):
    path = tmp_path / "accounts.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert PASSWORD not in path.read_text()
    assert json.loads(path.read_text())["accounts"][0]["password"].startswith("$argon2id$")


def test_right_password_alone_is_verified(accounts):
    assert accounts.verified("BOSS", PASSWORD).name == "boss"
    assert accounts.verified("boss", PASSWORD + " ") is None
    assert accounts.verified("nobody", PASSWORD) is None


def test_other_process_sees_a_change_at_once(accounts, tmp_path):
    other = open_accounts(tmp_path)
    assert other.find("boss").role is Role.ADMINISTRATOR
    accounts.add("jane", Role.VIEWER, PASSWORD)
    assert other.find("jane").role is Role.VIEWER


def test_many_writers_lose_nobody(accounts, tmp_path, monkeypatch):
    monkeypatch.setattr("dae_pacs.web.passwords.Hasher.hash", lambda _self, _password: "$argon2id$test")
    threads = [
        threading.Thread(target=open_accounts(tmp_path).add, args=(f"user{n}", Role.VIEWER, PASSWORD))
        for n in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(accounts.all()) == 13


@pytest.mark.parametrize("name", ["", "<script>alert(1)</script>", "a b", "../x", "ä", "x" * 65, "oidc:jane"])
def test_names_that_are_none_are_refused(accounts, name):
    with pytest.raises(InputError, match="name can't be taken"):
        accounts.add(name, Role.VIEWER, PASSWORD)


@pytest.mark.parametrize(
    "password", ["short", "x" * 300, "aaaaaaaaaaaaaaaa", "boss12345678", "password123456"]
)
def test_passwords_that_are_guessed_first_are_refused(accounts, password):
    with pytest.raises(InputError, match="password"):
        accounts.set_password("boss", password)


def test_last_administrator_stays(accounts):
    accounts.add("jane", Role.VIEWER, PASSWORD)
    for change in (lambda: accounts.remove("boss"), lambda: accounts.set_role("boss", Role.VIEWER)):
        with pytest.raises(InputError, match="another administrator first"):
            change()


def test_damaged_file_is_told_and_left_as_it_is(accounts, tmp_path):
    (tmp_path / "accounts.json").write_text('{"accounts": [')
    with pytest.raises(SpoolError, match="damaged"):
        open_accounts(tmp_path).all()
    with pytest.raises(SpoolError, match="damaged"):
        accounts.add("jane", Role.VIEWER, PASSWORD)
    assert (tmp_path / "accounts.json").read_text() == '{"accounts": ['


def test_token_is_its_accounts_until_the_next_or_a_new_password(accounts):
    first = accounts.set_token("boss")
    assert accounts.of_token(first).name == "boss"
    second = accounts.set_token("boss")
    assert accounts.of_token(first) is None
    accounts.set_password("boss", "another long sentence")
    assert accounts.of_token(second) is None
    assert accounts.of_token("") is None


def test_browser_is_known_until_the_password_changes(accounts):
    cookie = browser_cookie(accounts.find("boss"))
    assert is_browser_of(accounts.find("boss"), cookie)
    assert not is_browser_of(accounts.find("boss"), cookie[:-1] + "0" * (cookie[-1] != "0") or "1")
    accounts.set_password("boss", "another long sentence")
    assert not is_browser_of(accounts.find("boss"), cookie)


def test_session_ends_when_nobody_clicks_and_in_any_case():
    clock = Clock()
    sessions = Sessions(idle_s=60, longest_s=200, clock=clock)
    token = sessions.begin("jane", Role.VIEWER, stamp="s", address="")
    for _ in range(3):
        clock.now += 50
        assert sessions.find(token) is not None
    clock.now += 59
    assert sessions.find(token) is None  # 209 s old
    token = sessions.begin("jane", Role.VIEWER, stamp="s", address="")
    clock.now += 50
    assert sessions.find(token, is_click=False) is not None
    clock.now += 50
    assert sessions.find(token) is None  # what refreshes itself kept nothing alive
    assert sessions.count("jane") == 0


def test_sessions_of_one_name_are_bounded():
    sessions = Sessions(idle_s=60, longest_s=200, clock=Clock())
    tokens = [sessions.begin("jane", Role.VIEWER, stamp="s", address="") for _ in range(MOST_OF_ONE + 5)]
    assert sessions.count("jane") == MOST_OF_ONE
    assert sessions.find(tokens[0]) is None
    assert sessions.find(tokens[-1]) is not None


def test_waits_grow_to_their_bound_and_always_end():
    clock = Clock()
    throttle, patience = Throttle(clock), Patience(free=3, most_s=8)
    waits = []
    for _ in range(9):
        throttle.failed("key", patience)
        waits.append(throttle.wait_s("key", "other"))
    assert waits == [0, 0, 0, 1, 2, 4, 8, 8, 8]
    clock.now += 8
    assert throttle.wait_s("key") == 0
    throttle.forgive("key")
    throttle.failed("key", patience)
    assert throttle.wait_s("key") == 0
