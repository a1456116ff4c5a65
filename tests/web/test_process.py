"""The console's process costs the receiving one nothing, and can't end it."""

import os
import socket
import subprocess
import sys
import time

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


def test_stopped_console_leaves_nothing_behind(tmp_path):
    console = WebProcess(Settings(node=NodeSettings(spool=tmp_path), web=WebSettings(port=0)), {})
    console.start()
    pid = console.pid
    console.stop()
    assert console.pid is None
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
