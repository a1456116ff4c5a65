"""Measure C-ECHO while the node receives and computes at full load: the 99th percentile.

    python benchmarks/echo.py [--seconds 30] [--folder /dev/shm] [--dry]

Four dcmsend send CT series again and again, the worker denoises what came, and one caller echoes on an
association of its own each time: connection, negotiation, echo and release are all in the figure.
"""

import argparse
import statistics
import tempfile
import threading
import time
from pathlib import Path

import receive
from results import record

from dae_pacs.demo.node_process import NodeProcess
from dae_pacs.demo.orthanc import free_port
from dae_pacs.dimse.scu import echo

CONFIGURATION = """
[node]
accept = "anyone"
port = {port}
spool = "spool"
minimum_free_mb = 10
max_associations_per_address = 20

[peers.nobody]
ae_title = "NOBODY"
host = "127.0.0.1"
port = 1

[[rules]]
name = "all"
destinations = ["nobody"]
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--folder", type=Path, default=Path("/dev/shm"))
    parser.add_argument("--dry", action="store_true", help="print the row and record nothing")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="echo-", dir=given.folder) as name:
        folder, port = Path(name), free_port()
        inputs = [receive._inputs(folder / "in" / str(number), 200) for number in range(3)]
        configuration = CONFIGURATION.format(port=port)
        with NodeProcess(folder / "node", configuration, ae_title="DAE_PACS", port=port) as node:
            waits, sent = _under_load(
                node, receive.Target("dae-pacs", "DAE_PACS", port), inputs, given.seconds
            )
    row = {
        "id": "echo_p99_under_load_ms",
        "value": round(statistics.quantiles(waits, n=100)[98] * 1e3, 1),
        "unit": "ms",
        "command": "python benchmarks/echo.py",
        "note": f"{len(waits)} echoes, each with its association; "
        f"median {statistics.median(waits) * 1e3:.1f} ms, longest {max(waits) * 1e3:.0f} ms; "
        f"meanwhile {sent} rounds of 200 slices from four senders",
    }
    print(row)
    if not given.dry:
        record([row])


def _under_load(
    node: NodeProcess, target: receive.Target, inputs: list[list[Path]], seconds: float
) -> tuple[list[float], int]:
    over, sent = threading.Event(), 0

    def load() -> None:
        nonlocal sent
        while not over.is_set():
            receive._dcmsend(target, inputs[sent % len(inputs)], associations=receive.SENDERS)
            sent += 1

    loading = threading.Thread(target=load)
    loading.start()
    waits, ends = [], time.monotonic() + seconds
    try:
        while time.monotonic() < ends:
            started = time.perf_counter()
            echo(node.address, calling_ae="BENCH")
            waits.append(time.perf_counter() - started)
            time.sleep(0.01)
    finally:
        over.set()
        loading.join()
    return waits, sent


if __name__ == "__main__":
    main()
