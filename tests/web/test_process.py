"""The console's process costs the receiving one nothing, and can't end it."""

import multiprocessing
import os
import resource
import socket
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest

from dae_pacs.config.model import NodeSettings, Settings
from dae_pacs.config.web import WebSettings
from dae_pacs.web.process import WebProcess


def test_receiving_process_never_loads_the_web_framework():
    program = (
        "import sys; import dae_pacs.cli.serve, dae_pacs.node.answers;"
        "print(*(name for name in sys.modules if name.partition('.')[0] in"
        " {'starlette', 'uvicorn', 'jinja2', 'argon2', 'joserfc', 'torch'}))"
    )
    loaded = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert loaded.stdout.split() == []


def test_taken_port_ends_the_console_alone_and_is_tried_again(tmp_path, caplog, capfd):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = Settings(node=NodeSettings(spool=tmp_path), web=WebSettings(port=taken.getsockname()[1]))
        console = WebProcess(settings, {})
        console.start()
        first = console.pid
        deadline = time.monotonic() + 60
        while console.pid in (first, None):
            console.keep_running()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        console.stop()
    told = [record for record in caplog.records if "console ended" in record.message]
    assert told[0].exit_code == 3
    assert "set web.port" in capfd.readouterr().err


@contextmanager
def files_left(count):
    """Let this process open so many more files, and no other."""
    free = [os.dup(0) for _ in range(count + 1)]
    for handle in free:
        os.close(handle)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free[-1], limits[1]))
    try:
        yield free[0]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_console_that_cant_be_started_is_tried_again_and_leaves_no_file(tmp_path, caplog):
    console = WebProcess(Settings(node=NodeSettings(spool=tmp_path), web=WebSettings(port=0)), {})
    with files_left(0):
        console.keep_running()
    assert console.pid is None
    deadline = time.monotonic() + 60
    while len(told := [one for one in caplog.records if "can't be started" in one.message]) < 2:
        with files_left(2) as first:  # the pipe, and nothing beside it
            console.keep_running()
            assert os.dup(0) == first
            os.close(first)
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert [one.again_in_s for one in told] == [1.0, 2.0]
    while console.pid is None:
        console.keep_running()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    console.stop()


def test_half_started_console_is_ended(tmp_path, monkeypatch):
    console = WebProcess(Settings(node=NodeSettings(spool=tmp_path), web=WebSettings(port=0)), {})

    def start(_thread):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as without_threads:
        without_threads.setattr("threading.Thread.start", start)
        console.keep_running()
    assert console.pid is None
    assert multiprocessing.active_children() == []
    console.stop()


def test_stopped_console_leaves_nothing_behind(tmp_path):
    console = WebProcess(Settings(node=NodeSettings(spool=tmp_path), web=WebSettings(port=0)), {})
    console.start()
    pid = console.pid
    console.stop()
    assert console.pid is None
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
