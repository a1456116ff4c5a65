"""`dae-pacs plan`: how much hardware does that need, and where is the bottleneck?"""

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from dae_pacs.capacity import measured, plan, simulate
from dae_pacs.capacity.measured import Measured
from dae_pacs.capacity.plan import Archive, Plan
from dae_pacs.capacity.workload import Workload, mixed, read_kinds, read_mix
from dae_pacs.cli.failures import OK

SIMULATED_STUDIES = 2000
"""Enough that the 95th percentile stands on a hundred studies."""
SEED = 1
HOUR_S = 3600.0


@dataclass(frozen=True)
class PlanOptions:
    """What was asked on the command line."""

    per_hour: float
    mix: str
    kinds: Sequence[str]
    machine: str
    peak: float
    keep_hours: float
    outputs: int
    destinations: int
    workers: int | None
    archive: float | None
    days: float | None
    measure: bool
    model: str | None
    config: Path | None
    as_json: bool


@dataclass(frozen=True)
class Waits:
    """What studies wait in the busiest hour, by simulation; seconds from the last byte in to the archive."""

    mean_s: float
    p95_s: float
    compute_alone_s: float


def run(options: PlanOptions) -> int:
    """Work it out and print it.

    Raises:
        ConfigError: the workload can't be read, or the machine is not known.
        DaePacsError: this machine can't be measured.
    """
    known = read_kinds(options.kinds)
    workload = Workload(
        mixed(options.per_hour, read_mix(options.mix), known),
        peak=options.peak,
        keep_hours=options.keep_hours,
        outputs=options.outputs,
        destinations=options.destinations,
    )
    constants = _measured_here(options) if options.measure else measured.machine(options.machine)
    needed = plan.needed(workload, constants, workers=options.workers)
    waits = waiting(workload, constants, needed)
    once = None
    if options.archive is not None:
        hours = None if options.days is None else options.days * 24
        workers = options.workers if options.workers else (None if hours else 1)
        once = plan.archive(workload, constants, instances=options.archive, hours=hours, workers=workers)
    if options.as_json:
        print(json.dumps(_facts(workload, constants, needed, waits=waits, once=once), indent=2))
    else:
        _print(workload, constants, needed, waits=waits, once=once)
    return OK


def waiting(workload: Workload, constants: Measured, needed: Plan) -> Waits | None:
    """Simulate the busiest hour for some thousand studies; None where a station can't keep up."""
    servers = {station.name: station for station in needed.stations}
    if max(station.load for station in needed.stations) >= 1:
        return None
    rate = workload.studies_per_hour * workload.peak
    # One node's share of it: several nodes divide the arrivals, and keep their own workers and associations.
    nodes = servers["receive"].servers
    share = replace(workload, per_hour=tuple((kind, each / nodes) for kind, each in workload.per_hour))
    arrivals = simulate.poisson(share, hours=SIMULATED_STUDIES * nodes / rate, seed=SEED)
    if not arrivals:
        return None
    passages = simulate.run(
        arrivals,
        constants,
        workers=max(1, servers["compute"].servers // nodes),
        outputs=workload.outputs,
        associations=max(1, servers["deliver"].servers // nodes),
    )
    totals = sorted(passage.total_s for passage in passages)
    computes = [
        workload.outputs * constants.compute_s(passage.arrival.kind.images, passage.arrival.kind.megapixels)
        for passage in passages
    ]
    return Waits(statistics.fmean(totals), totals[int(0.95 * len(totals))], statistics.fmean(computes))


def _measured_here(options: PlanOptions) -> Measured:
    from dae_pacs.config.load import load  # noqa: PLC0415
    from dae_pacs.demo.phantoms import Study, ct_series, write_all  # noqa: PLC0415
    from dae_pacs.denoise.engine import open_denoiser  # noqa: PLC0415  torch
    from dae_pacs.node.measuring import measure  # noqa: PLC0415
    from dae_pacs.resources import find_bundle  # noqa: PLC0415

    settings = load(options.config)
    bundle = find_bundle(options.model or settings.model.name, settings.model.folder)
    denoiser = open_denoiser(bundle, device=settings.model.device)

    def series(folder: Path, slices: int, size: int) -> list[Path]:
        return write_all(ct_series(Study(), slices=slices, size=size), folder)

    return measure(series, denoiser, measured.machine(options.machine), spool=settings.node.spool)


def _print(
    workload: Workload, constants: Measured, needed: Plan, *, waits: Waits | None, once: Archive | None
) -> None:
    console = Console(highlight=False)
    kinds = ", ".join(
        f"{rate:g} {kind.name} ({kind.images} x {kind.megapixels:g} megapixels)"
        for kind, rate in workload.per_hour
    )
    console.print(
        f"[bold]An hour, on average:[/] {kinds}; the busiest hour has {workload.peak:g} times that."
    )
    console.print(f"[bold]Measured on:[/] {constants.name}, {constants.machine}")
    console.print(_table(needed))
    bottleneck = needed.bottleneck
    console.print(
        f"[bold]The bottleneck is {bottleneck.name}:[/] with these it bears {bottleneck.headroom:.1f} times "
        "this workload before waits grow."
    )
    console.print(
        f"Network in the busiest hour: {needed.in_mb_a_second:.1f} MB/s in, "
        f"{needed.out_mb_a_second:.1f} MB/s out. "
        f"Spool: {needed.spool_gb:,.0f} GB for {workload.keep_hours:g} hours."
    )
    if waits is None:
        console.print("[red]It can't keep up in the busiest hour: the queue grows until the hour is over.[/]")
    else:
        console.print(
            f"A study's last image in to its derived series at the archive, in the busiest hour: "
            f"{_time(waits.mean_s)} on average, {_time(waits.p95_s)} for 95 of 100; "
            f"{_time(waits.compute_alone_s)} of it are the network's."
        )
    if once is not None:
        console.print(
            f"[bold]The archive, once:[/] {once.hours / 24:,.1f} days with "
            f"{_many(once.workers, 'worker')} and "
            f"{_many(once.nodes, 'node')}; {once.terabytes:,.1f} TB in at {once.in_mb_a_second:,.0f} MB/s, "
            "and as much out for each derived series. The archive itself must give and take that."
        )


def _table(needed: Plan) -> Table:
    table = Table(box=box.SIMPLE, pad_edge=False)
    table.add_column("Station")
    for title in ("Work in the busiest hour", "Needed", "Each is busy"):
        table.add_column(title, justify="right")
    for station in needed.stations:
        style = "red" if station.load >= 1 else None
        count = _many(station.servers, station.unit)
        table.add_row(station.name, _time(station.busy_s), count, f"{station.load:.1%}", style=style)
    return table


def _many(count: int, unit: str) -> str:
    first, _, rest = unit.partition(" ")
    if count == 1:
        return f"1 {unit}"
    return f"{count:,} {first}s {rest}".rstrip()


def _time(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 2 * HOUR_S else f"{seconds / HOUR_S:,.1f} h"


def _facts(
    workload: Workload, constants: Measured, needed: Plan, *, waits: Waits | None, once: Archive | None
) -> Mapping[str, object]:
    return {
        "workload": asdict(workload),
        "measured": asdict(constants),
        "stations": [asdict(station) | {"load": station.load} for station in needed.stations],
        "bottleneck": needed.bottleneck.name,
        "in_mb_a_second": needed.in_mb_a_second,
        "out_mb_a_second": needed.out_mb_a_second,
        "spool_gb": needed.spool_gb,
        "waits": None if waits is None else asdict(waits),
        "archive": None if once is None else asdict(once),
    }
