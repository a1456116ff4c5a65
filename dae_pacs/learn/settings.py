"""What a run takes of the machine that it finds: cores, memory, reduced precision, a GPU."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import torch

from dae_pacs.errors import TrainingError
from dae_pacs.learn.data import Data

BF16_FLAGS = frozenset({"avx512_bf16", "amx_bf16", "bf16"})
"""Of /proc/cpuinfo: CPUs whose convolutions take half the time in bfloat16 (x86 and Arm)."""
CACHE_BYTES_PER_PIXEL = 13
"""An image and its weight in float32, a label or reference as well, and the mask of what does not count."""
CACHE_MEMORY_SHARE = 0.5
"""Of the free memory; the rest is for the network, the patches and whoever else works here."""
GPU_OVERRIDES: dict[str, Any] = {"batch_images": 8, "patch_px": 128}
"""A GPU that is given 8 patches of 96² waits for the next ones most of the time."""
MOST_WORKERS = 8


@dataclass(frozen=True)
class Machine:
    """What is here to train with."""

    device: str
    """cpu, cuda or cuda:N."""
    threads: int
    has_bf16: bool
    free_bytes: int


def look(device: str = "auto") -> Machine:
    """Look at the machine.

    Args:
        device: auto, cpu, cuda or cuda:N; auto takes a GPU if there is one.

    Raises:
        TrainingError: there is no such device.
    """
    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    kind, _, number = device.partition(":")
    if kind not in {"auto", "cpu", "cuda"} or (number and not (kind == "cuda" and number.isdecimal())):
        raise TrainingError(f"Device {device!r} is not known; expected auto, cpu, cuda or cuda:N.")
    if kind == "cuda" and int(number or 0) >= found:
        raise TrainingError(f"Device {device}: torch finds {found} GPUs here; use --device cpu.")
    chosen = device if kind != "auto" else ("cuda" if found else "cpu")
    return Machine(
        device=chosen,
        threads=_cores(),
        has_bf16=_has_bf16(chosen),
        free_bytes=int(psutil.virtual_memory().available),
    )


def overrides(machine: Machine) -> dict[str, Any]:
    """Give the entries of a recipe that suit the machine better than its defaults."""
    chosen: dict[str, Any] = {
        "device": f"$torch.device({machine.device!r})",
        "threads": machine.threads,
        "cache_share": {"_target_": "dae_pacs.learn.settings.cache_share", "data": "@data"},
    }
    if machine.device.startswith("cuda"):
        # The GPU's own reduced precision is the recipe's amp; beside it, patches are cut by other processes.
        return {**chosen, **GPU_OVERRIDES, "workers": min(machine.threads, MOST_WORKERS)}
    if machine.has_bf16:
        chosen["inferer"] = {"_target_": "dae_pacs.learn.network.ReducedPrecisionInferer"}
    return chosen


def cache_share(data: Data) -> float:
    """Give the share of the decoded images that half of the free memory can keep, from 0 to 1."""
    pixels = sum(int(item["pixels"]) for item in (*data.training, *data.validation))
    room = CACHE_MEMORY_SHARE * psutil.virtual_memory().available
    return min(1.0, int(100 * room / max(pixels * CACHE_BYTES_PER_PIXEL, 1)) / 100)


def _cores() -> int:
    """Count the real cores that this process may use; two threads on one core are slower than one."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(allowed, psutil.cpu_count(logical=False) or allowed))


def _has_bf16(device: str) -> bool:
    if device.startswith("cuda"):
        return bool(torch.cuda.is_bf16_supported())
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return False
    flags = next((line for line in lines if line.lower().startswith(("flags", "features"))), "")
    return not BF16_FLAGS.isdisjoint(flags.split())
