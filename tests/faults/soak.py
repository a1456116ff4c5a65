"""Ten thousand associations and fifty thousand objects, one node: memory, files and threads must stay flat.

    python tests/faults/soak.py [--associations 10000] [--objects 50000] [--folder DIR] [--json FILE]

Six senders at once. Of a hundred associations some end in the middle of an object (abort, reset, a connection
that just closes), some are rejected (another application context, another protocol version), some only ask
for an echo; the others store small objects and release. A tenth of the objects is forwarded to a PACS
(DCMTK's storescp, where it is installed), the rest is kept. Resident memory, open files and threads of the
receiving process are sampled on the way; growth is the median of the last samples less that of the first
after a warm-up of a tenth. Ends with 1 where an object was answered with anything but success, is missing in
the ledger, a file is left in incoming/, or files or threads have grown.
"""

import argparse
import itertools
import json
import random
import shutil
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import psutil
from stranger import (
    COMMAND,
    LAST,
    Stranger,
    association_request,
    data_set_of,
    echo_command,
    pdu,
    pdv,
    small_ct,
    store_command,
)

from dae_pacs.demo.node_process import NodeProcess
from dae_pacs.demo.orthanc import free_port
from dae_pacs.spool.ledger import Ledger

SENDERS = 6
SAMPLES = 50
WARM_UP = 5
"""Of the samples: memory is compared from then on."""
SPARE_FILES = 16
SPARE_THREADS = 8
UID = "2.25.8000000000000000000000000000"
"""Of the template: replaced by others of the same length."""
LIGHT = str(Path(__file__).with_name("light_node.py"))
UNEVEN = (
    *("abort",) * 4,
    *("reset",) * 4,
    *("close",) * 4,
    *("context",) * 2,
    *("version",) * 2,
    *("echo",) * 2,
)
"""How eighteen of a hundred associations go."""

CONFIGURATION = """
[node]
accept = "anyone"
port = {port}
spool = "spool"
minimum_free_mb = 10
max_associations = 50
max_associations_per_address = 50

[log]
level = "WARNING"

[peers.pacs]
ae_title = "SINK"
host = "127.0.0.1"
port = {pacs_port}

[[rules]]
name = "forwarded"
when = {{ CallingAETitle = "FORWARD" }}
action = "{action}"
{destinations}

[[rules]]
name = "kept"
action = "keep"
"""


@dataclass
class Soak:
    """What was done and seen."""

    associations: int = 0
    """That were accepted, whatever became of them."""
    rejected: int = 0
    objects: int = 0
    """Answered with success."""
    rss_mb: list[float] = field(default_factory=list)
    files: list[int] = field(default_factory=list)
    threads: list[int] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    troubles: list[str] = field(default_factory=list)

    @property
    def rss_growth_mb(self) -> float:
        """Memory at the end less that after the warm-up, medians."""
        steady = self.rss_mb[WARM_UP:]
        return round(statistics.median(steady[-5:]) - statistics.median(steady[:5]), 2) if steady else 0.0


class Senders:
    """Threads that share the work."""

    def __init__(self, port: int, soak: Soak, *, associations: int, objects: int) -> None:
        self._port, self._soak = port, soak
        self._most = associations
        self._each = objects / (associations * (1 - len(UNEVEN) / 100))
        self._numbers = itertools.count()
        self._uids = itertools.count(1)
        self._lock = threading.Lock()
        ds = small_ct(SOPInstanceUID=UID)
        self._template = data_set_of(ds)
        self.threads = [threading.Thread(target=self._run, args=(n,), daemon=True) for n in range(SENDERS)]

    def _run(self, seed: int) -> None:
        chance = random.Random(seed)
        while (number := next(self._numbers)) < self._most:
            kind = UNEVEN[number % 100] if number % 100 < len(UNEVEN) else "good"
            try:
                self._associate(kind, number, chance)
            except (OSError, EOFError, AssertionError) as error:
                self._soak.troubles.append(f"{kind}: {type(error).__name__}")

    def _associate(self, kind: str, number: int, chance: random.Random) -> None:
        stranger = Stranger(self._port)
        try:
            if kind in {"context", "version"}:
                self._be_rejected(stranger, kind)
                return
            stranger.associate(calling=b"FORWARD" if number % 10 == 9 else b"KEEP")
            with self._lock:
                self._soak.associations += 1
            if kind == "echo":
                assert stranger.data(pdv(3, COMMAND | LAST, echo_command())).reply().status == 0
            if kind in {"good", "echo"}:
                if kind == "good":
                    self._store(stranger, int(self._each + chance.random()))
                stranger.release()
            else:
                self._break_off(stranger, kind)
        finally:
            stranger.close()

    def _be_rejected(self, stranger: Stranger, kind: str) -> None:
        wrong = {"application_context": "1.2.3"} if kind == "context" else {"version": 2}
        reply, _body = stranger.send(association_request(**wrong)).next_pdu()
        assert reply == 0x03
        with self._lock:
            self._soak.rejected += 1

    def _store(self, stranger: Stranger, count: int) -> None:
        for _ in range(count):
            uid, body = self._object()
            stranger.send(
                pdu(0x04, pdv(1, COMMAND | LAST, store_command(uid))) + pdu(0x04, pdv(1, LAST, body))
            )
            status = stranger.reply().status
            with self._lock:
                self._soak.statuses[status] += 1
                self._soak.objects += status == 0

    def _object(self) -> tuple[str, bytes]:
        uid = f"{UID[:14]}{next(self._uids):0{len(UID) - 14}d}"
        return uid, self._template.replace(UID.encode(), uid.encode())

    def _break_off(self, stranger: Stranger, kind: str) -> None:
        uid, body = self._object()
        stranger.send(pdu(0x04, pdv(1, COMMAND | LAST, store_command(uid))))
        stranger.send(pdu(0x04, pdv(1, 0, body[:1000])))
        if kind == "abort":
            stranger.send(pdu(0x07, bytes(4)))
        elif kind == "reset":
            stranger.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def run(folder: Path, *, associations: int, objects: int) -> Soak:
    """Soak one node."""
    soak = Soak()
    with ExitStack() as stack:
        pacs_port = stack.enter_context(_sink())
        port = free_port()
        action = "forward" if pacs_port else "keep"
        configuration = CONFIGURATION.format(
            port=port,
            pacs_port=pacs_port or 9,
            action=action,
            destinations='destinations = ["pacs"]' if pacs_port else "",
        )
        node = NodeProcess(folder, configuration, ae_title="DAE_PACS", port=port, program=(LIGHT,))
        stack.callback(node.kill)
        node.start()
        process = psutil.Process(node.pid)
        senders = Senders(port, soak, associations=associations, objects=objects)
        for thread in senders.threads:
            thread.start()
        _watch(process, senders, soak, associations)
        _judge(folder, node, soak)
    return soak


