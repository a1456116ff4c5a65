"""Measure the memory of a whole worker process on 2,000 frames in one object and on 1,000 slices of a series.

    python benchmarks/multiframe.py

The objects are made up, 512x512 and 16 bits. Each goes through a real worker twice: whole, with a small
network of the shipped kind, and with the shipped bundle for a limited time, which needs 21 minutes for
2,000 frames on two cores. What is recorded is the larger of the two peaks (VmHWM, torch included).
"""

import json
import multiprocessing
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from pydicom import Dataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid
from results import record
from safetensors.torch import save_file

from dae_pacs.config.model import LogSettings
from dae_pacs.demo.phantoms import Study, ct_series
from dae_pacs.denoise.bundle import write_manifest
from dae_pacs.denoise.network import build
from dae_pacs.image.elements import exact_copy
from dae_pacs.image.files import file_digest
from dae_pacs.image.layout import read_layout
from dae_pacs.image.part10 import file_meta
from dae_pacs.image.pixel_file import empty_pixels, pixel_file
from dae_pacs.node.events import Derived, Failed, Finished, Rejected, SeriesTask, Source
from dae_pacs.node.worker import WorkerSettings, run_worker
from dae_pacs.resources import find_bundle
from dae_pacs.spool.files import SpoolFiles

FRAMES, SLICES, FEW, SIDE = 2000, 1000, 20, 512
MODEL, SMALL = "xray_radiograph_denoising", "small"
SMALL_NETWORK = {
    "_target_": "DenoisingUNet",
    "channels": [4, 8],
    "strides": [2],
    "residual_units": 1,
    "features": 4,
}
WHOLE_S, LIMITED_S = 1800.0, 60.0
MULTIFRAME_GREY_WORD = "1.2.840.10008.5.1.4.1.1.7.3"


@dataclass(frozen=True)
class Run:
    """What one worker took."""

    peak_mb: int
    idle_mb: int
    """With its model loaded, before any work."""
    seconds: float
    done: float
    """Frames, or slices, that were written."""
    is_whole: bool


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="multiframe-") as name:
        folder = Path(name)
        _make_small_bundle(folder / "models" / SMALL)
        shutil.copytree(find_bundle(MODEL), folder / "models" / MODEL)
        few = _run(folder, SMALL, [_make_object(folder / "few.dcm", FEW)], WHOLE_S)
        many = [_make_object(folder / "many.dcm", FRAMES)]
        whole, shipped = _run(folder, SMALL, many, WHOLE_S), _run(folder, MODEL, many, LIMITED_S)
        many[0].unlink()
        slices = [_make_object(folder / "series" / f"{k:04d}.dcm", 0) for k in range(SLICES)]
        series, series_shipped = _run(folder, SMALL, slices, WHOLE_S), _run(folder, MODEL, slices, LIMITED_S)
    growth = f"{FEW} frames take {few.peak_mb} MB with the small network"
    record(
        [
            _row("multiframe_2000_rss_mb", whole, shipped, f"frames; {growth}"),
            _row("series_1000_rss_mb", series, series_shipped, "slices"),
            _over_model(series, series_shipped),
            {
                "id": "multiframe_2000_overhead_ms",
                "value": round(1000 * whole.seconds / FRAMES, 1),
                "unit": "ms a frame",
                "note": "everything with the small network: read, measure, denoise, write, flush, digest",
            },
        ]
    )


def _row(name: str, whole: Run, shipped: Run, what: str) -> dict[str, object]:
    if not whole.is_whole:
        raise SystemExit(f"{name}: the small network did not get through within {WHOLE_S:.0f} s")
    return {
        "id": name,
        "value": max(whole.peak_mb, shipped.peak_mb),
        "unit": "MB",
        "note": f"peak of the worker process: {_told(whole)}, with a small network; "
        f"{_told(shipped)}, with the shipped bundle; {what}",
    }


