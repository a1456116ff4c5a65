"""Measure what the console costs the node: ten viewers on the live overview, and nobody at all.

    python benchmarks/console.py [--pairs 10] [--slices 500] [--folder /dev/shm] [--dry]

One node, one series of CT slices after another from DCMTK's dcmsend, with ten viewers and without in turn
(with, without, without, with, ...). Each viewer is a stream of its own of what the overview's page listens
to; all are in one process, niced as the console is, since a hospital's browsers are on other machines. A
measurement begins when the node is at rest, with objects of its own. Before it all, the node is left alone
for a while, and the processor time of its console counted.
"""

import argparse
import multiprocessing
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from multiprocessing.synchronize import Event
from pathlib import Path

import httpx
import psutil
from pydicom import dcmread
from receive import CT_FOLDER, ENVIRONMENT, _await_rest, _await_rows, _phantoms
from receive import Target as Node
from results import record

from dae_pacs.demo.node_process import NodeProcess
from dae_pacs.demo.orthanc import free_port
from dae_pacs.spool.files import LEDGER_NAME
from dae_pacs.web.accounts import open_accounts
from dae_pacs.web.process import NICENESS
from dae_pacs.web.role import Role

VIEWERS = 10
IDLE_S = 30.0
SETTLE_S = 1.5
"""Before each series, with viewers and without: the first page of each is over by then."""
PASSWORD = "only for this benchmark"
UID = f"2.25.{10**37}"
"""Stands in the template; what replaces it has as many digits."""
CONFIGURATION = """
[node]
accept = "anyone"
port = {port}
spool = "spool"
minimum_free_mb = 10
quiet_s = 3600
idle_s = 3600

[web]
port = {web_port}

[[rules]]
name = "everything"
action = "keep"
"""


@dataclass
class Measured:
    """Seconds of each series."""

    alone: list[float] = field(default_factory=list)
    watched: list[float] = field(default_factory=list)

    @property
    def ratios(self) -> list[float]:
        """With viewers over without, pair by pair."""
        return [seen / alone for seen, alone in zip(self.watched, self.alone, strict=True)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--slices", type=int, default=500)
    parser.add_argument("--folder", type=Path, default=Path("/dev/shm"))
    parser.add_argument("--dry", action="store_true", help="print the rows and record nothing")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="console-", dir=given.folder) as folder:
        rows = _rows(Path(folder), given)
    for row in rows:
        print(row)
    if not given.dry:
        record(rows)


def _rows(folder: Path, given: argparse.Namespace) -> list[dict[str, object]]:
    port, web_port = free_port(), free_port()
    configuration = CONFIGURATION.format(port=port, web_port=web_port)
    with NodeProcess(folder / "node", configuration, ae_title="DAE_PACS", port=port) as process:
        node = Node("dae-pacs", "DAE_PACS", port, process.pid, folder / "node" / "spool" / LEDGER_NAME)
        open_accounts(folder / "node" / "spool").add("viewer", Role.VIEWER, PASSWORD)
        url = f"http://127.0.0.1:{web_port}"
        cookies = _log_in(url)
        _await_rest(node.pid)
        idle = _idle_percent(node.pid, web_port)
        measured = _measure(node, Templates(folder / "in", given.slices), given.pairs, (url, cookies))
    return [_cost_row(measured, given.slices), _idle_row(idle)]


def _measure(node: Node, templates: "Templates", pairs: int, console: tuple[str, dict[str, str]]) -> Measured:
    measured = Measured()
    sent = 0
    for number in range(pairs + 1):  # the first pair only warms up
        turns = {}
        for is_watched in (False, True) if number % 2 else (True, False):
            files = templates.fresh()
            _await_rest(node.pid)
            with _watched(*console) if is_watched else nullcontext():
                time.sleep(SETTLE_S)
                turns[is_watched] = _send(node, files)
                sent += templates.count
                _await_rows(node, sent)
        print(f"  without {turns[False]:.3f} s, with {turns[True]:.3f} s", file=sys.stderr)
        if number:
            measured.alone.append(turns[False])
            measured.watched.append(turns[True])
    return measured


