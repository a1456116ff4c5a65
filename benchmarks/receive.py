"""Measure receiving and sending against DCMTK and Orthanc, and the memory that a large object takes.

    python benchmarks/receive.py [--rounds 5] [--slices 200] [--folder /dev/shm] [--disk .] [--ahead] [--dry]

Ours is the whole node, with its worker at rest and a rule that only keeps: success means stable storage. The
rows of the ledger come behind the answers, so each note also tells the ratio until they are written. Peers
and ours take the same files in turn, within one process tree, from DCMTK's dcmsend with TCP_NODELAY=1 on both
sides; each round has objects of its own, and begins when the node rests: what it does behind its answers, and
ahead of the next burst, is never done in the peer's turn. The comparison with a storescp
that flushes each file runs on a real disk, the others in memory. The flush comes from a library of a few
lines that is loaded into storescp (fsync_on_close.c): a command after each file, which is DCMTK's own way,
would cost a process for each object.
"""

import argparse
import os
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from pydicom import Dataset, dcmread
from pydicom.uid import generate_uid
from results import record

from dae_pacs.demo.node_process import NodeProcess
from dae_pacs.demo.orthanc import Orthanc, find_orthanc, free_port
from dae_pacs.demo.phantoms import Study, ct_series
from dae_pacs.dimse import scu
from dae_pacs.dimse.statuses import Outcome
from dae_pacs.spool.files import LEDGER_NAME

CT_FOLDER = Path(__file__).resolve().parents[2] / "shared" / "data" / "dicom" / "ct-ge-head"
SHIM = Path(__file__).with_name("fsync_on_close.c")
ENVIRONMENT = dict(os.environ, TCP_NODELAY="1")
PDU_BYTES = 131072
LARGE_BYTES = 2_000_000_000
SENDERS = 4
ROWS_WITHIN_S = 60.0
CONFIGURATION = """
[node]
accept = "anyone"
port = {port}
spool = "spool"
minimum_free_mb = 10
quiet_s = 3600
idle_s = 3600
{more}

[[rules]]
name = "everything"
action = "keep"
"""


@dataclass(frozen=True)
class Plan:
    """How much is measured, and where."""

    rounds: int
    slices: int
    memory: Path
    disk: Path


@dataclass(frozen=True)
class Target:
    """A receiver that runs."""

    name: str
    ae_title: str
    port: int
    pid: int | None = None
    ledger: Path | None = None


