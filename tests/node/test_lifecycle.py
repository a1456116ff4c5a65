"""A node that can't start says why; a node whose parts fail goes on."""

import os
import signal
import socket
import time
from pathlib import Path

import pytest

from dae_pacs.config.model import ModelSettings, NodeSettings, Peer, Rule, Settings
from dae_pacs.demo.phantoms import Study, ct_series, write_all
from dae_pacs.dimse.scu import PeerAddress, echo, outgoing, send
from dae_pacs.dimse.statuses import Outcome
from dae_pacs.errors import BundleError, ServiceError, SpoolError
from dae_pacs.node.lifecycle import Node


def settings(spool: Path, **node: object) -> Settings:
    return Settings(
        node=NodeSettings(
            spool=spool, **{"port": 0, "quiet_s": 0.2, "minimum_free_mb": 0, "accept": "anyone"} | node
        ),
        peers={"pacs": Peer(ae_title="NOBODY", host="127.0.0.1", port=9)},
        rules=(Rule(name="ct", when={"Modality": "CT"}, destinations=("pacs",)),),
    )


@pytest.fixture
def start(tmp_path):
    """Start nodes that stop with the test."""
    running: list[Node] = []

    def start_one(chosen: Settings) -> Node:
        node = Node(chosen)
        running.append(node)
        node.start()
        return node

    yield start_one
    for node in running:
        node.stop()


def address(node: Node) -> PeerAddress:
    return PeerAddress("DAE_PACS", "127.0.0.1", node.scp.port)


def until(true, timeout_s: float = 60) -> None:
    deadline = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def test_port_in_use_is_told_in_words(tmp_path, start):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ServiceError, match=str(port)):
            start(settings(tmp_path / "spool", port=port))


def test_spool_in_use_is_told_in_words(tmp_path, start):
    start(settings(tmp_path / "spool"))
    with pytest.raises(SpoolError, match="in use by another node"):
        Node(settings(tmp_path / "spool"))


def test_spool_that_is_a_file_is_told_in_words(tmp_path):
    (tmp_path / "spool").write_text("not a folder")
    with pytest.raises(SpoolError, match="spool"):
        Node(settings(tmp_path / "spool"))


def test_unknown_model_is_told_before_anything_starts(tmp_path):
    chosen = settings(tmp_path / "spool").model_copy(update={"model": ModelSettings(name="no_such_model")})
    with pytest.raises(BundleError, match="no_such_model"):
        Node(chosen)
    assert not (tmp_path / "spool").exists()


def test_disk_below_its_watermark_refuses_objects_and_keeps_answering(tmp_path, start):
    node = start(settings(tmp_path / "spool", minimum_free_mb=10**9))
    files = [outgoing(path) for path in write_all(ct_series(Study(), slices=1, size=32), tmp_path)]
    results = []
    send(address(node), files, calling_ae="MODALITY", on_result=results.append)
    assert [result.status for result in results] == [0xA700]
    assert results[0].outcome is Outcome.RETRY
    assert echo(address(node), calling_ae="MODALITY") < 10
    assert node.ledger.studies() == []


def test_killed_worker_is_replaced_and_its_job_done_by_the_next(tmp_path, start):
    node = start(settings(tmp_path / "spool"))
    until(lambda: node.dispatcher.worker_pid is not None)
    first = node.dispatcher.worker_pid
    files = [outgoing(path) for path in write_all(ct_series(Study(), slices=2, size=64), tmp_path)]
    send(address(node), files, calling_ae="MODALITY", on_result=lambda _result: None)
    until(lambda: any(job.status.value == "running" for job in node.ledger.jobs()))
    os.kill(first, signal.SIGKILL)
    until(lambda: all(job.status.value == "done" for job in node.ledger.jobs()), timeout_s=120)
    assert node.dispatcher.worker_pid not in (None, first)
    assert len(node.ledger.deliveries()) == 2


def test_owed_destination_that_is_no_peer_any_more_is_told(tmp_path, start, caplog):
    chosen = settings(tmp_path / "spool")
    forwarding = Rule(name="ct", when={"Modality": "CT"}, action="forward", destinations=("pacs",))
    node = Node(chosen.model_copy(update={"rules": (forwarding,)}))
    node.start()
    files = [outgoing(path) for path in write_all(ct_series(Study(), slices=1, size=32), tmp_path)]
    send(address(node), files, calling_ae="MODALITY", on_result=lambda _result: None)
    node.stop()
    start(chosen.model_copy(update={"peers": {}, "rules": ()}))
    told = [record.destination for record in caplog.records if "no longer names" in record.message]
    assert told == ["pacs"]


def test_stopped_node_leaves_no_process_behind(tmp_path):
    node = Node(settings(tmp_path / "spool"))
    node.start()
    until(lambda: node.dispatcher.worker_pid is not None)
    worker = node.dispatcher.worker_pid
    node.stop()
    with pytest.raises(ProcessLookupError):
        os.kill(worker, 0)
