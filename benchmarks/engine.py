"""Measure the network's forward pass and the engine around it, against float32 eager PyTorch.

    python benchmarks/engine.py                        on the CPU, with two threads and with one
    python benchmarks/engine.py --prepare FOLDER       only write the images, for a machine without pydicom
    python benchmarks/engine.py --images FOLDER --device cuda --rows rows.json    there
    python benchmarks/engine.py --merge rows.json      put what was measured there into results.json

Real images: two radiographs of pydicom-data, and slices of the GE head CT in ../shared/data (left out where
it is not there). The peer is the network as it is defined, float32, built and called as anyone would: on a
GPU with TF32 off. Ours and the peer run in turn; a row is the median of the paired ratios.
"""

import argparse
import json
import logging
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # as the worker does; the peer gains by it as well

import numpy as np
import torch
from bare import Batches
from results import commit, machine, record
from torch import Tensor, nn

from dae_pacs.denoise.bundle import load_bundle
from dae_pacs.denoise.choice import choose, exact_float32
from dae_pacs.denoise.engine import TorchDenoiser
from dae_pacs.noise.model import NoiseModel

ROOT = Path(__file__).resolve().parents[1]
CT_FOLDER = ROOT.parent / "shared" / "data" / "dicom" / "ct-ge-head"
RADIOGRAPHS = ("RG1_J2KI.dcm", "RG3_J2KR.dcm")
MODELS = {"radiograph": "xray_radiograph_denoising", "ct": "ct_volume_denoising"}
SLICES = 24
ROUNDS = {"cpu": 7, "cuda": 15}
PASS_PIXELS = {"cpu": 1 << 20, "cuda": 1 << 23}
STRENGTH = 0.7

Row = dict[str, Any]


@dataclass(frozen=True)
class Images:
    """Images of one acquisition group, and their noise."""

    name: str
    model: str
    frames: np.ndarray
    """(frames, rows, columns) float32, in the modality's unit."""
    noise: NoiseModel