def _send(node: Node, folder: Path) -> float:
    command = ["dcmsend", "-aec", node.ae_title, "+sd", "127.0.0.1", str(node.port), str(folder)]
    started = time.perf_counter()
    subprocess.run(command, env=ENVIRONMENT, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - started


class Templates:
    """CT slices, written again and again under UIDs of their own."""

    def __init__(self, folder: Path, count: int) -> None:
        self.count = count
        self._folder = folder
        self._number = 10**37
        self._slices = list(self._read())

    def _read(self) -> Iterator[bytes]:
        for ds in [dcmread(path) for path in sorted(CT_FOLDER.glob("*.dcm"))] or _phantoms():
            ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = UID
            with tempfile.TemporaryFile() as file:
                ds.save_as(file, enforce_file_format=True)
                file.seek(0)
                yield file.read()

    def fresh(self) -> Path:
        """Write another series, in the place of the one before."""
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir()
        for number in range(self.count):
            self._number += 1
            template = self._slices[number % len(self._slices)]
            content = template.replace(UID.encode(), f"2.25.{self._number}".encode())
            (self._folder / f"{number:04}.dcm").write_bytes(content)
        return self._folder


@contextmanager
def _watched(url: str, cookies: dict[str, str]) -> Iterator[None]:
    """Have viewers at the overview, from when each has seen it once."""
    context = multiprocessing.get_context("spawn")
    stop, seen = context.Event(), context.Semaphore(0)
    viewers = context.Process(target=_view, args=(url, cookies, seen, stop))
    viewers.start()
    try:
        for _ in range(VIEWERS):
            if not seen.acquire(timeout=30):
                raise RuntimeError("the overview sends nothing")
        yield
    finally:
        stop.set()
        viewers.join(15)
        viewers.kill()
        viewers.join()


def _view(url: str, cookies: dict[str, str], seen: threading.Semaphore, stop: Event) -> None:
    """Be the viewers: one thread each, in a process of their own."""
    psutil.Process().nice(NICENESS)
    threads = [
        threading.Thread(target=_listen, args=(url, cookies, seen, stop), daemon=True) for _ in range(VIEWERS)
    ]
    for thread in threads:
        thread.start()
    stop.wait()


def _listen(url: str, cookies: dict[str, str], seen: threading.Semaphore, stop: Event) -> None:
    is_new = True
    with httpx.Client(base_url=url, cookies=cookies, timeout=30) as client:
        while not stop.is_set():  # a stream ends after a minute, and the page asks for the next
            with client.stream("GET", "/live") as stream:
                stream.raise_for_status()
                for chunk in stream.iter_raw():
                    if is_new and chunk:
                        seen.release()
                        is_new = False


def _log_in(url: str) -> dict[str, str]:
    """Log a viewer in, and give the cookies of the session."""
    with httpx.Client(base_url=url, timeout=30) as client:
        deadline = time.monotonic() + 30
        while True:
            try:
                page = client.get("/login")
                break
            except httpx.TransportError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
        token = re.search(r'name="csrf_token" value="([^"]+)"', page.text)
        if token is None:
            raise RuntimeError("the log-in page has no form")
        said = {"csrf_token": token[1], "name": "viewer", "password": PASSWORD}
        answer = client.post("/login", data=said)
        if answer.status_code != 303:
            raise RuntimeError(f"the viewer can't log in: {answer.status_code}")
        return dict(client.cookies)


def _idle_percent(pid: int | None, web_port: int) -> float:
    """Give the share of one processor that the console takes while nobody looks."""
    (console,) = [child for child in psutil.Process(pid).children() if _listens(child, web_port)]
    before = sum(console.cpu_times()[:2])
    time.sleep(IDLE_S)
    return 100 * (sum(console.cpu_times()[:2]) - before) / IDLE_S


def _listens(process: psutil.Process, port: int) -> bool:
    return any(one.laddr and one.laddr.port == port for one in process.net_connections())


def _cost_row(measured: Measured, slices: int) -> dict[str, object]:
    percents = [round(100 * (ratio - 1), 2) for ratio in measured.ratios]
    alone, watched = statistics.median(measured.alone), statistics.median(measured.watched)
    return {
        "id": "console_ten_viewers_cost_percent",
        "value": round(100 * (statistics.median(measured.ratios) - 1), 2),
        "unit": "%",
        "peer": "nobody looks (s)",
        "peer_value": round(alone, 3),
        "spread": [min(percents), max(percents)],
        "note": f"median of {len(percents)} pairs, in turn, of {slices} CT slices from dcmsend; medians of "
        f"the seconds {alone:.3f} and {watched:.3f}; {VIEWERS} streams of the live overview; spool in memory",
    }


def _idle_row(percent: float) -> dict[str, object]:
    return {
        "id": "console_idle_cpu_percent",
        "value": round(percent, 2),
        "unit": "%",
        "note": f"of one core, over {IDLE_S:.0f} s with nobody logged in at a page; all of the web process",
    }


if __name__ == "__main__":
    main()