def _watch(process: psutil.Process, senders: Senders, soak: Soak, associations: int) -> None:
    """Sample the process at even steps of the work, and once it is at rest."""
    _sample(process, soak)
    next_at = associations / SAMPLES
    while any(thread.is_alive() for thread in senders.threads):
        done = soak.associations + soak.rejected
        if done >= next_at:
            next_at += associations / SAMPLES
            _sample(process, soak)
            print(f"{done} associations, {soak.objects} objects, {soak.rss_mb[-1]:.1f} MB", file=sys.stderr)
        time.sleep(0.02)
    for thread in senders.threads:
        thread.join()
    deadline = time.monotonic() + 10
    at_rest = min(soak.files), min(soak.threads)
    while time.monotonic() < deadline and (
        process.num_fds() > at_rest[0] + SPARE_FILES or process.num_threads() > at_rest[1] + SPARE_THREADS
    ):
        time.sleep(0.1)
    _sample(process, soak)


def _sample(process: psutil.Process, soak: Soak) -> None:
    soak.rss_mb.append(process.memory_info().rss / 1e6)
    soak.files.append(process.num_fds())
    soak.threads.append(process.num_threads())


def _judge(folder: Path, node: NodeProcess, soak: Soak) -> None:
    """Note what is not as it should be."""
    if soak.files[-1] > min(soak.files) + SPARE_FILES:
        soak.troubles.append(f"{soak.files[-1]} open files at rest, {min(soak.files)} before")
    if soak.threads[-1] > min(soak.threads) + SPARE_THREADS:
        soak.troubles.append(f"{soak.threads[-1]} threads at rest, {min(soak.threads)} before")
    if code := node.stop():
        soak.troubles.append(f"the node ended with {code}")
    if left := len(list((folder / "spool" / "incoming").iterdir())):
        soak.troubles.append(f"{left} files left in incoming/")
    if "Traceback" in node.log_path.read_text(errors="replace"):
        soak.troubles.append("a traceback in the node's log")
    if set(soak.statuses) - {0}:
        soak.troubles.append(f"answers: {dict(soak.statuses)}")
    with Ledger(folder / "spool" / "ledger.sqlite") as ledger:
        known = sum(ledger.counts()["instances"].values())
    if known != soak.objects:
        soak.troubles.append(f"the ledger holds {known} objects, {soak.objects} were answered with success")


@contextmanager
def _sink() -> Iterator[int]:
    """Run a storescp that keeps nothing; 0 where there is none."""
    if shutil.which("storescp") is None:
        yield 0
        return
    port = free_port()
    process = subprocess.Popen(["storescp", "--ignore", "-aet", "SINK", str(port)], stderr=subprocess.DEVNULL)
    try:
        yield port
    finally:
        process.terminate()
        process.wait()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--associations", type=int, default=10_000)
    parser.add_argument("--objects", type=int, default=50_000)
    parser.add_argument("--folder", type=Path, help="where the spool lies; a temporary folder if not given")
    parser.add_argument("--json", type=Path, help="write the report there, too")
    given = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="soak-", dir=given.folder) as folder:
        soak = run(Path(folder), associations=given.associations, objects=given.objects)
    report = asdict(soak) | {"rss_growth_mb": soak.rss_growth_mb}
    report |= {"seconds": round(time.monotonic() - started), "statuses": dict(soak.statuses)}
    report |= {"rss_mb": [round(value, 1) for value in soak.rss_mb[:: max(1, len(soak.rss_mb) // 10)]]}
    report |= {key: [report[key][0], max(report[key]), report[key][-1]] for key in ("files", "threads")}
    report["troubles"] = [f"{count} x {what}" for what, count in Counter(soak.troubles).items()]
    print(json.dumps(report, indent=2))
    if given.json is not None:
        given.json.write_text(json.dumps(report, indent=2))
    return 1 if soak.troubles else 0


if __name__ == "__main__":
    sys.exit(main())