def main() -> None:
    options = _options()
    logging.basicConfig(level="INFO", format="%(message)s")
    if options.merge:
        record(json.loads(options.merge.read_text()))
        return
    if options.prepare:
        _prepare(options.prepare)
        return
    images = _read(options.images) if options.images else _real_images()
    device = torch.device(options.device)
    rows = _forward_rows(images, device)
    rows += _difference_rows(images, device)
    rows += _engine_rows(images, device)
    if device.type == "cuda":
        rows = [{"machine": f"{torch.cuda.get_device_name()}, {machine()}"} | row for row in rows]
    if options.rows:
        command = f"python benchmarks/engine.py --images FOLDER --device {device.type}"
        where = {"command": command, "machine": machine(), "commit": options.commit or commit()}
        options.rows.write_text(json.dumps([where | row for row in rows], indent=1))
        print(options.rows.read_text())
    else:
        record(rows)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    for name in ("--prepare", "--images", "--rows", "--merge"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--commit", help="of the code, where git is not at hand")
    return parser.parse_args()


def _real_images() -> list[Images]:
    from pydicom import dcmread  # noqa: PLC0415  not on every machine that measures
    from pydicom.data import get_testdata_file  # noqa: PLC0415

    from dae_pacs.image.pixels import decode  # noqa: PLC0415

    groups = {name: [get_testdata_file(name, download=False)] for name in RADIOGRAPHS}
    groups["ct-ge-head"] = sorted(CT_FOLDER.glob("*.dcm"))[:SLICES]
    found = []
    for name, paths in groups.items():
        decoded = [decode(dcmread(path)) for path in paths if path]
        if not decoded:
            print(f"{name} is not here and is left out")
            continue
        bundle = MODELS["ct" if name.startswith("ct") else "radiograph"]
        denoiser = TorchDenoiser(load_bundle(ROOT / "models" / bundle), device=torch.device("cpu"))
        noise = denoiser.calibrate(
            [one.values[0] for one in decoded[:8]], [one.keep[0] for one in decoded[:8]]
        )
        found.append(Images(name, bundle, np.concatenate([one.values for one in decoded]), noise))
    return found


def _prepare(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for one in _real_images():
        np.savez_compressed(
            folder / one.name, frames=one.frames, model=one.model, noise=one.noise.to_json(), name=one.name
        )


def _read(folder: Path) -> list[Images]:
    found = []
    for path in sorted(folder.glob("*.npz")):
        with np.load(path) as held:
            noise = NoiseModel.from_json(str(held["noise"]))
            found.append(Images(str(held["name"]), str(held["model"]), held["frames"], noise))
    return found


def _forward_rows(images: list[Images], device: torch.device) -> list[Row]:
    """Time a pass of the size that the engine gives the network."""
    kind = "gpu" if device.type == "cuda" else "cpu"
    z = _stabilised(images[0], device, PASS_PIXELS[device.type], square=True)
    megapixels = z.numel() / 1e6
    rows = []
    for threads in (0,) if device.type == "cuda" else (torch.get_num_threads(), 1):
        torch.set_num_threads(threads or torch.get_num_threads())
        eager = load_bundle(ROOT / "models" / images[0].model).network().to(device)
        ordered = load_bundle(ROOT / "models" / images[0].model).network().to(device)
        ordered = ordered.to(memory_format=torch.channels_last)
        way = choose(load_bundle(ROOT / "models" / images[0].model).network(), device)
        ours, plain, in_order = _in_turn([way.network, eager, ordered], z, ROUNDS[device.type])
        suffix = f"_{threads}_thread" if threads == 1 else ""
        at = f"{threads} threads" if threads else "TF32 off"
        note = (
            f"{way.name}: {_ms(ours, megapixels)}; float32 eager {_ms(plain, megapixels)}, "
            f"with weights in the order channels_last {_ms(in_order, megapixels)}; "
            f"passes of {megapixels:.2f} megapixels, {at}"
        )
        rows.append(_ratio(f"forward_over_fp32_eager_{kind}{suffix}", plain, ours) | {"note": note})
        rows.append(_ratio(f"forward_over_fp32_channels_last_{kind}{suffix}", in_order, ours) | {"note": at})
        value = round(1000 * statistics.median(ours) / megapixels, 2)
        rows.append(
            {"id": f"forward_ms_a_megapixel_{kind}{suffix}", "value": value, "unit": "ms", "note": at}
        )
        torch.set_num_threads(os.cpu_count() or 1)
    return rows


def _difference_rows(images: list[Images], device: torch.device) -> list[Row]:
    """Compare whole images, pixel by pixel, as the engine would move them: after the clamp."""
    worst: dict[str, float] = {}
    for one in images:
        bundle = load_bundle(ROOT / "models" / one.model)
        way, definition = choose(bundle.network(), device), bundle.network().to(device)
        for z in _stabilised(one, device, one.frames.size).split(1):
            with torch.inference_mode(), exact_float32():
                steps = [
                    (run(z) - z).clamp(-bundle.clamp_sigma, bundle.clamp_sigma)
                    for run in (way.network, definition)
                ]
            difference = float((steps[0] - steps[1]).abs().max())
            worst[one.name] = max(worst.get(one.name, 0.0), difference)
    told = ", ".join(f"{name} {value:.4f}" for name, value in worst.items())
    return [
        {
            "id": "forward_max_difference_sigma" + ("_gpu" if device.type == "cuda" else ""),
            "value": round(max(worst.values()), 4),
            "unit": "sigma",
            "note": f"{way.name}, from float32 layer by layer; whole images, after the clamp: {told}",
        }
    ]


def _engine_rows(images: list[Images], device: torch.device) -> list[Row]:
    """Time all that the engine does, arrays to arrays, against its network alone on batches in memory."""
    kind = "gpu" if device.type == "cuda" else "cpu"
    one = images[-1]
    repeats = -(-PASS_PIXELS[device.type] * 6 // one.frames.size) if device.type == "cuda" else 1
    frames = np.concatenate([one.frames] * repeats)[: None if device.type == "cuda" else 8]
    denoiser = TorchDenoiser(load_bundle(ROOT / "models" / one.model), device=device)
    batches = Batches(denoiser, frames, one.noise)
    whole = partial(batches.engine, strength=STRENGTH)
    alone, engine = _in_turn_of([batches.network, whole], 5, device)
    speed = frames.size / 1e6 / statistics.median(engine)
    note = (
        f"{len(frames)} slices of 512x512 in {batches.size}s, {batches.lanes} at a time: stabilise, "
        "network, clamp, invert, checks, arrays in and out, over the network alone; "
        f"{speed:.1f} megapixels a second"
    )
    return [_ratio(f"engine_over_bare_model_{kind}", alone, engine) | {"note": note}]


def _stabilised(one: Images, device: torch.device, pixels: int, *, square: bool = False) -> Tensor:
    """Give (frames, 1, rows, columns) of an image, of about so many pixels.

    `square` mirrors it to 2048x2048 before: on other sides cuDNN's float32 may be ten times slower (on an
    H100 with sides of 1920 and 1792, or 1955 and 1841), which would flatter us.
    """
    z = one.noise.stabilise(one.frames)
    if square:
        z = np.pad(z, [(0, 0), *((0, 2048 - side) for side in z.shape[1:])], mode="reflect")
    if pixels < z[0].size:
        side = int(pixels**0.5)
        z = np.ascontiguousarray(z[:1, :side, :side])
    elif pixels > z.size:
        z = np.concatenate([z] * (pixels // z.size))
    return torch.from_numpy(z[:, None]).to(device)


def _in_turn(networks: list[nn.Module], z: Tensor, rounds: int) -> list[list[float]]:
    def run(network: nn.Module) -> Callable[[], object]:
        def once() -> None:
            with torch.inference_mode(), exact_float32():
                network(z)

        return once

    return _in_turn_of([run(network) for network in networks], rounds, z.device)


def _in_turn_of(calls: list[Callable[[], object]], rounds: int, device: torch.device) -> list[list[float]]:
    """Time calls in turn, after two that do not count."""
    seconds: list[list[float]] = [[] for _ in calls]
    for k in range(rounds + 2):
        for call, held in zip(calls, seconds, strict=True):
            started = time.perf_counter()
            call()
            if device.type == "cuda":
                torch.cuda.synchronize()
            if k >= 2:
                held.append(time.perf_counter() - started)
    return seconds


def _ratio(name: str, theirs: list[float], ours: list[float]) -> Row:
    ratios = [peer / own for peer, own in zip(theirs, ours, strict=True)]
    return {
        "id": name,
        "value": round(statistics.median(ratios), 2),
        "unit": "",
        "spread": [round(min(ratios), 2), round(max(ratios), 2)],
    }


def _ms(seconds: list[float], megapixels: float) -> str:
    return f"{1000 * statistics.median(seconds) / megapixels:.1f} ms a megapixel"


if __name__ == "__main__":
    main()