@dataclass
class Rounds:
    """What several rounds gave."""

    ratios: list[float] = field(default_factory=list)
    with_rows: list[float] = field(default_factory=list)
    """The same, until our ledger knew all objects as well."""
    seconds: list[float] = field(default_factory=list)
    """The peer's."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--slices", type=int, default=200)
    parser.add_argument("--folder", type=Path, default=Path("/dev/shm"))
    parser.add_argument("--disk", type=Path, default=Path())
    parser.add_argument(
        "--ahead", action="store_true", help="real-time priority for all: other work does not count (root)"
    )
    parser.add_argument("--dry", action="store_true", help="print the rows and record nothing")
    given = parser.parse_args()
    if given.ahead:  # what is started from here on inherits it: peers, ours and senders alike
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    with ExitStack() as stack:
        memory, disk = (
            Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="receive-", dir=folder)))
            for folder in (given.folder, given.disk)
        )
        plan = Plan(given.rounds, given.slices, memory, disk.absolute())
        inputs = [_inputs(memory / "in" / str(number), plan.slices) for number in range(plan.rounds + 1)]
        rows = [
            _one_against_flushing_storescp(plan, inputs),
            _one_against_storescp(plan, inputs),
            _four_against_orthanc(plan, inputs),
            _sending(plan, inputs),
            _large_object(plan),
        ]
    # Relative to where it runs: the table is read on other machines.
    shown = [os.path.relpath(part) if Path(part).is_absolute() else part for part in sys.argv[1:]]
    for row in rows:
        row["command"] = " ".join(["python benchmarks/receive.py", *shown])
        print(row)
    if not given.dry:
        record(rows)


def _inputs(folder: Path, count: int) -> list[Path]:
    """Write CT slices under UIDs of their own, dealt into folders for four senders."""
    sources = [dcmread(path) for path in sorted(CT_FOLDER.glob("*.dcm"))] or _phantoms()
    folders = [folder / str(number) for number in range(SENDERS)]
    for part in folders:
        part.mkdir(parents=True)
    for number in range(count):
        ds = sources[number % len(sources)]
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        ds.save_as(folders[number % SENDERS] / f"{number:04}.dcm", enforce_file_format=True)
    return folders


def _phantoms() -> list[Dataset]:
    return ct_series(Study(), slices=28, size=512)


def _one_against_flushing_storescp(plan: Plan, inputs: list[list[Path]]) -> dict[str, object]:
    name = "receive_1_over_storescp_fsync"
    shim = _compiled(plan.memory / "fsync_on_close.so")
    if shim is None:
        return {"id": name, "value": None, "unit": "", "note": "no C compiler to build fsync_on_close.c"}
    with ExitStack() as stack:
        peer = stack.enter_context(_storescp(plan.disk / "storescp", LD_PRELOAD=str(shim)))
        ours = stack.enter_context(_node(plan.disk / "node"))
        rounds = _in_turn(peer, ours, inputs)
        in_memory = _storescp(plan.memory / "flushing", LD_PRELOAD=str(shim))
        beside = _in_turn(
            stack.enter_context(in_memory), stack.enter_context(_node(plan.memory / "beside")), inputs
        )
    in_memory_too = statistics.median(beside.ratios)
    note = (
        f"on a disk ({_file_system(plan.disk)}); both spools in memory: {in_memory_too:.2f}; "
        f"fsync in storescp by LD_PRELOAD, without its folder"
    )
    return _ratio_row(name, rounds, peer="storescp +B, fsync per file (s)", note=note)


def _one_against_storescp(plan: Plan, inputs: list[list[Path]]) -> dict[str, object]:
    with _storescp(plan.memory / "plain") as peer, _node(plan.memory / "node") as ours:
        rounds = _in_turn(peer, ours, inputs)
    with _storescp(plan.disk / "plain") as peer, _node(plan.disk / "beside") as ours:
        beside = _in_turn(peer, ours, inputs)
    return _ratio_row(
        "receive_1_over_storescp",
        rounds,
        peer="storescp +B (s)",
        note="both spools in memory; on a disk, where only ours flushes, "
        f"{statistics.median(beside.ratios):.2f}",
    )


def _four_against_orthanc(plan: Plan, inputs: list[list[Path]]) -> dict[str, object]:
    name = "receive_4_over_orthanc"
    if find_orthanc() is None:
        return {"id": name, "value": None, "unit": "", "note": "Orthanc is not installed"}
    with ExitStack() as stack:
        orthanc = stack.enter_context(Orthanc(plan.memory / "orthanc"))
        peer = Target("Orthanc", orthanc.ae_title, orthanc.port)
        ours = stack.enter_context(_node(plan.memory / "four"))
        rounds = _in_turn(peer, ours, inputs, associations=SENDERS)
    note = "both spools in memory; Orthanc with TcpNoDelay, 128 KiB PDUs, no flush of files, no plugins"
    return _ratio_row(name, rounds, peer="Orthanc (s)", note=note)


def _sending(plan: Plan, inputs: list[list[Path]]) -> dict[str, object]:
    """Send by our SCU, in this process, and by dcmsend, a process of its own, to the same storescp."""
    theirs: list[float] = []
    ours: list[float] = []
    with _storescp(plan.memory / "sent") as target:
        for number, folders in enumerate(inputs):
            by_them = _seconds(lambda folders=folders: _dcmsend(target, folders))
            by_us = _seconds(lambda folders=folders: _send(target, folders))
            if number:
                theirs.append(by_them)
                ours.append(by_us)
    ratios = [them / us for them, us in zip(theirs, ours, strict=True)]
    note = "to storescp +B in memory; ours in this process, dcmsend with its start"
    return _ratio_row("send_over_dcmsend", Rounds(ratios, seconds=theirs), peer="dcmsend (s)", note=note)


def _large_object(plan: Plan) -> dict[str, object]:
    """Send an object of 2 GB, and watch the receiving process's resident memory meanwhile."""
    path = plan.memory / "large.dcm"
    ds = ct_series(Study(), slices=1, size=32)[0]
    ds.PixelData = b""
    ds.save_as(path, enforce_file_format=True)
    with path.open("r+b") as file:
        file.seek(-4, os.SEEK_END)
        file.write(LARGE_BYTES.to_bytes(4, "little"))
        file.truncate(file.tell() + LARGE_BYTES)  # zeros that take no room
    with _node(plan.memory / "large") as target:
        process = psutil.Process(_children_of_us()[-1])
        before = process.memory_info().rss
        peak, done = [before], threading.Event()

        def watch() -> None:
            while not done.wait(0.02):
                peak.append(process.memory_info().rss)

        watching = threading.Thread(target=watch)
        watching.start()
        started = time.perf_counter()
        _send(target, [path])
        seconds = time.perf_counter() - started
        done.set()
        watching.join()
    return {
        "id": "receive_rss_2gb_mb",
        "value": round((max(peak) - before) / 1e6, 1),
        "unit": "MB",
        "note": f"receiving process: its highest resident memory less that before; {seconds:.0f} s",
    }


