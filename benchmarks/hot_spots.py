"""Say what a node under load spends its processor time on, by py-spy.

    python benchmarks/hot_spots.py [--seconds 40] [--slices 50]

A CT study comes in over and over from four senders, is denoised by the shipped model, and goes out to a real
Orthanc, until the time is over; py-spy samples the receiving process and its worker a hundred times a second:
of the first the thread that holds the interpreter's lock, since the others wait for network or disk, of the
second each thread that is not idle. A sample counts for the last function of ours on its stack. Beside it
stands the processor's time of the whole process. The output is the table of docs/performance.md.
"""

import argparse
import itertools
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import psutil
from node import CONFIGURATION, MODEL, QUIET_S, Place, _copy, _ct, _pass_through
from pydicom import Dataset
from pydicom.uid import generate_uid

from dae_pacs.demo.node_process import NodeProcess
from dae_pacs.demo.orthanc import Orthanc, free_port
from dae_pacs.demo.phantoms import Study, radiograph
from dae_pacs.dimse.scu import outgoing, send

SENDERS = 4
RATE_HZ = 100
SHOWN = 12


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", type=int, default=40)
    parser.add_argument("--slices", type=int, default=50, help="of each study")
    options = parser.parse_args()
    slices = list(itertools.islice(itertools.cycle(_ct()[0]), options.slices))
    with tempfile.TemporaryDirectory() as name:
        stacks = _sampled(slices, Path(name), options.seconds)
    for process, (busy_s, counts) in stacks.items():
        whole = sum(counts.values())
        print(
            f"\n{process}: {busy_s:.1f} s of the processor's time in {options.seconds} s, {whole} samples\n"
        )
        print("| Share | Where |\n|---|---|")
        for place, count in counts.most_common(SHOWN):
            print(f"| {100 * count / whole:.0f} % | `{place}` |")


def _sampled(slices: list[Dataset], folder: Path, seconds: int) -> dict[str, tuple[float, Counter[str]]]:
    """Give the processor's seconds and the samples of each process."""
    port = free_port()
    with Orthanc(folder / "pacs") as pacs:
        text = CONFIGURATION.format(port=port, pacs_port=pacs.port, quiet_s=QUIET_S)
        with NodeProcess(folder / "node", text, ae_title="DAE_PACS", port=port) as node:
            _pass_through([radiograph(Study(), "CR")], Place(node, pacs, folder))  # the model is loaded then
            worker = max(psutil.Process(node.pid).children(), key=lambda child: child.memory_info().rss)
            over = threading.Event()
            senders = [
                threading.Thread(target=_keep_sending, args=(slices, node, folder / f"sender {k}", over))
                for k in range(SENDERS)
            ]
            for sender in senders:
                sender.start()
            try:
                time.sleep(2 * QUIET_S)
                watched = {"receiving process": psutil.Process(node.pid), f"worker ({MODEL})": worker}
                before = [_busy_s(process) for process in watched.values()]
                samplers = [
                    _sampler(node.pid, folder / "0", seconds, "--gil"),
                    _sampler(worker.pid, folder / "1", seconds),
                ]
                for sampler in samplers:
                    sampler.wait()
                busy = [_busy_s(process) - s for process, s in zip(watched.values(), before, strict=True)]
            finally:
                over.set()
                for sender in senders:
                    sender.join()
        counts = [_by_place((folder / str(number)).read_text()) for number in range(2)]
        return dict(zip(watched, zip(busy, counts, strict=True), strict=True))


def _busy_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _sampler(pid: int, output: Path, seconds: int, *options: str) -> "subprocess.Popen[bytes]":
    spy = Path(sys.executable).with_name("py-spy")
    command = [spy, "record", "--pid", str(pid), "--duration", str(seconds), "--rate", str(RATE_HZ), *options]
    return subprocess.Popen([*command, "--format", "raw", "--output", output], stderr=subprocess.DEVNULL)


def _keep_sending(slices: list[Dataset], node: NodeProcess, folder: Path, over: threading.Event) -> None:
    folder.mkdir()
    while not over.is_set():
        study, series, paths = generate_uid(), generate_uid(), []
        for k, source in enumerate(slices):
            ds = _copy(source)
            ds.StudyInstanceUID, ds.SeriesInstanceUID = study, series
            ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = generate_uid()
            paths.append(folder / f"{k:04d}.dcm")
            ds.save_as(paths[-1], enforce_file_format=True)
        send(node.address, [outgoing(path) for path in paths], calling_ae="BENCH", on_result=lambda _: None)
        over.wait(QUIET_S)


def _by_place(raw: str) -> Counter[str]:
    """Count samples by the last function of ours on the stack, or by the last one where none is ours."""
    counts: Counter[str] = Counter()
    for line in raw.splitlines():
        stack, _, count = line.rpartition(" ")
        frames = stack.split(";")
        ours = [frame for frame in frames if "(dae_pacs/" in frame or "/dae_pacs/" in frame]
        place = ours[-1] if ours else frames[-1]
        function, _, where = place.partition(" (")
        file = where.rpartition("dae_pacs/")[2].rpartition(":")[0] if ours else where.rpartition(":")[0]
        counts[f"{file}: {function}"] += int(count)
    return counts


if __name__ == "__main__":
    main()
