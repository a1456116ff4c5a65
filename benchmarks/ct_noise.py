"""Measure the shipped models on CT slices under a CT kernel's noise, which no other benchmark here puts on.

    python benchmarks/ct_noise.py [--data ../shared/data/dicom] [--dry]

References are the slices that training/data/ct_volume_denoising.yaml holds out, halved and scaled to 0..1.
The noise has the spectrum of a soft and of a sharp kernel and hardly follows the value. Models estimate it
from the noisy slice alone, and once more are told; the blur and non-local means get the best setting that the
reference knows of, non-local means the true noise as well.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import yaml
from denoising_methods import blurred, nlm_at_each_strength
from numpy.typing import NDArray
from results import record

from dae_pacs.denoise.engine import open_denoiser
from dae_pacs.denoise.protocol import Denoiser
from dae_pacs.learn.pairs import Noise
from dae_pacs.learn.reader import read_frames
from dae_pacs.learn.reference import RANGE_PERCENTILES, shrink_blocks

ROOT = Path(__file__).resolve().parents[1]
HELD_OUT = ROOT / "training" / "data" / "ct_volume_denoising.yaml"
MODELS = ("ct_volume_denoising", "xray_radiograph_denoising")
LEVELS = (0.005, 0.015, 0.045)
KERNEL_PEAKS = (0.12, 0.25)
"""Cycles per pixel: a soft and a sharp kernel."""
SIGNAL_SHARE = 0.1

Plane = NDArray[np.float32]
Method = Callable[[Plane, Plane, Noise], Plane]
"""Noisy, clean, noise: denoised."""


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data" / "dicom")
    options.add_argument("--dry", action="store_true", help="print, and leave results.json alone")
    given = options.parse_args()
    torch.set_num_threads(1)
    names = yaml.safe_load(HELD_OUT.read_text())["validation_images"]
    references = [reference(given.data / name) for name in names]
    rows = [row(name, method, references) for name, method in methods().items()]
    for one in rows:
        print(one["id"], one["value"], one["spread"])
    if not given.dry:
        record(rows)


def reference(path: Path) -> Plane:
    """Halve a slice and scale it."""
    clean = shrink_blocks(read_frames(path).values[0], 2)
    low, high = np.percentile(clean, RANGE_PERCENTILES)
    return ((clean - low) / (high - low)).astype(np.float32)


def methods() -> dict[str, Method]:
    made: dict[str, Method] = {"input": lambda noisy, *_: noisy, "best_blur": best_blur, "nlm_vst": nlm}
    for name in MODELS:
        denoiser = open_denoiser(ROOT / "models" / name, device="cpu")
        made[name] = model(denoiser, is_told=False)
        made[f"{name}_true_noise"] = model(denoiser, is_told=True)
    return made


def best_blur(noisy: Plane, clean: Plane, _: Noise) -> Plane:
    return max(blurred(noisy), key=lambda made: psnr(made, clean))


def nlm(noisy: Plane, clean: Plane, noise: Noise) -> Plane:
    return max(nlm_at_each_strength(noisy, noise.model()), key=lambda made: psnr(made, clean))


def model(denoiser: Denoiser, *, is_told: bool) -> Method:
    """Denoise at strength 1, as the node would."""

    def denoise(noisy: Plane, _: Plane, noise: Noise) -> Plane:
        keep = np.zeros(noisy.shape, dtype=np.bool_)
        known = noise.model() if is_told else denoiser.calibrate([noisy], [keep])
        return denoiser.denoise(noisy[None], keep[None], noise=known, strength=1.0)[0]

    return denoise


def psnr(plane: Plane, clean: Plane) -> float:
    return float(-10 * np.log10(np.mean((plane - clean).astype(np.float64) ** 2)))


def row(name: str, method: Method, references: list[Plane]) -> dict[str, object]:
    """Score a method on every slice, kernel and level."""
    scores = []
    for place, clean in enumerate(references):
        for peak in KERNEL_PEAKS:
            for level in LEVELS:
                noise = Noise(level=level, signal_share=SIGNAL_SHARE, blur_px=0.0, kernel_peak=peak)
                rng = np.random.default_rng([place, round(100 * peak), round(1000 * level)])
                noisy = noise.added_to(clean, rng)
                scores.append(psnr(method(noisy, clean, noise), clean))
    error = np.std(scores, ddof=1) / np.sqrt(len(scores))
    return {
        "id": f"ct_kernel_psnr_{name}_db",
        "value": round(float(np.mean(scores)), 2),
        "unit": "dB",
        "spread": [round(min(scores), 2), round(max(scores), 2)],
        "note": f"Mean of {len(scores)} (slices × kernels {KERNEL_PEAKS} cycles/px × levels {LEVELS}), "
        f"standard error {error:.2f}; strength 1.",
    }


if __name__ == "__main__":
    main()
