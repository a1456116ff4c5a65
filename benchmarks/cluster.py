"""Measure batches through workers of a Ray cluster on this machine, against one worker and the local engine.

    python benchmarks/cluster.py [--batches 10] [--rounds 4]

Two clusters: one has a worker of one core, the other has two. Batches of two made-up CT slices of 512x512, as
the node forms them, go from memory to the workers and back, as many at a time as the node's pipeline keeps
under way. The local engine does the same with one thread. Each is driven by a process of its own; they take
turns, and each round starts with another. Two local engines beside each other say what this machine's cores
give where nothing is sent anywhere.
"""

import argparse
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
from results import record

from dae_pacs.cluster.denoiser import ClusterDenoiser
from dae_pacs.cluster.extra import start
from dae_pacs.config.compute import ComputeSettings
from dae_pacs.demo.phantoms import Study, ct_series
from dae_pacs.demo.ray_cluster import RayCluster
from dae_pacs.denoise.protocol import Denoiser
from dae_pacs.image.pixels import decode
from dae_pacs.node.overlap import side_by_side
from dae_pacs.resources import find_bundle

MODEL = "xray_radiograph_denoising"
SLICES = 8
SIDE = 512
WARM_S = 240.0


@dataclass(frozen=True)
class Driver:
    """A process that denoises batches when it is asked to."""

    pipe: Connection

    def begin(self, batches: int) -> None:
        """Ask for so many batches."""
        self.pipe.send(batches)

    def seconds(self) -> float:
        """Wait for them; say how long they took."""
        return float(self.pipe.recv())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--batches", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=4)
    options = parser.parse_args()
    with ExitStack() as running, tempfile.TemporaryDirectory() as name:
        drivers = _drivers(running, Path(name))
        for driver in drivers.values():  # each worker has the model after this
            _seconds([driver], 2 * 2)
        rounds = [_round(drivers, options.batches, first) for first in range(options.rounds)]
    record(_rows(rounds, options.batches))


def _drivers(running: ExitStack, folder: Path) -> dict[str, Driver]:
    clusters: dict[str, RayCluster] = {}
    for count, machines in enumerate((["one"], ["one", "two"]), start=1):
        place = folder / f"cluster-{count}"
        place.mkdir()
        cluster = running.enter_context(RayCluster(place))
        for machine in machines:
            cluster.add(machine)
        clusters[f"ray {count}"] = cluster
    return {
        "local": _driver(running, None, 1),
        "local, too": _driver(running, None, 1),
        **{name: _driver(running, clusters[name].settings, int(name[-1])) for name in clusters},
    }


def _driver(running: ExitStack, settings: ComputeSettings | None, workers: int) -> Driver:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=drive, args=(theirs, settings, workers), daemon=True)
    process.start()
    running.callback(process.kill)
    if ours.poll(WARM_S) and ours.recv() == "ready":
        return Driver(ours)
    raise SystemExit(f"no {workers} workers within {WARM_S:.0f} s")


def drive(pipe: Connection, settings: ComputeSettings | None, workers: int) -> None:
    """Denoise batches for whoever asks, by the local engine, or by a cluster where its settings are given."""
    denoiser = _denoiser(settings, workers)
    decoded = [decode(ds) for ds in ct_series(Study(), slices=SLICES, size=SIDE)]
    frames = np.concatenate([one.values for one in decoded])
    keep = np.concatenate([one.keep for one in decoded])
    noise = denoiser.calibrate(list(frames), list(keep))
    size = max(1, denoiser.batch_pixels // frames[0].size)
    strength = denoiser.identity.default_strength

    def denoise(first: int) -> None:
        part = slice(first, first + size)
        denoiser.denoise(frames[part], keep[part], noise=noise, strength=strength)

    def firsts(count: int) -> Iterator[int]:
        return (number * size % SLICES for number in range(count))

    pipe.send("ready")
    while True:
        count = pipe.recv()
        started = time.perf_counter()
        for _ in side_by_side(
            firsts(count),
            denoise,
            width=lambda _: denoiser.side_by_side(size * SIDE * SIDE),
            waiting=lambda: None,
        ):
            pass
        pipe.send(time.perf_counter() - started)


def _denoiser(settings: ComputeSettings | None, workers: int) -> Denoiser:
    if settings is None:
        from dae_pacs.denoise.engine import open_denoiser  # noqa: PLC0415  a cluster's driver has no torch

        return open_denoiser(find_bundle(MODEL), device="cpu", threads=1)
    foreman = start(settings)
    while foreman.workers < workers:
        time.sleep(0.1)
    return ClusterDenoiser(find_bundle(MODEL), foreman)


def _round(drivers: dict[str, Driver], batches: int, first: int) -> dict[str, float]:
    """Give batches a second of each, one after the other."""
    turns = {
        "local": ["local"],
        "ray 1": ["ray 1"],
        "ray 2": ["ray 2"],
        "two local": ["local", "local, too"],
    }
    names = list(turns)
    speeds = {}
    for name in names[first % len(names) :] + names[: first % len(names)]:
        those = [drivers[each] for each in turns[name]]
        count = batches * 2 if name in {"ray 2", "two local"} else batches
        speeds[name] = count / _seconds(those, count)
        print(f"{name}: {speeds[name]:.3f} batches a second", flush=True)
    return speeds


def _seconds(drivers: list[Driver], batches: int) -> float:
    """Share batches among drivers that work beside each other; the last one's seconds count."""
    for driver in drivers:
        driver.begin(batches // len(drivers))
    return max(driver.seconds() for driver in drivers)


def _rows(rounds: list[dict[str, float]], batches: int) -> list[dict[str, object]]:
    what = (
        f"median of {len(rounds)} rounds of {batches} batches a worker, each of 2 made-up CT slices of "
        f"{SIDE}x{SIDE} in memory"
    )
    ceiling = statistics.median(one["two local"] / one["local"] for one in rounds)
    return [
        _row("ray_two_over_one", [one["ray 2"] / one["ray 1"] for one in rounds])
        | {
            "peer": "two local engines of one thread over one",
            "peer_value": round(ceiling, 3),
            "note": f"{what}; workers of one core each; the peer is what this machine's cores give at most",
        },
        _row("ray_over_local", [one["ray 1"] / one["local"] for one in rounds])
        | {
            "peer": "local engine of one thread, batches a second",
            "peer_value": round(statistics.median(one["local"] for one in rounds), 3),
            "note": f"{what}; one worker of one core; the process that sends and copies has the other core",
        },
    ]


def _row(name: str, values: list[float]) -> dict[str, object]:
    return {
        "id": name,
        "value": round(statistics.median(values), 3),
        "unit": "",
        "spread": [round(min(values), 3), round(max(values), 3)],
    }


if __name__ == "__main__":
    main()
