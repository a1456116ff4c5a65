"""A receiving node without its worker, for strangers to talk to."""

import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from dae_pacs.config.model import ModelSettings, Rule
from dae_pacs.dimse import scu
from dae_pacs.dimse.entrance import Entrance
from dae_pacs.dimse.scp import ScpSettings, StorageSCP
from dae_pacs.node.bell import Bell
from dae_pacs.node.receive import Receiver
from dae_pacs.spool.files import SpoolFiles
from dae_pacs.spool.ledger import Ledger

sys.path.insert(0, str(Path(__file__).parent))  # for this folder's own module

from stranger import Stranger, data_set_of, small_ct


class Gate:
    """A node that receives, checks and keeps, with short deadlines."""

    def __init__(self, root: Path, entrance: Entrance | None = None, **settings: Any) -> None:
        self.files = SpoolFiles(root)
        self.ledger = Ledger(self.files.ledger_path)
        self.ended: list[str] = []
        rules = (Rule(name="ct", when={"Modality": "CT"}, destinations=("pacs",)),)
        receiver = Receiver(self.files, self.ledger, rules, ModelSettings(), Bell())
        self.open_file: Callable[[], Any] = self.files.open_incoming
        short = {"association_timeout_s": 0.6, "pdu_timeout_s": 0.6, "dimse_timeout_s": 0.6}
        self.scp = StorageSCP(
            ScpSettings(**({"ae_title": "DAE_PACS", "port": 0, "network_timeout_s": 1.0} | short | settings)),
            open_file=self._open_file,
            keep=receiver.keep,
            association_ended=self._ended,
            entrance=entrance,
        )
        self.scp.start()
        self._strangers: list[Stranger] = []

    def _open_file(self) -> Any:
        return self.open_file()

    def _ended(self, association: str) -> None:
        self.ledger.association_ended(association)
        self.ended.append(association)

    def dial(self) -> Stranger:
        self._strangers.append(Stranger(self.scp.port))
        return self._strangers[-1]

    def stored(self) -> list[Path]:
        """Give the objects that are kept; those that were acknowledged just now, too."""
        assert self.ledger.index.drain(5)
        return sorted(self.files.objects.rglob("*.dcm"))

    def settled(self, count: int = 0) -> list[Path]:
        """Give the stored objects, once nothing is arriving any more."""
        deadline = time.monotonic() + 5
        while list(self.files.incoming.iterdir()) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert list(self.files.incoming.iterdir()) == []
        assert len(self.stored()) == count
        return self.stored()

    def still_works(self) -> None:
        """Check that an echo and a good object are answered straight away."""
        peer = scu.PeerAddress("DAE_PACS", "127.0.0.1", self.scp.port, 5.0, 5.0)
        started = time.monotonic()
        scu.echo(peer, calling_ae="GOOD")
        before = len(self.stored())
        ds = small_ct()
        stranger = self.dial().associate()
        assert stranger.store(str(ds.SOPInstanceUID), data_set_of(ds)).status == 0
        stranger.release()
        assert time.monotonic() - started < 5
        assert len(self.stored()) == before + 1

    def close(self) -> None:
        for stranger in self._strangers:
            stranger.close()
        self.scp.stop()
        self.ledger.close()


OpenGate = Callable[..., Gate]


@pytest.fixture(scope="session")
def spool_folder() -> Iterator[Path]:
    """One spool for all tests, emptied for each; in memory where there is some, since flushes are slow."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        yield Path(folder)


@pytest.fixture
def open_gate(spool_folder: Path) -> Iterator[OpenGate]:
    """Open a node: `open_gate(max_associations=1)`."""
    for path in (*spool_folder.glob("ledger.sqlite*"), *spool_folder.rglob("*.dcm")):
        path.unlink()
    with ExitStack() as stack:

        def start(entrance: Entrance | None = None, **settings: Any) -> Gate:
            gate = Gate(spool_folder, entrance, **settings)
            stack.callback(gate.close)
            return gate

        yield start


@pytest.fixture
def gate(open_gate: OpenGate) -> Gate:
    """One node."""
    return open_gate()
