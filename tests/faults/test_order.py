"""No success before the object is on stable storage: read from the order of the node's system calls."""

import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
from modalities import Archive, send
from order import OPTIONS, violations

from dae_pacs.demo.orthanc import free_port
from dae_pacs.dimse import scu
from dae_pacs.errors import PeerError

LIGHT = str(Path(__file__).with_name("light_node.py"))
CONFIGURATION = """
[node]
accept = "anyone"
port = {port}
spool = "spool"
minimum_free_mb = 10

[[rules]]
name = "everything"
action = "keep"
"""
SENDERS = 4
OBJECTS_EACH = 12


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
@pytest.mark.parametrize("disk", ["disk", "memory"])
def test_every_success_is_written_behind_the_flushes_that_it_promises(tmp_path, tmp_path_factory, disk):
    folder = tmp_path if disk == "disk" else Path("/dev/shm") / tmp_path.name
    folder.mkdir(exist_ok=True)
    try:
        trace = _traced(folder)
        answers, found = violations(trace.read_text(errors="replace").splitlines())
    finally:
        if disk == "memory":
            shutil.rmtree(folder)
    assert answers == SENDERS * OBJECTS_EACH
    assert found == []


def _traced(folder: Path) -> Path:
    """Have four senders store objects at once in a node that strace watches from its start."""
    port, trace = free_port(), folder / "trace"
    (folder / "dae-pacs.toml").write_text(CONFIGURATION.format(port=port))
    node = [sys.executable, LIGHT, "serve", "--config", str(folder / "dae-pacs.toml")]
    (folder / "objects").mkdir()
    (batches,) = [Archive(folder / "objects", ("ours",)).series(OBJECTS_EACH, senders=SENDERS)]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            ["strace", *OPTIONS, "-o", str(trace), *node], stdout=log, stderr=log, cwd=folder
        )
        try:
            _await_echo(port)
            threads = [threading.Thread(target=send, args=(batch, port)) for batch in batches]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        finally:
            for node_process in psutil.Process(process.pid).children():
                node_process.terminate()  # strace, told to end, would only let go of it
            process.wait(60)
    assert all(item.is_acknowledged for batch in batches for item in batch)
    return trace


def _await_echo(port: int) -> None:
    deadline = time.monotonic() + 120
    while True:
        try:
            scu.echo(scu.PeerAddress("DAE_PACS", "127.0.0.1", port, 5.0, 30.0), calling_ae="TEST")
        except PeerError:
            assert time.monotonic() < deadline, "the traced node does not come up"
            time.sleep(0.1)
        else:
            return


OPEN = '7 openat(AT_FDCWD, "/s/in/a", O_RDWR|O_CREAT|O_EXCL, 0666) = 5</s/in/a>'
HEAD = r'7 pwrite64(5</s/in/a>, "\x02\x00\x03\x00UI\x04\x001.2\x00", 12, 0) = 12'
BODY = '7 write(5</s/in/a>, "pixels", 6) = 6'
FILE = "7 fdatasync(5</s/in/a>) = 0"
NAME = "8 fsync(6</s/in>) = 0"
RENAME = '7 rename("/s/in/a", "/s/ab/b") = 0'
TARGET = "7 fsync(6</s/ab>) = 0"
ANSWER = (
    r'7 sendto(9<socket:[1]>, "\x00\x00\x00\x01\x02\x00\x00\x00\x01\x80'
    r'\x00\x00\x00\x09\x02\x00\x00\x00\x00\x00\x00\x00\x00\x10\x04\x00\x00\x001.2\x00", 32, 0, NULL, 0) = 32'
)
BEGUN = "8 fdatasync(5</s/in/a> <unfinished ...>"
REFUSAL = ANSWER.replace(r"\x00\x09\x02\x00\x00\x00\x00\x00", r"\x00\x09\x02\x00\x00\x00\x00\xa7")


@pytest.mark.parametrize(
    "trace",
    [
        (OPEN, BODY, HEAD, FILE, NAME, ANSWER),
        (OPEN, NAME, BODY, HEAD, FILE, ANSWER),
        (BODY, HEAD, FILE, ANSWER),
        (OPEN, BODY, HEAD, RENAME, FILE.replace("/s/in/a", "/s/ab/b"), TARGET, ANSWER),
        (OPEN, NAME, BODY, HEAD, FILE, ANSWER, RENAME),
    ],
    ids=["flushed", "name first", "name made before", "renamed", "renamed behind the answer"],
)
def test_order_that_keeps_the_promise_is_found_good(trace):
    assert violations(trace) == (1, [])


@pytest.mark.parametrize(
    ("trace", "why"),
    [
        ((OPEN, BODY, HEAD, NAME, ANSWER, FILE), "not flushed"),
        ((OPEN, BODY, FILE, HEAD, NAME, ANSWER), "behind its last write"),
        ((OPEN, BODY, HEAD, FILE, ANSWER, NAME), "folder"),
        ((NAME, OPEN, BODY, HEAD, FILE, ANSWER), "folder"),
        ((OPEN, BODY, HEAD, RENAME, FILE.replace("/s/in/a", "/s/ab/b"), NAME, ANSWER), "folder"),
        ((OPEN, BODY, FILE, NAME, ANSWER), "no file"),
        (
            (OPEN, NAME, BODY, HEAD, BEGUN, ANSWER, "8 <... fdatasync resumed>) = 0"),
            "not flushed",
        ),
    ],
    ids=["after", "early", "no name", "name early", "old name", "no file", "still running"],
)
def test_answer_that_comes_too_early_is_found(trace, why):
    answers, found = violations(trace)
    assert answers == 1
    assert why in found[0]


def test_refusal_promises_nothing():
    assert violations((OPEN, REFUSAL)) == (0, [])
