"""Rows of `benchmarks/denoising.py` about one bundle: what inference costs, and what it does to no noise.

python benchmarks/denoising_model.py BUNDLE PRECISION     measures the cost alone, in a fresh process
"""

import json
import resource
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
import torch
from denoising_data import SIGNAL_SHARE, Reference
from scipy.ndimage import gaussian_filter

from dae_pacs.denoise.bundle import load_bundle
from dae_pacs.denoise.protocol import Denoiser
from dae_pacs.learn.pairs import Noise

PRECISIONS = ("float32", "bfloat16")
SIDE_PX = 1024
THREADS = 2
REPEATS = 7
LOWEST_TRAINED_LEVEL = 0.004

Row = dict[str, Any]


def cost_rows(bundle: Path) -> list[Row]:
    """Time a bundle's network and weigh its memory, each precision in a process of its own."""
    rows: list[Row] = []
    for precision in PRECISIONS:
        command = [sys.executable, __file__, str(bundle), precision]
        ended = subprocess.run(command, capture_output=True, text=True, check=True)
        measured = json.loads(ended.stdout.splitlines()[-1])
        note = (
            f"Network of models/{bundle.name} ({measured['parameters'] / 1e6:.2f} M parameters), eager, "
            f"{precision}{' autocast' if precision == 'bfloat16' else ''}, {THREADS} threads, one image of "
            f"{SIDE_PX}×{SIDE_PX}; median of {REPEATS}."
        )
        times = [1000 * seconds * 1e6 / SIDE_PX**2 for seconds in measured["seconds"]]
        rows.append(
            {
                "id": f"inference_ms_per_megapixel_{precision}",
                "value": round(median(times), 1),
                "unit": "ms",
                "spread": [round(min(times), 1), round(max(times), 1)],
                "note": note,
            }
        )
        rows.append(
            {
                "id": f"inference_mb_{precision}",
                "value": round(measured["added_mb"]),
                "unit": "MB",
                "note": f"Peak memory that the passes add to the process. {note}",
            }
        )
    return rows


def clean_input_row(references: Sequence[Reference], denoiser: Denoiser) -> Row:
    """Give the model references without noise, telling it that the lowest trained level is there."""
    noise = Noise(level=LOWEST_TRAINED_LEVEL, signal_share=SIGNAL_SHARE, blur_px=0.0)
    model = noise.model()
    changes = []
    for reference in references:
        smooth = np.ascontiguousarray(gaussian_filter(reference.clean[reference.window], 1.0))
        keep = np.zeros_like(smooth, dtype=np.bool_)
        after = denoiser.denoise(smooth[None], keep[None], noise=model, strength=1.0)[0]
        change = (after - smooth) / model.sigma_at(smooth)
        changes.append(float(np.sqrt(np.mean(change[reference.counted] ** 2))))
    return {
        "id": "clean_input_change_sigma",
        "value": round(float(np.mean(changes)), 3),
        "unit": "sigma",
        "spread": [round(min(changes), 3), round(max(changes), 3)],
        "note": "Root mean square change of the held-out references at strength 1, the engine told that "
        f"noise of the lowest trained level ({LOWEST_TRAINED_LEVEL} of the range) is there. References "
        "keep noise of their own, so they were blurred by 1 px first to be free of it.",
    }


@torch.inference_mode()
def main() -> None:
    bundle, precision = Path(sys.argv[1]), sys.argv[2]
    torch.set_num_threads(THREADS)
    network = load_bundle(bundle).network().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    image = torch.randn(1, 1, SIDE_PX, SIDE_PX, generator=torch.Generator().manual_seed(1))
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds = []
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bfloat16"):
        for _ in range(REPEATS + 1):
            start = perf_counter()
            network(image)
            seconds.append(perf_counter() - start)
    added_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb
    parameters = sum(weight.numel() for weight in network.parameters())
    print(json.dumps({"seconds": seconds[1:], "added_mb": added_kb / 1024, "parameters": parameters}))


if __name__ == "__main__":
    main()
