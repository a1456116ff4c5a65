"""A real node whose threads die, whose disk fails, whose clock jumps: it goes on, and nothing is lost."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from counting_pacs import CountingPacs
from modalities import Archive, Item, send

from dae_pacs import failpoints
from dae_pacs.demo.node_process import NodeProcess
from dae_pacs.demo.orthanc import free_port
from dae_pacs.dimse import scu
from dae_pacs.spool.ledger import Ledger

pytestmark = pytest.mark.slow

FAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1")
LIGHT = str(Path(__file__).with_name("light_node.py"))
DEADLINE_S = 90.0
CONFIGURATION = """
[node]
accept = "anyone"
port = {port}
spool = "spool"
quiet_s = 0.2
idle_s = 1.0
lease_s = 5
minimum_free_mb = 10
job_attempts = 3

[log]
level = "DEBUG"

[peers.counter]
ae_title = "COUNTER"
host = "127.0.0.1"
port = {pacs_port}

[[rules]]
name = "ct"
when = {{ Modality = "CT" }}
destinations = ["counter"]
forward_original = true
"""


class Department:
    """A node with the light denoiser, a PACS that counts, and a modality."""

    def __init__(self, folder: Path, pacs: CountingPacs) -> None:
        self.port, self.pacs, self.folder = free_port(), pacs, folder
        configuration = CONFIGURATION.format(port=self.port, pacs_port=pacs.port)
        self.node = NodeProcess(folder, configuration, ae_title="DAE_PACS", port=self.port, program=(LIGHT,))
        objects = folder / "modality"
        objects.mkdir(parents=True)
        self._archive = Archive(objects, ("ours",))
        self.sent: list[Item] = []

    def sends(self, count: int = 3) -> None:
        """Store a series, every object of which must be answered with success."""
        (items,) = self._archive.series(count)
        self.sent += items
        send(items, self.port)
        assert all(item.is_acknowledged for item in items)

    def await_everything(self) -> None:
        """Wait until every original and every result has come, and check that each came once."""
        acknowledged = {item.uid: item.pixels for item in self.sent}
        until(lambda: not self.pacs.missing(acknowledged), "everything at the PACS")
        verdict = self.pacs.judge(acknowledged)
        assert (verdict.lost, verdict.doubled) == ((), ())

    def await_log(self, words: str, count: int = 1) -> None:
        """Wait until the node has logged something so often."""
        until(lambda: self.node.log_path.read_text().count(words) >= count, f"{words!r} in the log")

    def echoes(self) -> None:
        """Ask for an echo."""
        scu.echo(scu.PeerAddress("DAE_PACS", "127.0.0.1", self.port, 5.0, 10.0), calling_ae="TEST")


def until(is_true: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not is_true():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.05)


@contextmanager
def department(folder: Path, **environment: str) -> Iterator[Department]:
    with ExitStack() as stack:
        made = Department(folder, stack.enter_context(CountingPacs()))
        stack.callback(made.node.kill)
        made.node.start(**environment)
        yield made


def armed(*entries: str) -> dict[str, str]:
    return {failpoints.VARIABLE: ";".join(entries)}


def test_threads_that_die_at_rest_are_replaced(tmp_path):
    points = ("accept", "clock", "courier", "dispatcher")
    entries = [f"thread.{point}=raise:RuntimeError@3" for point in points]
    with department(tmp_path, **armed(*entries)) as made:
        for name in ("listener", "clock", "courier", "dispatcher"):
            made.await_log(f"{name} died, starting another")
        made.echoes()
        made.sends()
        made.await_everything()
        log = made.node.log_path.read_text()
        assert log.count("RuntimeError") == 4
        assert "Traceback" not in log
        assert made.node.stop() == 0


@pytest.mark.parametrize(
    ("point", "error"),
    [
        ("job.claimed", "RuntimeError"),
        ("job.told", "SpoolFullError"),
        ("job.finishing", "RuntimeError"),
        ("send.taken", "RuntimeError"),
        ("send.storing", "OSError"),
        ("mark.delivered", "SpoolFullError"),
    ],
)
def test_thread_that_dies_at_work_is_replaced_and_its_work_done_once(tmp_path, point, error):
    with department(tmp_path, **armed(f"{point}=raise:{error}@2")) as made:
        made.sends()
        made.sends()
        made.await_everything()
        made.echoes()
        assert made.node.stop() == 0


@pytest.mark.parametrize(
    "entry",
    ["decode.opening=enospc", "infer.starting=raise:MemoryError", "derive.writing=eio", "infer.done=exit"],
)
def test_job_that_fails_once_is_done_at_the_next_try(tmp_path, entry):
    once = tmp_path / "once"
    once.mkdir()
    with department(tmp_path, **armed(f"{entry}@2"), **{failpoints.ONCE_VARIABLE: str(once)}) as made:
        made.sends()
        made.await_everything()
        made.echoes()
    assert list(once.iterdir()), "it failed"


@pytest.mark.skipif(not FAKETIME.exists(), reason="libfaketime is not installed")
@pytest.mark.parametrize("jumps_h", [(5, -5), (-30, 60)], ids=["ahead and back", "back and far ahead"])
def test_clock_that_jumps_changes_nothing_but_stamps(tmp_path, jumps_h):
    offset = tmp_path / "offset"
    offset.write_text("+0")
    faked = {
        "LD_PRELOAD": str(FAKETIME),
        "FAKETIME_TIMESTAMP_FILE": str(offset),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    with department(tmp_path / "node", **faked) as made:
        made.sends()
        total_h = 0
        for jump_h in jumps_h:  # each while the series sent before it is still at work
            total_h += jump_h
            offset.write_text(f"{total_h * 3600:+d}")
            made.sends()
        made.await_everything()
        made.echoes()
        assert made.node.stop() == 0
        with Ledger(made.folder / "spool" / "ledger.sqlite") as ledger:
            assert set(ledger.counts()["jobs"]) == {"done"}
