"""`dae-pacs accounts`: made, listed, changed and removed; passwords are never seen."""

import io
import os
import pty
import re
import subprocess
import sys

import pytest

from dae_pacs.web.accounts import open_accounts
from dae_pacs.web.role import Role

SENTENCE = "a long quiet sentence"


@pytest.fixture
def say(monkeypatch):
    """Put a password on standard input."""
    return lambda text: monkeypatch.setattr(sys, "stdin", io.StringIO(text))


@pytest.fixture
def accounts(tmp_path):
    return open_accounts(tmp_path / "spool")


def test_account_is_made_listed_changed_and_removed(run, say, accounts):
    assert "no account yet" in run("accounts", "list").out
    say(f"{SENTENCE}\n")
    made = run("accounts", "add", "Boss", "--role", "administrator", "--password-stdin")
    assert (made.code, "account boss was made" in made.out) == (0, True)
    say(SENTENCE)
    assert run("accounts", "add", "jane", "--password-stdin").code == 0
    assert accounts.verified("jane", SENTENCE).role is Role.VIEWER
    listed = run("accounts", "list").out
    assert "boss" in listed
    assert "argon2" not in listed
    assert run("accounts", "role", "jane", "operator").code == 0
    assert accounts.find("jane").role is Role.OPERATOR
    say("another long sentence")
    assert run("accounts", "password", "jane", "--password-stdin").code == 0
    assert accounts.verified("jane", "another long sentence") is not None
    token = run("accounts", "token", "jane").out.strip()
    assert accounts.of_token(token).name == "jane"
    assert run("accounts", "remove", "jane").code == 0
    assert accounts.find("jane") is None


def test_what_can_not_be_done_is_told_in_words(run, say):
    say(SENTENCE)
    run("accounts", "add", "boss", "--role", "administrator", "--password-stdin")
    for arguments, words in (
        (("remove", "nobody"), "no account of that name"),
        (("password", "nobody", "--password-stdin"), "no account of that name"),
        (("token", "nobody"), "no account of that name"),
        (("role", "boss", "viewer"), "another administrator first"),
        (("add", "boss", "--password-stdin"), "already"),
        (("add", "a b", "--password-stdin"), "name can't be taken"),
    ):
        say(SENTENCE)
        refused = run("accounts", *arguments)
        assert (refused.code, words in refused.err) == (1, True), (arguments, refused)
    say("short")
    refused = run("accounts", "add", "jane", "--password-stdin")
    assert "has 5 characters" in refused.err
    say(SENTENCE)
    assert "--password-stdin" in run("accounts", "add", "jane").err  # nobody to ask


def test_changes_are_in_the_audit_trail_without_a_password(run, say, tmp_path):
    (tmp_path / "dae-pacs.toml").write_text('[audit]\nfile = "audit.xml"\n')
    say(SENTENCE)
    run("accounts", "add", "boss", "--role", "administrator", "--password-stdin")
    trail = (tmp_path / "audit.xml").read_text()
    assert "110137" in trail
    assert SENTENCE not in trail


def test_typed_password_is_not_shown(tmp_path):
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "dae_pacs", "accounts", "add", "jane"],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        cwd=tmp_path,
        start_new_session=True,
    )
    os.close(theirs)
    shown = b""

    def until(words: bytes) -> None:
        nonlocal shown
        while not re.search(words, shown):
            shown += os.read(ours, 4096)

    until(b"New password of jane: ")
    os.write(ours, SENTENCE.encode() + b"\n")
    until(b"Again: ")
    os.write(ours, SENTENCE.encode() + b"\n")
    until(b"was made")
    assert process.wait(30) == 0
    os.close(ours)
    assert SENTENCE.encode() not in shown
    assert open_accounts(tmp_path / "spool").verified("jane", SENTENCE) is not None
