"""Kill the node under load, again and again, and count what became of every object that it acknowledged.

    python tests/faults/crash.py [--rounds 200] [--seed 1] [--folder DIR] [--network-every 10] [--json FILE]

Each round: a node is started, four associations send to it (DCMTK's storescu and dcmsend, and our own SCU;
pairs of them bring the same series), and then it is killed with SIGKILL: at one of the failpoints, at its
n-th pass, or at a random moment; in some rounds the worker process alone. What was not acknowledged is sent
again in the next round, as modalities do. After every few rounds the node runs undisturbed until everything
has arrived at both destinations: a storage SCP that counts, and an Orthanc where one is installed.

lost       acknowledged with success, and its original or its derived object never came, or came with other
           pixels, or is not in Orthanc
doubled    one UID with two contents, one source with two results, or one UID twice in one life of the node
repeat     the same object with the same bytes once more after a kill: it fell between sending and marking.
           A PACS takes it for what it is; it is counted, and not called doubled

Most rounds run with a denoiser of a few lines (light_node.py), every tenth with the shipped network. Ends
with 1 where anything is lost or doubled; the folder with the node's log is kept then.
"""

import argparse
import json
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from counting_pacs import CountingPacs
from modalities import Archive, Item, installed_tools, send

from dae_pacs import failpoints
from dae_pacs.demo.node_process import NodeProcess
from dae_pacs.demo.orthanc import Orthanc, find_orthanc, free_port
from dae_pacs.errors import ServiceError, SpoolError
from dae_pacs.spool.ledger import Ledger

SENDERS = 4
OBJECTS_EACH = 5
BLOCK = 4
"""Rounds between two looks at what arrived: fewer than the kills after which a job is given up."""
FIRE_TIMEOUT_S = 30.0
"""For a failpoint to be passed often enough; then the node is killed where it stands."""
QUIET_TIMEOUT_S = 300.0
LIGHT = str(Path(__file__).with_name("light_node.py"))

CONFIGURATION = """
[node]
accept = "anyone"
port = {port}
spool = "spool"
quiet_s = 0.2
idle_s = 1.0
minimum_free_mb = 10
job_attempts = 20
max_associations_per_address = 20

[model]
name = "ct_volume_denoising"

[log]
level = "DEBUG"

{peers}

[[rules]]
name = "ct"
when = {{ Modality = "CT" }}
destinations = {destinations}
forward_original = true
"""
PEER = """
[peers.{name}]
ae_title = "{ae}"
host = "127.0.0.1"
port = {port}
dimse_timeout_s = 60
"""

NODE_POINTS = {
    "receive.opening": 15,
    "receive.writing": 15,
    "receive.arrived": 15,
    "receive.sealed": 15,
    "receive.flushing": 1,
    "receive.flushed": 15,
    "receive.kept": 15,
    "receive.answered": 15,
    "receive.settling": 15,
    "receive.moved": 15,
    "receive.association_ended": 3,
    "journal.writing": 60,
    "journal.committed": 60,
    "job.claimed": 2,
    "job.told": 12,
    "job.finishing": 2,
    "send.taken": 3,
    "send.storing": 20,
    "send.answered": 20,
    "mark.delivered": 20,
}
"""Where the receiving process is killed, and up to which pass."""
WORKER_POINTS = {
    "decode.opening": 10,
    "infer.starting": 10,
    "infer.done": 10,
    "derive.writing": 10,
    "derive.written": 10,
}
"""Where the worker alone is killed."""
RANDOM_KILLS = 6
RANDOM_WORKER_KILLS = 2


@dataclass(frozen=True)
class Kill:
    """What one round does to the node."""

    point: str
    """A failpoint, or "random"."""
    is_worker: bool
    hit: int = 1

    def __str__(self) -> str:
        who = "worker" if self.is_worker else "node"
        return f"{who} at {self.point}@{self.hit}"


@dataclass
class Tally:
    """What happened."""

    rounds: int = 0
    kills: Counter[str] = field(default_factory=Counter)
    """By failpoint or "random", of the rounds in which a process was killed."""
    unreached: Counter[str] = field(default_factory=Counter)
    """Failpoints that were not passed often enough; the node was killed all the same, as if at random."""
    lost: set[str] = field(default_factory=set)


