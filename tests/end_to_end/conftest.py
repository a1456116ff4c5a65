"""A hospital on loopback: a real node, a real Orthanc, DCMTK as the modality."""

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest
from pydicom import Dataset, dcmread
from pydicom.filebase import DicomBytesIO

from dae_pacs.demo.node_process import NodeProcess
from dae_pacs.demo.orthanc import NodeAddress, Orthanc, Routing, find_orthanc, free_port
from dae_pacs.demo.phantoms import Study
from dae_pacs.spool.ledger import Ledger
from dae_pacs.spool.records import Instance

T = TypeVar("T")
NODE_AE = "DAE_PACS"

CONFIGURATION = """
[node]
port = {port}
spool = "spool"
quiet_s = 1.0
idle_s = 3.0
minimum_free_mb = 10

[log]
level = "DEBUG"

[peers.pacs]
ae_title = "ORTHANC"
host = "127.0.0.1"
port = {pacs_port}
dimse_timeout_s = 5
{peer}

[senders.modality]
ae_title = "MODALITY"
addresses = "127.0.0.1"

[[rules]]
name = "images"
when = {{ Modality = ["CT", "CR", "DX", "SR", "US"] }}
destinations = ["pacs"]
"""


@dataclass
class Hospital:
    """What one test has running."""

    node: NodeProcess
    pacs: Orthanc

    def modality_sends(self, *paths: Path, to_pacs: bool = False) -> None:
        """Send files as a modality would, with DCMTK's storescu."""
        port, ae_title = (
            (self.pacs.port, "ORTHANC") if to_pacs else (self.node.address.port, self.node.address.ae_title)
        )
        subprocess.run(
            [
                "storescu",
                "-R",
                "-aet",
                "MODALITY",
                "-aec",
                ae_title,
                "127.0.0.1",
                str(port),
                *map(str, paths),
            ],
            check=True,
            capture_output=True,
            timeout=60,
        )

    def derived(self, study: Study) -> list[Dataset]:
        """Fetch every derived object of a study that stands in the PACS."""
        rest = self.pacs.rest
        found = [dcmread(DicomBytesIO(rest.file(instance))) for instance in rest.instances()]
        return [ds for ds in found if ds.ImageType[0] == "DERIVED" and ds.StudyInstanceUID == study.uid]

    def await_derived(self, study: Study, count: int, timeout_s: float = 90) -> list[Dataset]:
        """Wait until so many derived objects of a study stand in the PACS."""
        look = lambda: _at_least(self.derived(study), count)  # noqa: E731
        return await_true(look, timeout_s, f"{count} derived objects")

    def settle(self) -> None:
        """Wait until nothing is waited for any more: no job open, no delivery owed."""
        await_true(self.is_idle, 60, "an idle node")

    def is_idle(self) -> bool:
        """Tell whether the ledger has nothing left to do."""
        with self.ledger() as ledger:
            jobs = {job.status.value for job in ledger.jobs()}
            deliveries = {delivery.status.value for delivery in ledger.deliveries()}
        return jobs <= {"done", "failed"} and deliveries <= {"delivered", "dead"}

    def jobs(self, study: Study) -> int:
        """Count the ledger's jobs for a study."""
        with self.ledger() as ledger:
            return len(ledger.jobs(study=study.uid))

    def fate(self, SOPInstanceUID: str) -> Instance:
        """Look up what the ledger says of one received object; its row comes behind the answer."""
        deadline = time.monotonic() + 20
        with self.ledger() as ledger:
            while (found := ledger.received(SOPInstanceUID)) is None:
                assert time.monotonic() < deadline, "acknowledged, and not in the ledger"
                time.sleep(0.05)
        return found

    def wait_until_owed(self, count: int) -> None:
        """Wait until so many results wait for a destination that does not answer."""

        def owed() -> bool:
            with self.ledger() as ledger:
                waiting = [d for d in ledger.deliveries() if d.status.value == "waiting" and d.error]
            return len(waiting) >= count

        await_true(owed, 60, f"{count} owed deliveries")

    def tries_of_delivered(self) -> list[int]:
        """List how often each delivered object was sent, the latest first."""
        with self.ledger() as ledger:
            return [d.attempts for d in ledger.deliveries() if d.status.value == "delivered"]

    def pacs_is_quiet(self) -> None:
        """Wait until the PACS has routed what it wants to route, and the node has had time to react."""
        await_true(self.no_transfers, 30, "a quiet PACS")
        time.sleep(5)

    def no_transfers(self) -> bool:
        """Tell whether Orthanc has no transfer under way."""
        return all(job["State"] in ("Success", "Failure") for job in self.pacs.rest.jobs())

    @contextmanager
    def ledger(self) -> Iterator[Ledger]:
        """Open the node's ledger beside the running node, as `dae-pacs status` does."""
        ledger = Ledger(self.node.folder / "spool" / "ledger.sqlite")
        try:
            yield ledger
        finally:
            ledger.close()


def _at_least(found: list[Dataset], count: int) -> list[Dataset] | None:
    return found if len(found) >= count else None


def await_true(look: Callable[[], T], timeout_s: float, what: str) -> T:
    """Look again and again until the answer is true."""
    deadline = time.monotonic() + timeout_s
    while not (answer := look()):
        if time.monotonic() > deadline:
            pytest.fail(f"waited {timeout_s} s in vain for {what}")
        time.sleep(0.2)
    return answer


OpenHospital = Callable[..., Hospital]


@pytest.fixture
def open_hospital(tmp_path: Path) -> Iterator[OpenHospital]:
    """Open a hospital of the test's own, to break: it closes with the test."""
    with ExitStack() as running:
        yield lambda peer="": _open(running, tmp_path, Routing.NONE, peer=peer)


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hospital]:
    """Open one hospital for many tests; its PACS routes everything, our own results included."""
    with ExitStack() as running:
        yield _open(running, tmp_path_factory.mktemp("hospital"), Routing.EVERYTHING)


def _open(running: ExitStack, folder: Path, routing: Routing, *, peer: str = "") -> Hospital:
    if find_orthanc() is None or shutil.which("storescu") is None:
        pytest.skip("Debian's orthanc and dcmtk are not installed")
    port = free_port()
    pacs = Orthanc(folder / "pacs", node=NodeAddress(NODE_AE, port), routing=routing)
    configuration = CONFIGURATION.format(port=port, pacs_port=pacs.port, peer=peer)
    node = NodeProcess(folder / "node", configuration, ae_title=NODE_AE, port=port)
    running.enter_context(pacs)
    running.enter_context(node)
    return Hospital(node, pacs)
