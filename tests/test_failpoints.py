"""Failpoints act when they are armed, cost nothing when they are not, and the list of them is whole."""

import errno
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dae_pacs import failpoints
from dae_pacs.config.problems import stray_variables
from dae_pacs.errors import ConfigError, SpoolError

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def disarmed() -> Iterator[None]:
    yield
    failpoints.disarm()


def in_a_process(text: str, passes: int = 1, **environment: str) -> subprocess.CompletedProcess[str]:
    program = (
        "from dae_pacs import failpoints\n"
        "failpoints.arm_from_environment()\n"
        f"for number in range({passes}):\n"
        "    failpoints.reach('journal.committed')\n"
        "    print(number, flush=True)\n"
    )
    variables = os.environ | {failpoints.VARIABLE: text} | environment
    return subprocess.run(
        [sys.executable, "-c", program], env=variables, capture_output=True, text=True, check=False
    )


def test_every_point_stands_in_the_code_and_every_point_of_the_code_is_listed() -> None:
    sources = (path.read_text() for path in (ROOT / "dae_pacs").rglob("*.py") if path.name != "failpoints.py")
    used = {name for source in sources for name in re.findall(r'\breach\("([\w.]+)"\)', source)}
    assert used == set(failpoints.POINTS)


def test_document_lists_every_point() -> None:
    rows = re.findall(
        r"^\| `([\w.]+)` \| (.*) \|$", (ROOT / "docs" / "failpoints.md").read_text(), re.MULTILINE
    )
    assert dict(rows) == failpoints.POINTS


def test_nothing_happens_at_a_point_that_is_not_armed() -> None:
    failpoints.arm("send.answered=raise:OSError")
    for point in set(failpoints.POINTS) - {"send.answered"}:
        failpoints.reach(point)


def test_error_comes_once_at_the_named_pass() -> None:
    failpoints.arm("journal.committed=raise:SpoolError@2")
    failpoints.reach("journal.committed")
    with pytest.raises(SpoolError, match=r"journal\.committed"):
        failpoints.reach("journal.committed")
    failpoints.reach("journal.committed")


def test_lasting_error_comes_at_every_later_pass() -> None:
    failpoints.arm("receive.writing=enospc@2+")
    failpoints.reach("receive.writing")
    for _ in range(3):
        with pytest.raises(OSError, match="failpoint receive") as caught:
            failpoints.reach("receive.writing")
        assert caught.value.errno == errno.ENOSPC


def test_delay_waits() -> None:
    failpoints.arm("thread.clock=delay:0.05")
    started = time.monotonic()
    failpoints.reach("thread.clock")
    assert time.monotonic() - started >= 0.05


def test_kill_ends_the_process_as_a_power_cut_does() -> None:
    ended = in_a_process("journal.committed=kill@3", passes=5)
    assert ended.returncode == -signal.SIGKILL
    assert ended.stdout == "0\n1\n"


def test_exit_ends_the_process_with_its_code() -> None:
    assert in_a_process("journal.committed=exit").returncode == failpoints.EXIT_CODE


def test_armed_process_says_so() -> None:
    assert "never in production" in in_a_process("journal.committed=delay:0").stderr


def test_processes_that_share_a_folder_act_once(tmp_path: Path) -> None:
    once = {failpoints.ONCE_VARIABLE: str(tmp_path)}
    assert in_a_process("journal.committed=kill", **once).returncode == -signal.SIGKILL
    assert in_a_process("journal.committed=kill", **once).returncode == 0
    assert [path.name for path in tmp_path.iterdir()] == ["journal.committed"]


@pytest.mark.parametrize(
    "text",
    [
        "journal.comitted=kill",
        "journal.committed",
        "journal.committed=explode",
        "journal.committed=raise:SystemExit",
        "journal.committed=raise",
        "journal.committed=delay:soon",
        "journal.committed=kill:9",
        "journal.committed=kill@first",
        "send.answered=kill;nonsense",
    ],
)
def test_what_is_no_failpoint_is_refused_in_words(text: str) -> None:
    with pytest.raises(ConfigError, match=failpoints.VARIABLE):
        failpoints.arm(text)


def test_serve_refuses_an_unknown_point_before_it_starts(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "dae_pacs", "serve"],
        env=os.environ | {failpoints.VARIABLE: "no.such.point=kill"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ended.returncode == 1
    assert "no.such.point" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not (tmp_path / "spool").exists()


def test_empty_variable_arms_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(failpoints.VARIABLE, " ")
    failpoints.arm_from_environment()
    for point in failpoints.POINTS:
        failpoints.reach(point)


def test_variables_are_not_taken_for_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in failpoints.VARIABLES:
        monkeypatch.setenv(name, "x")
    assert not list(stray_variables())