class Ward:
    """The node under test, its destinations and its senders."""

    def __init__(self, folder: Path, stack: ExitStack, *, seed: int) -> None:
        self.folder = folder
        self.pacs = stack.enter_context(CountingPacs())
        self.orthanc = None
        peers = [PEER.format(name="counter", ae=self.pacs.ae_title, port=self.pacs.port)]
        destinations = ["counter"]
        if find_orthanc() is not None:
            self.orthanc = stack.enter_context(Orthanc(folder / "orthanc"))
            peers.append(PEER.format(name="orthanc", ae=self.orthanc.ae_title, port=self.orthanc.port))
            destinations.append("orthanc")
        self.port = free_port()
        self._configuration = CONFIGURATION.format(
            port=self.port, peers="".join(peers), destinations=json.dumps(destinations)
        )
        self.node = self._process(is_light=True)
        stack.callback(lambda: self.node.kill())  # noqa: PLW0108 - the one that runs then
        objects = folder / "modalities"
        objects.mkdir()
        self.archive = Archive(objects, installed_tools())
        self.items: list[list[Item]] = []
        """One list for each association; what is not acknowledged is sent again."""
        self.random = random.Random(seed)
        self._lives = 0

    def _process(self, *, is_light: bool) -> NodeProcess:
        program = (LIGHT,) if is_light else ("-m", "dae_pacs")
        return NodeProcess(
            self.folder, self._configuration, ae_title="DAE_PACS", port=self.port, program=program
        )

    def choose_program(self, *, is_light: bool) -> None:
        """Take the light denoiser or the shipped network from the next start on."""
        self.node = self._process(is_light=is_light)

    def start(self, kill: Kill | None = None) -> bool:
        """Start the node, armed or not; False when it was killed before it answered."""
        self._lives += 1
        self.pacs.life += 1
        environment = {}
        if kill is not None and kill.point != "random":
            self.marker(kill).parent.mkdir(parents=True)
            environment = {
                failpoints.VARIABLE: f"{kill.point}=kill@{kill.hit}",
                failpoints.ONCE_VARIABLE: str(self.marker(kill).parent),
            }
        try:
            self.node.start(**environment)
        except ServiceError:
            if kill is not None and not kill.is_worker and self.has_fired(kill):
                return False
            raise
        return True

    def marker(self, kill: Kill) -> Path:
        """Name the file that a failpoint leaves when it acts."""
        return self.folder / "fired" / str(self._lives) / kill.point

    def has_fired(self, kill: Kill) -> bool:
        """Tell whether the failpoint has acted."""
        return kill.point != "random" and self.marker(kill).exists()

    def begin_load(self) -> list[threading.Thread]:
        """Send from four associations at once: something new, and what was not acknowledged before."""
        pairs = [self.archive.series(OBJECTS_EACH, senders=2) for _ in range(SENDERS // 2)]
        unacknowledged = self.unacknowledged()
        fresh = [batch for pair in pairs for batch in pair]
        self.items += fresh
        threads = []
        for number in range(SENDERS):
            batches = [*unacknowledged[number::SENDERS], fresh[number]]
            thread = threading.Thread(target=self._send_all, args=(batches,))
            thread.start()
            threads.append(thread)
        return threads

    def _send_all(self, batches: list[list[Item]]) -> None:
        for batch in batches:
            send(batch, self.port)

    def unacknowledged(self) -> list[list[Item]]:
        """List what no sender was told of, by association."""
        waiting = ([item for item in batch if not item.is_acknowledged] for batch in self.items)
        return [batch for batch in waiting if batch]

    def acknowledged(self) -> dict[str, str]:
        """Give the pixels' digests of what was answered with success, by UID."""
        return {item.uid: item.pixels for batch in self.items for item in batch if item.is_acknowledged}

    def worker(self) -> psutil.Process | None:
        """Find the node's worker process."""
        try:
            children = psutil.Process(self.node.pid).children()
            return next((child for child in children if "spawn_main" in " ".join(child.cmdline())), None)
        except psutil.Error:
            return None

    def in_orthanc(self) -> Counter[str]:
        """Count Orthanc's instances by SOP Instance UID."""
        if self.orthanc is None:
            return Counter()
        expanded = self.orthanc.rest.get("/instances?expand")
        return Counter(str(entry["MainDicomTags"]["SOPInstanceUID"]) for entry in expanded)

    def is_idle(self) -> bool:
        """Tell whether the ledger has nothing left to do."""
        try:
            with Ledger(self.folder / "spool" / "ledger.sqlite", verify=False) as ledger:
                counts = ledger.counts()
        except SpoolError:
            return False
        jobs, owed = counts["jobs"], counts["deliveries"]
        open_jobs = sum(count for status, count in jobs.items() if status not in {"done", "failed"})
        open_deliveries = sum(count for status, count in owed.items() if status not in {"delivered", "dead"})
        return not open_jobs and not open_deliveries


def deck(chance: random.Random) -> list[Kill]:
    """Shuffle one of each way to kill."""
    kills = [Kill(point, False, chance.randint(1, most)) for point, most in NODE_POINTS.items()]
    kills += [Kill(point, True, chance.randint(1, most)) for point, most in WORKER_POINTS.items()]
    kills += [Kill("random", False)] * RANDOM_KILLS + [Kill("random", True)] * RANDOM_WORKER_KILLS
    chance.shuffle(kills)
    return kills


def run_round(ward: Ward, kill: Kill, tally: Tally) -> None:
    """Start, load, kill."""
    if ward.start(kill):
        senders = ward.begin_load()
        _await_kill(ward, kill)
        for sender in senders:
            sender.join()
    fired = ward.has_fired(kill)
    if kill.point != "random" and not fired:
        tally.unreached[kill.point] += 1
    tally.kills[kill.point if fired else "random"] += 1
    tally.rounds += 1
    ward.node.kill()  # where the worker alone was killed, the node was left to go on until here


def _await_kill(ward: Ward, kill: Kill) -> None:
    if kill.point == "random":
        time.sleep(ward.random.uniform(0.0, 3.0))
        if not kill.is_worker:
            ward.node.kill()
            return
        worker = ward.worker()
        if worker is not None:
            worker.kill()
        time.sleep(ward.random.uniform(0.0, 1.0))
        return
    deadline = time.monotonic() + FIRE_TIMEOUT_S
    while time.monotonic() < deadline and not ward.has_fired(kill):
        time.sleep(0.02)
    if kill.is_worker and ward.has_fired(kill):
        time.sleep(ward.random.uniform(0.0, 2.0))  # the node sees it, and may be through before it is killed
    elif not ward.has_fired(kill):
        ward.node.kill()


def settle(ward: Ward, tally: Tally) -> None:
    """Let the node run undisturbed until everything is acknowledged and has arrived; then stop it."""
    ward.start()
    deadline = time.monotonic() + QUIET_TIMEOUT_S
    while (left := ward.unacknowledged()) and time.monotonic() < deadline:
        for batch in left:
            send(batch, ward.port)
    if ward.unacknowledged():
        raise RuntimeError(f"not everything was acknowledged; see {ward.node.log_path}")
    acknowledged = ward.acknowledged()
    while (ward.pacs.missing(acknowledged) or not ward.is_idle()) and time.monotonic() < deadline:
        time.sleep(0.1)
    tally.lost |= ward.pacs.missing(acknowledged)
    if not ward.is_idle():
        raise RuntimeError(f"the node does not come to rest; see {ward.node.log_path}")
    if code := ward.node.stop():
        raise RuntimeError(f"the node ended with {code}; see {ward.node.log_path}")


def report(ward: Ward, tally: Tally) -> dict[str, Any]:
    """Hold what was acknowledged against what arrived."""
    acknowledged = ward.acknowledged()
    verdict = ward.pacs.judge(acknowledged)
    lost, doubled = tally.lost | set(verdict.lost), set(verdict.doubled)
    arrived = {arrival.uid for arrival in ward.pacs.arrivals}
    if ward.orthanc is not None:
        there = ward.in_orthanc()
        lost |= arrived - set(there)
        doubled |= {uid for uid, count in there.items() if count > 1}
    incoming = list((ward.folder / "spool" / "incoming").iterdir())
    return {
        "rounds": tally.rounds,
        "kills": dict(sorted(tally.kills.items())),
        "not_reached": dict(sorted(tally.unreached.items())),
        "acknowledged": len(acknowledged),
        "delivered": len(arrived),
        "repeats": verdict.repeats,
        "lost": sorted(lost),
        "doubled": sorted(doubled),
        "left_in_incoming": len(incoming),
        "orthanc": ward.orthanc is not None,
    }


def crash(folder: Path, *, rounds: int, seed: int, network_every: int) -> dict[str, Any]:
    """Run so many rounds and report them."""
    tally = Tally()
    with ExitStack() as stack:
        ward = Ward(folder, stack, seed=seed)
        kills: list[Kill] = []
        while tally.rounds < rounds:
            kills = kills or deck(ward.random)
            kill = kills.pop()
            with_network = bool(network_every) and tally.rounds % network_every == network_every - 1
            ward.choose_program(is_light=not with_network)
            started = time.monotonic()
            run_round(ward, kill, tally)
            print(f"round {tally.rounds}: {kill}, {time.monotonic() - started:.1f} s", file=sys.stderr)
            if tally.rounds % BLOCK == 0 or tally.rounds == rounds:
                settle(ward, tally)
        return report(ward, tally)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--folder", type=Path, help="where the spool lies; a disk's temporary folder if not given"
    )
    parser.add_argument("--network-every", type=int, default=10, help="rounds; 0 for never")
    parser.add_argument("--json", type=Path, help="write the report there, too")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that node and PACS end with us
    folder = Path(tempfile.mkdtemp(prefix="crash-", dir=given.folder))
    started = time.monotonic()
    found = crash(folder, rounds=given.rounds, seed=given.seed, network_every=given.network_every)
    found["seconds"] = round(time.monotonic() - started)
    print(json.dumps(found, indent=2))
    if given.json is not None:
        given.json.write_text(json.dumps(found, indent=2))
    if found["lost"] or found["doubled"] or found["left_in_incoming"]:
        print(f"the node's spool and log are kept in {folder}", file=sys.stderr)
        return 1
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
