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
from dae_pacs.spool.ledger import Ledger

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

[[rules]]
name = "images"
when = {{ Modality = ["CT", "CR", "DX"] }}
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

    def derived(self) -> list[Dataset]:
        """Fetch every derived object that stands in the PACS."""
        rest = self.pacs.rest
        found = [dcmread(DicomBytesIO(rest.file(instance))) for instance in rest.instances()]
        return [ds for ds in found if ds.ImageType[0] == "DERIVED"]

    def await_derived(self, count: int, timeout_s: float = 90) -> list[Dataset]:
        """Wait until so many derived objects stand in the PACS."""
        return await_true(lambda: _at_least(self.derived(), count), timeout_s, f"{count} derived objects")

    def settle(self) -> None:
        """Wait until nothing is waited for any more: no job open, no delivery owed."""
        await_true(self.is_idle, 60, "an idle node")

    def is_idle(self) -> bool:
        """Tell whether the ledger has nothing left to do."""
        with self.ledger() as ledger:
            jobs = {job.status.value for job in ledger.jobs()}
            deliveries = {delivery.status.value for delivery in ledger.deliveries()}
        return jobs <= {"done", "failed"} and deliveries <= {"delivered", "dead"}

    def jobs(self) -> int:
        """Count the ledger's jobs."""
        with self.ledger() as ledger:
            return len(ledger.jobs())

    def reasons(self) -> list[str | None]:
        """List why the received objects were passed over."""
        with self.ledger() as ledger:
            studies = [study.StudyInstanceUID for study in ledger.studies()]
            return [i.reason for study in studies for i in ledger.study_story(study).instances]

    def wait_until_owed(self, count: int) -> None:
        """Wait until so many results wait for a destination that does not answer."""

        def owed() -> bool:
            with self.ledger() as ledger:
                waiting = [d for d in ledger.deliveries() if d.status.value == "waiting" and d.attempts]
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
    """Open a hospital: `open_hospital(Routing.EVERYTHING)`; it closes with the test."""
    if find_orthanc() is None or shutil.which("storescu") is None:
        pytest.skip("Debian's orthanc and dcmtk are not installed")
    with ExitStack() as running:

        def open_one(routing: Routing = Routing.NONE) -> Hospital:
            port = free_port()
            pacs = Orthanc(tmp_path / "pacs", node=NodeAddress(NODE_AE, port), routing=routing)
            configuration = CONFIGURATION.format(port=port, pacs_port=pacs.port)
            node = NodeProcess(tmp_path / "node", configuration, ae_title=NODE_AE, port=port)
            running.enter_context(pacs)
            running.enter_context(node)
            return Hospital(node, pacs)

        yield open_one
