import socket
from pathlib import Path

import psutil
import pytest

from dae_pacs.demo.node_process import NodeProcess
from dae_pacs.demo.orthanc import free_port
from dae_pacs.errors import ServiceError

CONFIGURATION = """
[node]
accept = "anyone"
port = {port}
minimum_free_mb = 10

[[rules]]
name = "all"
action = "keep"
"""


def _node(folder: Path, port: int) -> NodeProcess:
    return NodeProcess(folder, CONFIGURATION.format(port=port), ae_title="DAE_PACS", port=port)


def test_node_that_can_not_start_shows_its_log(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        taken.settimeout(0)
        node = _node(tmp_path, taken.getsockname()[1])
        node.address = type(node.address)("DAE_PACS", "127.0.0.1", free_port())  # where nobody answers
        with pytest.raises(ServiceError, match="the end of its log"):
            node.start()
    assert "Traceback" not in node.log_path.read_text()


def test_killed_node_is_noticed_and_starts_again(tmp_path: Path) -> None:
    node = _node(tmp_path, free_port())
    with node:
        psutil.Process(node.pid).kill()
        psutil.Process(node.pid).wait(10)
        with pytest.raises(ServiceError, match="ended by itself"):
            node.check_running()
        node.stop()
        node.start()
        node.check_running()
        assert node.stop() == 0
