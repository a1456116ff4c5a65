"""A running node meets bad input: it answers, says why, keeps what it got, and works on."""

import os
import re
import signal
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from dae_pacs.demo.node_process import NodeProcess
from dae_pacs.demo.orthanc import free_port
from dae_pacs.demo.phantoms import Study, radiograph, write_all
from dae_pacs.dimse import scu
from dae_pacs.spool.ledger import Ledger
from dae_pacs.spool.records import Instance, Job

pytestmark = pytest.mark.slow
LARGEST_GROWTH_MB = 200.0
CONFIGURATION = """
[node]
accept = "anyone"
port = {port}
quiet_s = 0.3
idle_s = 2.0
minimum_free_mb = 10
job_attempts = 2

[peers.pacs]
ae_title = "PACS"
host = "127.0.0.1"
port = 9

[[rules]]
name = "images"
when = {{ Modality = ["CR"] }}
destinations = ["pacs"]
"""


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    port = free_port()
    folder = tmp_path_factory.mktemp("node")
    with NodeProcess(folder, CONFIGURATION.format(port=port), ae_title="DAE_PACS", port=port) as running:
        yield running


def send(node: NodeProcess, path: Path) -> scu.SendResult:
    results: list[scu.SendResult] = []
    scu.send(node.address, [scu.outgoing(path)], calling_ae="TESTER", on_result=results.append)
    return results[0]


def ledger(node: NodeProcess) -> Ledger:
    return Ledger(node.folder / "spool" / "ledger.sqlite")


def data_set_of(path: Path) -> bytes:
    data = path.read_bytes()
    return data[144 + struct.unpack_from("<L", data, 140)[0] :]


def job_of(node: NodeProcess, study: str) -> Job | None:
    with ledger(node) as open_ledger:
        return next(iter(open_ledger.jobs(study=study)), None)


def fate(node: NodeProcess, SOPInstanceUID: str) -> tuple[Instance | None, str, set[str]]:
    """Look up what is kept under a UID, all that is said of it, and the states of its jobs."""
    with ledger(node) as open_ledger:
        kept = open_ledger.received(SOPInstanceUID)
        if kept is None:
            return None, "", set()
        story = open_ledger.study_story(kept.StudyInstanceUID)
    told = [kept.reason or "", *(job.reason or "" for job in story.jobs), *(r.reason for r in story.rejected)]
    return kept, " ".join(told), {job.status.value for job in story.jobs}


def await_end(node: NodeProcess, timeout_s: float = 90) -> None:
    deadline = time.monotonic() + timeout_s
    while True:
        with ledger(node) as open_ledger:
            states = {job.status.value for job in open_ledger.jobs(limit=1000)}
        if states <= {"done", "failed"}:
            return
        assert time.monotonic() < deadline, states
        time.sleep(0.2)


def works(node: NodeProcess, folder: Path) -> None:
    """A C-ECHO is answered, and a good study becomes a derived one."""
    study = Study()
    assert scu.echo(node.address, calling_ae="TESTER") < 5
    (path,) = write_all([radiograph(study, "CR", series_number=1)], folder)
    assert send(node, path).status == 0x0000
    deadline = time.monotonic() + 90
    while (job := job_of(node, study.uid)) is None or job.status.value != "done":
        assert time.monotonic() < deadline, job
        time.sleep(0.2)


def worker_of(node: NodeProcess) -> psutil.Process | None:
    children = psutil.Process(node.pid).children(recursive=True)
    return next((child for child in children if "spawn_main" in " ".join(command_of(child))), None)


def command_of(process: psutil.Process) -> list[str]:
    """Give its command line; none of one that has just ended."""
    try:
        return process.cmdline()
    except (psutil.ZombieProcess, psutil.NoSuchProcess):
        return []


def peak_mb(pid: int) -> float:
    text = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) / 1024 for line in text.splitlines() if line.startswith("VmHWM"))


def test_each_is_answered_rejected_with_its_reason_and_kept_as_it_came(
    node: NodeProcess, broken: dict[str, Path], words: dict[str, str], tmp_path: Path
) -> None:
    works(node, tmp_path)
    worker = worker_of(node)
    assert worker is not None
    before = {pid: peak_mb(pid) for pid in (node.pid, worker.pid)}
    answers = {name: send(node, path) for name, path in broken.items()}
    await_end(node)
    for name, answer in answers.items():
        assert answer.status is None or answer.status == 0 or 0xA700 <= answer.status <= 0xCFFF, name
        kept, told, states = fate(node, answer.outgoing.SOPInstanceUID)
        if answer.status != 0:
            assert kept is None, name
            assert re.search(words[name], answer.message) or len(answer.message.split()) > 3, name
            continue
        assert kept is not None, name
        assert data_set_of(kept.path) == data_set_of(broken[name]), name
        assert re.search(words[name], told), (name, told)
        assert states <= ({"failed"} if words[name] else {"failed", "done"}), name
    assert sum(answer.status == 0 for answer in answers.values()) >= 15
    after = {pid: peak_mb(pid) for pid in before}
    assert {
        pid: after[pid] - before[pid] for pid in before if after[pid] - before[pid] > LARGEST_GROWTH_MB
    } == {}
    assert "Traceback" not in node.log_path.read_text()
    works(node, tmp_path)


def test_a_worker_that_a_decoder_kills_fails_its_job_and_the_node_lives_on(
    node: NodeProcess, tmp_path: Path
) -> None:
    study = Study(patient_id="KILLER")
    (path,) = write_all([radiograph(study, "CR", series_number=1)], tmp_path)
    deaths: set[int] = set()
    stop(worker_of(node))
    assert send(node, path).status == 0x0000
    deadline = time.monotonic() + 120
    while (job := job_of(node, study.uid)) is None or job.status.value != "failed":
        assert time.monotonic() < deadline, job
        assert job is None or job.status.value != "done", "the worker was not killed in time"
        worker = worker_of(node)
        # It is stopped as soon as it is seen, so that it can't finish before it is killed.
        stop(worker)
        if worker is not None and job is not None and job.status.value == "running":
            worker.kill()
            deaths.add(worker.pid)
        time.sleep(0.05)
    assert len(deaths) == job.attempts == 2
    assert "worker process died" in (job.reason or "")
    with ledger(node) as open_ledger:
        kept = open_ledger.received(scu.outgoing(path).SOPInstanceUID)
    assert kept is not None
    assert data_set_of(kept.path) == data_set_of(path)
    worker = worker_of(node)
    if worker is not None:
        os.kill(worker.pid, signal.SIGCONT)
    works(node, tmp_path)


def stop(worker: psutil.Process | None) -> None:
    if worker is not None and worker.is_running():
        os.kill(worker.pid, signal.SIGSTOP)