def _in_turn(peer: Target, ours: Target, inputs: list[list[Path]], *, associations: int = 1) -> Rounds:
    """Let both take each round's objects; the first round only warms up."""
    rounds = Rounds()
    total = 0
    for number, folders in enumerate(inputs):
        theirs = _seconds(lambda folders=folders: _dcmsend(peer, folders, associations=associations))
        own = _seconds(lambda folders=folders: _dcmsend(ours, folders, associations=associations))
        total += sum(len(list(folder.iterdir())) for folder in folders)
        with_rows = own + _seconds(lambda count=total: _await_rows(ours, count))
        if number:
            rounds.ratios.append(theirs / own)
            rounds.with_rows.append(theirs / with_rows)
            rounds.seconds.append(theirs)
        print(f"  {peer.name} {theirs:.3f} s, {ours.name} {own:.3f} s, {with_rows:.3f} s", file=sys.stderr)
        _await_rest(ours.pid)
    return rounds


def _await_rows(target: Target, count: int) -> None:
    """Wait until a node's ledger knows so many objects."""
    if target.ledger is None:
        return
    with closing(sqlite3.connect(f"file:{target.ledger}?mode=ro", uri=True)) as ledger:
        deadline = time.monotonic() + ROWS_WITHIN_S
        while ledger.execute("SELECT count(*) FROM instances").fetchone()[0] < count:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{target.name} did not record all {count} objects")
            time.sleep(0.005)


def _seconds(action: Callable[[], None]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def _dcmsend(target: Target, folders: list[Path], *, associations: int = 1) -> None:
    command = ["dcmsend", "-aec", target.ae_title, "+sd", "127.0.0.1", str(target.port)]
    parts = [folders] if associations == 1 else [[folder] for folder in folders]
    running = [
        subprocess.Popen(
            [*command, *map(str, part)],
            env=ENVIRONMENT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for part in parts
    ]
    codes = [process.wait() for process in running]
    if any(codes):
        raise RuntimeError(f"dcmsend failed to send to {target.name}")


def _send(target: Target, places: list[Path]) -> None:
    peer = scu.PeerAddress(target.ae_title, "127.0.0.1", target.port, 10.0, 120.0)
    paths = [path for place in places for path in ([place] if place.is_file() else sorted(place.iterdir()))]
    results: list[scu.SendResult] = []
    scu.send(peer, [scu.outgoing(path) for path in paths], calling_ae="BENCH", on_result=results.append)
    bad = [result for result in results if result.outcome is not Outcome.SENT]
    if bad:
        raise RuntimeError(f"{target.name} did not take everything: {bad[0].message}")


@contextmanager
def _storescp(folder: Path, **environment: str) -> Iterator[Target]:
    folder.mkdir()
    port = free_port()
    command = ["storescp", "+B", "-pdu", str(PDU_BYTES), "-od", str(folder), str(port)]
    process = subprocess.Popen(
        command, env=ENVIRONMENT | environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        time.sleep(0.5)
        yield Target("storescp", "STORESCP", port)
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(folder)


@contextmanager
def _node(folder: Path) -> Iterator[Target]:
    port = free_port()
    more = "max_associations_per_address = 20"
    node = NodeProcess(folder, CONFIGURATION.format(port=port, more=more), ae_title="DAE_PACS", port=port)
    with node:
        _await_rest(node.pid)
        yield Target("dae-pacs", "DAE_PACS", port, node.pid, folder / "spool" / LEDGER_NAME)
    shutil.rmtree(folder)


def _await_rest(pid: int | None) -> None:
    """Wait until a node does nothing: its model is loaded, its rows are written."""
    if pid is None:
        return
    processes = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    quiet = 0
    while quiet < 4:
        before = sum(sum(process.cpu_times()[:2]) for process in processes)
        time.sleep(0.5)
        used = sum(sum(process.cpu_times()[:2]) for process in processes) - before
        quiet = quiet + 1 if used < 0.05 else 0


def _children_of_us() -> list[int]:
    return [child.pid for child in psutil.Process().children()]


def _compiled(target: Path) -> Path | None:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        return None
    subprocess.run([compiler, "-shared", "-fPIC", "-O2", "-o", target, SHIM, "-ldl"], check=True)
    return target


def _file_system(folder: Path) -> str:
    return max(
        (part for part in psutil.disk_partitions(all=True) if folder.is_relative_to(part.mountpoint)),
        key=lambda part: len(part.mountpoint),
    ).fstype


def _ratio_row(name: str, rounds: Rounds, *, peer: str, note: str) -> dict[str, object]:
    ratios = rounds.ratios
    if rounds.with_rows:
        note += f"; until the ledger has its rows, too: {statistics.median(rounds.with_rows):.2f}"
    return {
        "id": name,
        "value": round(statistics.median(ratios), 3),
        "unit": "",
        "peer": peer,
        "peer_value": round(statistics.median(rounds.seconds), 3),
        "spread": [round(min(ratios), 3), round(max(ratios), 3)],
        "note": f"median of {len(ratios)} rounds; {note}",
    }


if __name__ == "__main__":
    main()
