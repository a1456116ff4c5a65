"""Measure how long the command line and the node need to be there, and what they hold in memory at rest.

python benchmarks/startup.py
"""

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil
from results import record

from dae_pacs.demo.node_process import NodeProcess
from dae_pacs.demo.orthanc import free_port

HELP_RUNS = 15
START_RUNS = 7
MODEL_LOADED_S = 12.0
"""How long after its start the node is at rest: the worker has loaded its model by then."""
CONFIGURATION = """
[node]
accept = "anyone"
port = {port}
minimum_free_mb = 10

[peers.pacs]
ae_title = "PACS"
host = "127.0.0.1"
port = 9

[[rules]]
name = "images"
when = {{ Modality = ["CT", "CR", "DX"] }}
destinations = ["pacs"]
"""


def main() -> None:
    helped = _repeat(HELP_RUNS, _help)
    bare = _repeat(HELP_RUNS, lambda: _seconds([sys.executable, "-c", "pass"]))
    with tempfile.TemporaryDirectory() as folder:
        started = _repeat(START_RUNS, lambda: _start(Path(folder)))
        receiver_mb, worker_mb = _memory(Path(folder))
    record(
        [
            _row(
                "help_seconds",
                helped,
                note=f"Python alone: {statistics.median(bare):.3f} s (`python -c pass`)",
            ),
            _row("start_to_echo_seconds", started, note="from spawn to the C-ECHO response, empty spool"),
            {
                "id": "receiver_rest_rss_mb",
                "value": receiver_mb,
                "unit": "MB",
                "note": f"resident memory of the receiving process {MODEL_LOADED_S:.0f} s after start",
            },
            {
                "id": "worker_rest_rss_mb",
                "value": worker_mb,
                "unit": "MB",
                "note": f"resident memory of the worker process {MODEL_LOADED_S:.0f} s after start",
            },
        ]
    )


def _row(name: str, seconds: list[float], *, note: str) -> dict[str, object]:
    return {
        "id": name,
        "value": round(statistics.median(seconds), 3),
        "unit": "s",
        "spread": [round(min(seconds), 3), round(max(seconds), 3)],
        "note": f"median of {len(seconds)}; {note}",
    }


def _repeat(times: int, measure: Callable[[], float]) -> list[float]:
    measure()  # the first run fills the disk's cache
    return [measure() for _ in range(times)]


def _help() -> float:
    return _seconds([str(Path(sys.executable).with_name("dae-pacs")), "--help"])


def _seconds(command: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def _node(folder: Path) -> NodeProcess:
    port = free_port()
    return NodeProcess(folder, CONFIGURATION.format(port=port), ae_title="DAE_PACS", port=port)


def _start(folder: Path) -> float:
    node = _node(folder)
    try:
        return node.start()
    finally:
        node.stop()


def _memory(folder: Path) -> tuple[int, int]:
    """Return the resident memory of receiving and worker process, in MB."""
    with _node(folder) as node:
        time.sleep(MODEL_LOADED_S)
        receiver = psutil.Process(node.pid)
        sizes = [process.memory_info().rss for process in receiver.children(recursive=True)]
        # multiprocessing's resource tracker is a child, too: the worker is the large one.
        return round(receiver.memory_info().rss / 1e6), round(max(sizes, default=0) / 1e6)


if __name__ == "__main__":
    main()