def _over_model(whole: Run, shipped: Run) -> dict[str, object]:
    return {
        "id": "series_peak_mb_over_model",
        "value": max(run.peak_mb - run.idle_mb for run in (whole, shipped)),
        "unit": "MB",
        "note": f"peak of the worker over its memory with the model loaded: {_told(whole)}, with a small "
        f"network; {_told(shipped)}, with the shipped bundle; slices",
    }


def _told(run: Run) -> str:
    return f"{run.peak_mb} MB ({run.idle_mb} MB idle) over {run.done:.0f} in {run.seconds:.0f} s"


@lru_cache
def _source() -> Dataset:
    return ct_series(Study(), slices=1, size=SIDE)[0]


def _make_object(path: Path, frames: int) -> Path:
    """Write a made-up CT-like object, frame by frame; 0 frames: a plain slice."""
    source = _source()
    plane = source.pixel_array
    header = exact_copy(source, lambda _ds, tag: tag.group != 0x7FE0)
    header.SOPInstanceUID = generate_uid()
    if frames:
        header.SOPClassUID, header.NumberOfFrames = MULTIFRAME_GREY_WORD, frames
    header.file_meta = file_meta(header, ExplicitVRLittleEndian)
    pixels = empty_pixels(source, read_layout(source))
    header[pixels.tag] = pixels
    path.parent.mkdir(parents=True, exist_ok=True)
    with pixel_file(path, header, with_extremes=True) as add:
        for k in range(max(1, frames)):
            add(np.roll(plane, 7 * k, axis=0)[np.newaxis])
    return path


def _make_small_bundle(folder: Path) -> None:
    """Turn a copy of the shipped bundle into one with a network that is two hundred times quicker."""
    shutil.copytree(find_bundle(MODEL), folder)
    (folder / "configs" / "network.json").write_text(json.dumps(SMALL_NETWORK))
    network = build(SMALL_NETWORK)
    weights = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    save_file(weights, folder / "models" / "model.safetensors")
    write_manifest(folder)


def _run(folder: Path, model: str, paths: list[Path], limit_s: float) -> Run:
    """Send a task to a worker process of its own, and watch its memory until it is done or time is up."""
    spool = folder / f"spool-{model}-{len(paths)}"
    SpoolFiles(spool)
    settings = WorkerSettings("cpu", model, folder / "models", spool, LogSettings(level="WARNING"))
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=run_worker, args=(theirs, settings), daemon=True)
    process.start()
    theirs.close()
    idle_mb = _when_settled(lambda: _memory_mb(process.pid or 0, "VmRSS"))
    sources = tuple(Source(k, path, file_digest(path)) for k, path in enumerate(paths))
    started = time.perf_counter()
    ours.send(
        SeriesTask(1, sources, model, None, "{source} denoised", series_number=1000, ae_title="DAE_PACS")
    )
    derived, is_whole = 0, False
    while not is_whole and time.perf_counter() - started < limit_s:
        if not ours.poll(0.2):
            continue
        event = ours.recv()
        if isinstance(event, Failed | Rejected):
            raise SystemExit(f"the worker gave up: {event.reason}")
        derived += isinstance(event, Derived)
        is_whole = isinstance(event, Finished)
    seconds = time.perf_counter() - started
    peak_mb = _memory_mb(process.pid or 0, "VmHWM")
    if len(paths) == 1:
        part = next(
            (path for path in spool.rglob("*") if path.is_file() and path.stat().st_size > 4096), None
        )
        derived = (part.stat().st_size if part else 0) // (2 * SIDE * SIDE)
    process.terminate()
    process.join()
    shutil.rmtree(spool)
    return Run(peak_mb, idle_mb, seconds, derived, is_whole)


def _when_settled(measure: Callable[[], int]) -> int:
    """Wait until a number stands still for two seconds."""
    before, now = -1, 0
    while before != now or now < 100:
        time.sleep(2.0)
        before, now = now, measure()
    return now


def _memory_mb(pid: int, name: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return round(int(line.split()[1]) * 1024 / 1e6)
    return 0


if __name__ == "__main__":
    main()
