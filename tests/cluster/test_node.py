"""Real nodes whose studies are denoised by a real cluster, which loses machines while they are."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest
from pydicom import Dataset

from dae_pacs.demo.archive import EmbeddedArchive
from dae_pacs.demo.node_process import NodeProcess
from dae_pacs.demo.orthanc import free_port
from dae_pacs.demo.phantoms import Study, ct_series, write_all
from dae_pacs.dimse.scu import outgoing, send
from dae_pacs.spool.ledger import Ledger

PATIENCE_S = 200.0
SLICES = 24
SIDE = 256
SERIES_AT_A_TIME = 2
CONFIGURATION = """
[node]
ae_title = "{title}"
accept = "anyone"
port = {port}
quiet_s = 0.3
minimum_free_mb = 10
lease_s = 3

[compute]
engine = "ray"
address = "{address}"
token = "{token}"
series = {series}
in_flight_mb = 16

[peers.pacs]
ae_title = "{pacs}"
host = "127.0.0.1"
port = {pacs_port}

[[rules]]
name = "ct"
when = {{ Modality = "CT" }}
destinations = ["pacs"]
"""

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("whole_cluster")]


@dataclass
class Site:
    """A node, and the archive that it delivers to."""

    node: NodeProcess
    archive: EmbeddedArchive
    sent: list[Dataset] = field(default_factory=list)

    @property
    def spool(self) -> Path:
        return self.node.folder / "spool"

    def ledger(self) -> Ledger:
        return Ledger(self.spool / "ledger.sqlite", verify=False)

    def send_series(self, folder: Path, *, slices: int = SLICES) -> None:
        series = ct_series(Study(), slices=slices, size=SIDE)
        paths = write_all(series, folder)
        results = []
        send(self.node.address, list(map(outgoing, paths)), calling_ae="CT", on_result=results.append)
        assert [result.status for result in results] == [0] * slices
        self.sent += series

    def jobs(self) -> list[tuple[str, int]]:
        with self.ledger() as ledger:
            return [(job.status.value, job.attempts) for job in ledger.jobs(limit=1000)]

    def derived(self) -> int:
        return len(list((self.spool / "derived").rglob("*.dcm")))

    def cluster_report(self) -> dict[str, object]:
        return json.loads((self.spool / "cluster.json").read_text())

    def assert_all_delivered_once(self) -> None:
        """Each image has one derived object, delivered once, in the ledger and in the archive."""
        until(lambda: len(self.archive.instances()) >= len(self.sent), "everything is delivered")
        until(lambda: {status for status, _ in self.jobs()} == {"done"}, "every job is done")
        with self.ledger() as ledger:

            def told() -> set[str]:
                return {delivery.status.value for delivery in ledger.deliveries(limit=10_000)}

            until(lambda: told() == {"delivered"}, "every delivery is done")
            deliveries = ledger.deliveries(limit=10_000)
        assert len({delivery.instance_id for delivery in deliveries}) == len(deliveries) == len(self.sent)
        assert len(self.archive.instances()) == len(self.sent)


def until(claim: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not claim():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


StartSite = Callable[..., Site]


@pytest.fixture(scope="module")
def start_site(cluster, tmp_path_factory) -> Iterator[StartSite]:
    sites: list[Site] = []

    def start(title: str = "DAE_PACS", *, series: int = SERIES_AT_A_TIME) -> Site:
        folder, port = tmp_path_factory.mktemp("site"), free_port()
        archive = EmbeddedArchive(folder / "archive")
        archive.start()
        text = CONFIGURATION.format(
            title=title,
            port=port,
            address=cluster.address,
            token=cluster.token,
            series=series,
            pacs=archive.address.ae_title,
            pacs_port=archive.address.port,
        )
        node = NodeProcess(folder / "node", text, ae_title=title, port=port)
        node.start()
        sites.append(Site(node, archive))
        return sites[-1]

    yield start
    for site in sites:
        site.node.stop()
        site.archive.stop()


@pytest.fixture(scope="module")
def site(start_site) -> Site:
    return start_site()


def test_machine_killed_in_mid_batch_costs_no_image(site, whole_cluster, tmp_path):
    until(lambda: len(whole_cluster.workers()) == 2, "both machines have a worker")
    for name in ("a", "b", "c"):
        site.send_series(tmp_path / name)
    until(lambda: site.derived() > 0, "both machines are at work")
    whole_cluster.kill("two")
    assert site.derived() < len(site.sent), "killed in the middle"
    site.assert_all_delivered_once()


def test_machine_that_joins_gets_a_worker_while_the_node_works(site, whole_cluster):
    until(lambda: len(whole_cluster.workers()) == 2, "there is a worker on the machine that joined")


def test_node_killed_in_mid_series_goes_on_with_the_workers_that_are_there(site, whole_cluster, tmp_path):
    until(lambda: len(whole_cluster.workers()) == 2, "both workers are there")
    workers = {worker.pid for worker in whole_cluster.workers()}
    site.send_series(tmp_path / "a")
    site.send_series(tmp_path / "b")
    before = len(site.sent) - 2 * SLICES
    until(lambda: site.derived() > before, "some are derived")
    site.node.kill()
    site.node.start()
    site.assert_all_delivered_once()
    assert {worker.pid for worker in whole_cluster.workers()} == workers


def test_second_node_shares_the_workers(site, start_site, whole_cluster, tmp_path):
    until(lambda: len(whole_cluster.workers()) == 2, "both workers are there")
    workers = {worker.pid for worker in whole_cluster.workers()}
    other = start_site("OTHER_NODE", series=1)
    site.send_series(tmp_path / "a")
    other.send_series(tmp_path / "b")
    site.assert_all_delivered_once()
    other.assert_all_delivered_once()
    assert {worker.pid for worker in whole_cluster.workers()} == workers
    other.node.stop()


def test_cluster_that_stands_still_is_waited_for_in_bounded_memory(site, whole_cluster, tmp_path):
    """One series of 100 slices of 256 x 256 would be 92 MB under way, twice that of two."""
    until(lambda: len(whole_cluster.workers()) == 2, "both workers are there")
    stopped = whole_cluster.workers()
    before_mb = _resident_mb(site.node.pid)
    try:
        for worker in stopped:
            worker.send_signal(signal.SIGSTOP)
        for name in ("a", "b"):
            site.send_series(tmp_path / name, slices=100)
        until(lambda: [status for status, _ in site.jobs()].count("running") == 2, "both are begun")
        time.sleep(5)  # longer than a lease
        assert _resident_mb(site.node.pid) - before_mb < 120
        running = [attempts for status, attempts in site.jobs() if status == "running"]
        assert running == [1, 1], "both are still the first attempt's"
    finally:
        for worker in stopped:
            worker.send_signal(signal.SIGCONT)
    site.assert_all_delivered_once()


def test_whole_cluster_killed_and_started_again_costs_no_image(site, whole_cluster, tmp_path):
    site.send_series(tmp_path / "a")
    site.send_series(tmp_path / "b")
    before = len(site.sent) - 2 * SLICES
    until(lambda: site.derived() > before, "some are derived")
    for name in list(whole_cluster.machines):
        whole_cluster.kill(name)
    until(lambda: site.cluster_report()["unreachable_since"] is not None, "the node knows")
    said = _status(site)
    assert f"Cluster {whole_cluster.address} unreachable since" in said
    whole_cluster.start_head()
    whole_cluster.add("one")
    site.assert_all_delivered_once()
    assert {attempts for _, attempts in site.jobs()} == {0}, "no attempt was counted"
    assert site.cluster_report()["unreachable_since"] is None
    assert "unreachable" not in _status(site)


def _status(site: Site) -> str:
    command = [sys.executable, "-m", "dae_pacs", "status", "--config", str(site.node.config_path)]
    return subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ).stdout


def _resident_mb(pid: int) -> float:
    node = psutil.Process(pid)
    family: Sequence[psutil.Process] = [node, *node.children(recursive=True)]
    return sum(process.memory_info().rss for process in family) / 1e6
