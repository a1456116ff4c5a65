"""`dae-pacs health` against a real node: what it prints, and its exit code, which containers go by."""

import time

import pytest

from dae_pacs.demo.node_process import NodeProcess
from dae_pacs.demo.orthanc import free_port

CONFIGURATION = """
[node]
port = {port}
minimum_free_mb = 10

[web]
port = {web_port}
"""


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    port, web_port = free_port(), free_port()
    configuration = CONFIGURATION.format(port=port, web_port=web_port)
    node = NodeProcess(tmp_path_factory.mktemp("node"), configuration, ae_title="DAE_PACS", port=port)
    node.start()
    yield node
    node.stop()


def test_a_node_that_works_says_so_part_by_part(node, run):
    deadline = time.monotonic() + 180
    while "compute" not in (ran := run("health", "--config", node.config_path)).out:
        assert time.monotonic() < deadline, ran
    assert (ran.code, ran.err) == (0, "")
    assert [line.split()[0] for line in ran.out.splitlines()] == ["receive", "compute", "deliver"]


def test_without_its_console_an_echo_says_whether_it_receives(node, run, monkeypatch):
    monkeypatch.setenv("DAE_PACS_WEB__PORT", str(free_port()))
    ran = run("health", "--config", node.config_path)
    assert (ran.code, ran.out) == (0, "receive  ready     answers C-ECHO\n")
    assert "console" in ran.err
    monkeypatch.setenv("DAE_PACS_WEB__ENABLED", "false")
    ran = run("health", "--config", node.config_path)
    assert (ran.code, ran.err) == (0, "")


def test_a_node_that_is_not_there_fails_in_words(node, run, monkeypatch):
    monkeypatch.setenv("DAE_PACS_WEB__PORT", str(free_port()))
    monkeypatch.setenv("DAE_PACS_NODE__PORT", str(free_port()))
    ran = run("health", "--config", node.config_path)
    assert ran.code == 1
    assert ran.out.startswith("receive  down")
