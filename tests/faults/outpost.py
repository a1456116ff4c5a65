"""A sending node without a receiver: objects that are owed to a bad PACS and a good one, and the couriers."""

import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from hand_peer import HandPeer, Script, Talk
from stranger import data_set_of, small_ct

from dae_pacs import part10
from dae_pacs.dimse.scu import PeerAddress
from dae_pacs.node.bell import Bell
from dae_pacs.node.delivery import Courier, Destination, Spool
from dae_pacs.spool.destinations import DestinationState
from dae_pacs.spool.files import SpoolFiles
from dae_pacs.spool.ledger import Ledger
from dae_pacs.spool.records import Delivery, NewInstance, Plan

CT = "1.2.840.10008.5.1.4.1.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
TIMEOUT_S = 0.7
COUNT = 3


class Outpost:
    """A spool with objects that are owed to a bad peer and a good one, and the couriers."""

    def __init__(self, root: Path) -> None:
        files = SpoolFiles(root / "spool")
        self.spool = Spool(files, Ledger(files.ledger_path))
        self.ledger = self.spool.ledger
        self.uids = [self._owe(files) for _ in range(COUNT)]
        self.got: dict[str, Counter[str]] = {"good": Counter(), "bad": Counter()}
        self.good = HandPeer(self.well("good"))
        self.bad = HandPeer(self.well("bad"))
        self.couriers: list[Courier] = []

    def _owe(self, files: SpoolFiles) -> str:
        ds = small_ct()
        uid = str(ds.SOPInstanceUID)
        path = files.objects / "00" / f"{uid}.dcm"
        path.write_bytes(part10.encode(part10.FileMeta(CT, uid, EXPLICIT)) + data_set_of(ds))
        texts = ("PatientID", "AccessionNumber", "StudyDate", "Modality", "SeriesDescription")
        new = NewInstance(
            SOPClassUID=CT,
            SOPInstanceUID=uid,
            StudyInstanceUID="1.2",
            SeriesInstanceUID="1.2.3",
            **dict.fromkeys(texts, "x"),
            **dict.fromkeys(("calling_ae", "called_ae", "address", "association"), "x"),
            SeriesNumber=1,
            transfer_syntax_uid=EXPLICIT,
            digest=uid,
            path=path,
            size_bytes=path.stat().st_size,
            expected_count=None,
            received_at=time.time(),
        )
        self.spool.ledger.keep(new, Plan("forward", destinations=("bad", "good")))
        return uid

    def well(self, name: str) -> Script:
        """Give the script of a peer that behaves, and counts what it takes."""

        def script(talk: Talk) -> None:
            talk.accept()
            talk.serve(lambda uid: self.got[name].update((uid,)) or 0)

        return script

    def run(self, script: Script, *, associations: int = 1, timeout_s: float = TIMEOUT_S) -> None:
        self.bad.script = script
        for name, port in (("bad", self.bad.port), ("good", self.good.port)):
            peer = PeerAddress("PACS", "127.0.0.1", port, timeout_s, timeout_s)
            destination = Destination(name, peer, associations=associations, breaker_after=3)
            self.couriers += [
                Courier(self.spool, destination, calling_ae="NODE", results=Bell())
                for _ in range(associations)
            ]
        for courier in self.couriers:
            courier.keep_running()

    def of(self, name: str) -> list[Delivery]:
        return sorted(
            (found for found in self.ledger.deliveries() if found.destination == name),
            key=lambda found: found.id,
        )

    def statuses(self, name: str) -> list[str]:
        return [found.status for found in self.of(name)]

    def state(self, name: str = "bad") -> DestinationState:
        states = self.ledger.outbox.states(now=time.time(), breaker_after=3)
        return next(found for found in states if found.name == name)

    def until(self, true: Callable[[], object], *, within_s: float = 20.0) -> None:
        deadline = time.monotonic() + within_s
        while not true():
            found = self.statuses("bad"), {row.error for row in self.of("bad")}, self.state()
            assert time.monotonic() < deadline, f"waited in vain: {found}"
            time.sleep(0.01)

    def good_has_all(self) -> None:
        self.until(lambda: self.statuses("good") == ["delivered"] * COUNT, within_s=10)
        assert self.got["good"] == Counter(self.uids), "each once"

    def mended(self) -> None:
        """Let the bad peer behave: it gets what it lacks, and no object that was not owed."""
        self.bad.script = self.well("bad")
        self.until(lambda: self.statuses("bad") == ["delivered"] * COUNT)
        assert set(self.got["bad"]) == set(self.uids)
        assert self.state().breaker == "closed"

    def close(self) -> None:
        for courier in self.couriers:
            courier.stop()
        self.bad.close()
        self.good.close()
        self.ledger.close()
