"""A spool on a real disk, and objects to put into it."""

import hashlib
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from dae_pacs.spool.files import SpoolFiles
from dae_pacs.spool.ledger import Ledger
from dae_pacs.spool.outbox import Fate, Told
from dae_pacs.spool.records import Delivery, KeepOutcome, NewDerived, NewInstance, Plan

CT = "1.2.840.10008.5.1.4.1.1.2"
EXPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
DENOISE = Plan(action="denoise", rule="ct", model="ct_denoising", strength=0.7, destinations=("PACS",))


def part10(data_set: bytes) -> bytes:
    """Make a file of PS3.10 7.1: preamble, prefix, a file meta group of 12 bytes, and a data set."""
    meta = b"\x02\x00\x02\x00UI\x04\x001.2\x00"
    return bytes(128) + b"DICM\x02\x00\x00\x00UL\x04\x00" + len(meta).to_bytes(4, "little") + meta + data_set


@dataclass
class Spool:
    """The files and the ledger of one node, and short ways to fill them."""

    root: Path
    files: SpoolFiles = field(init=False)
    ledger: Ledger = field(init=False)

    def __post_init__(self) -> None:
        self.files = SpoolFiles(self.root)
        self.ledger = Ledger(self.files.ledger_path)

    def reopen(self) -> None:
        self.ledger.close()
        self.ledger = Ledger(self.files.ledger_path)

    def received(self, uid: str = "1.2.3", *, content: bytes = b"", **changes: Any) -> NewInstance:
        incoming = self.files.open_incoming()
        incoming.write(part10(uid.encode() + content))
        path = self.files.settle(incoming, SOPInstanceUID=uid, transfer_syntax_uid=EXPLICIT_LITTLE_ENDIAN)
        values: dict[str, Any] = {
            "SOPClassUID": CT,
            "SOPInstanceUID": uid,
            "StudyInstanceUID": "1.2",
            "SeriesInstanceUID": "1.2.1",
            "PatientID": "P1",
            "AccessionNumber": "A1",
            "StudyDate": "20260101",
            "Modality": "CT",
            "SeriesDescription": "thorax",
            "SeriesNumber": 3,
            "transfer_syntax_uid": EXPLICIT_LITTLE_ENDIAN,
            "digest": incoming.digest,
            "path": path,
            "size_bytes": incoming.size,
            "calling_ae": "CT1",
            "called_ae": "DAE_PACS",
            "address": "127.0.0.1",
            "association": "a1",
            "expected_count": None,
            "received_at": 100.0,
        }
        return NewInstance(**(values | changes))

    def keep(self, uid: str = "1.2.3", plan: Plan = DENOISE, **changes: Any) -> KeepOutcome:
        return self.ledger.keep(self.received(uid, **changes), plan)

    def made(self, uid: str = "1.2.3", *, now: float = 200.0) -> NewDerived:
        """Write the derived object of a source UID."""
        derived_uid = f"2.25.{int(hashlib.sha256(uid.encode()).hexdigest()[:16], 16)}"
        path = self.files.derived_path(derived_uid)
        path.write_bytes(part10(derived_uid.encode()))
        return NewDerived(
            SOPClassUID=CT,
            SOPInstanceUID=derived_uid,
            SeriesInstanceUID="2.25.1",
            SeriesDescription="thorax denoised",
            SeriesNumber=1003,
            transfer_syntax_uid=EXPLICIT_LITTLE_ENDIAN,
            digest="d" * 64,
            path=path,
            size_bytes=path.stat().st_size,
            created_at=now,
        )

    def claim(self, owner: str = "worker", *, now: float = 200.0) -> int:
        """Make complete series ready, and claim one that must be there."""
        self.ledger.promote_ready(now, quiet_s=0, idle_s=0)
        job = self.ledger.claim_job(owner, lease_s=60.0, now=now)
        assert job is not None
        return job.id

    def denoise(self, *, now: float = 200.0) -> int:
        """Run one job to its end."""
        job_id = self.claim(now=now)
        for instance in self.ledger.pending_instances(job_id):
            self.ledger.record_derived(job_id, instance.id, new=self.made(instance.SOPInstanceUID, now=now))
        self.ledger.finish_job(job_id, "worker", stages={"denoise": 1.0}, now=now)
        return job_id

    def deliver(self, destination: str = "PACS", *, now: float = 1000.0) -> int:
        """Deliver all that is due."""
        taken = self.take(destination, now=now)
        self.tell(taken, Fate.TAKEN, now=now)
        return len(taken)

    def due(self, destination: str = "PACS", *, now: float) -> list[Delivery]:
        """List what waits and could be sent."""
        return [
            delivery
            for delivery in self.ledger.deliveries(status="waiting", limit=999)
            if delivery.destination == destination and delivery.next_try_at <= now and delivery.path.exists()
        ]

    def take(self, destination: str = "PACS", *, now: float = 1000.0) -> list[Delivery]:
        """Take all that is due for sending."""
        return self.ledger.outbox.claim(destination, now=now, limit=999, breaker_after=5)

    def tell(
        self, taken: list[Delivery], fate: Fate, words: str | None = None, *, now: float = 1000.0
    ) -> None:
        """Tell the same of all that was taken."""
        self.ledger.outbox.tell([Told(delivery.id, fate, words) for delivery in taken], now=now)


@pytest.fixture
def new_spool(tmp_path: Path) -> Iterator[Callable[[str], Spool]]:
    """Make spools below the test's folder, closed at its end."""
    made: list[Spool] = []

    def make(name: str = "spool") -> Spool:
        made.append(Spool(tmp_path / name))
        return made[-1]

    yield make
    for spool in made:
        spool.ledger.close()


@pytest.fixture
def spool() -> Iterator[Spool]:
    """One spool, empty; in memory where there is some: flushing a shared disk would make these slow."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        made = Spool(Path(folder) / "spool")
        yield made
        made.ledger.close()
