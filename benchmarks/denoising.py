"""Measure the shipped model on images that it was not trained on, beside what one would use without it.

    python benchmarks/denoising.py [--bundle models/xray_radiograph_denoising] [--data ../shared/data/dicom]

References are the held-out images of training/data, halved; noise is put on them at three levels, (a) from
pixel to pixel, (b) correlated with a sigma of 0.8 px. Every method sees the same pixels. The shipped model
estimates the noise from the noisy image alone; the classical methods are given the true noise model.
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
import yaml
from numpy.typing import NDArray
from PIL import Image
from results import record
from scipy.ndimage import gaussian_filter, uniform_filter
from skimage.metrics import structural_similarity
from skimage.restoration import denoise_nl_means, denoise_wavelet

from dae_pacs.denoise.engine import open_denoiser
from dae_pacs.denoise.protocol import Denoiser
from dae_pacs.learn.pairs import Noise
from dae_pacs.learn.reader import read_frames
from dae_pacs.learn.reference import RANGE_PERCENTILES, shrink_blocks

ROOT = Path(__file__).resolve().parents[1]
HELD_OUT = ROOT / "training" / "data" / "xray_radiograph_denoising.yaml"
BUNDLE = ROOT / "models" / "xray_radiograph_denoising"
LEVELS = (0.02, 0.05, 0.10)
BLUR_PX = {"uncorrelated": 0.0, "correlated": 0.8}
SIGNAL_SHARE = 0.8
CROP_PX = 512
LOWEST_TRAINED_LEVEL = 0.004
BLUR_SIGMAS_PX = (0.4, 0.6, 0.8, 1.0, 1.3, 1.6, 2.0, 2.5, 3.2)
NLM_STRENGTHS = (0.6, 0.8, 1.1)
TEXTURE_WINDOW_PX = 15
TEXTURED_SHARE = 0.25

Plane = NDArray[np.float32]


@dataclass(frozen=True)
class Reference:
    """A clean image on a scale of 0..1, and where it counts."""

    name: str
    clean: Plane
    counted: NDArray[np.bool_]
    textured: NDArray[np.bool_]


@dataclass(frozen=True)
class Case:
    """One reference with one noise."""

    reference: Reference
    noise: Noise
    noisy: Plane

    @property
    def name(self) -> str:
        """Of its file, and in what is printed."""
        return f"{self.reference.name}-{self.noise.level:g}"


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--bundle", type=Path, default=BUNDLE)
    options.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data" / "dicom")
    options.add_argument("--dry", action="store_true", help="print, and leave results.json alone")
    options.add_argument("--without-autoencoder", action="store_true")
    given = options.parse_args()
    torch.set_num_threads(1)
    references = read_references(given.data)
    denoiser = open_denoiser(given.bundle, device="cpu")
    rows = []
    for condition, blur_px in BLUR_PX.items():
        cases = [make_case(reference, level, blur_px) for reference in references for level in LEVELS]
        methods = methods_for(cases, denoiser, with_autoencoder=not given.without_autoencoder)
        for name, method in methods.items():
            scores = [score(case, method(case)) for case in cases]
            print_scores(condition, name, cases, scores)
            rows += rows_of(condition, name, scores)
    rows.append(clean_input_row(references, denoiser))
    print(rows[-1])
    if not given.dry:
        record(rows)


def read_references(data: Path) -> list[Reference]:
    """Halve the held-out images, scale them, and cut out their middle."""
    names = yaml.safe_load(HELD_OUT.read_text())["validation_images"]
    return [make_reference(data / name) for name in names]


def make_reference(path: Path) -> Reference:
    frames = read_frames(path)
    clean = shrink_blocks(frames.values[0], 2)
    counted = shrink_blocks(frames.keep[0].astype(np.float32), 2) == 0
    low, high = np.percentile(clean[counted], RANGE_PERCENTILES)
    clean = ((clean - low) / (high - low)).astype(np.float32)
    top, left = (max(0, (side - CROP_PX) // 2) for side in clean.shape)
    window = (slice(top, top + CROP_PX), slice(left, left + CROP_PX))
    clean, counted = clean[window], counted[window]
    detail = clean - gaussian_filter(clean, 3)
    busy = uniform_filter(detail**2, TEXTURE_WINDOW_PX)
    textured = counted & (busy > np.quantile(busy[counted], 1 - TEXTURED_SHARE))
    return Reference(path.stem, np.ascontiguousarray(clean), counted, textured)


def make_case(reference: Reference, level: float, blur_px: float) -> Case:
    noise = Noise(level=level, signal_share=SIGNAL_SHARE, blur_px=blur_px)
    rng = np.random.default_rng([round(level * 1000), round(blur_px * 10), len(reference.name)])
    return Case(reference, noise, noise.added_to(reference.clean, rng))


def methods_for(
    cases: list[Case], denoiser: Denoiser, *, with_autoencoder: bool
) -> dict[str, Callable[[Case], Plane]]:
    methods: dict[str, Callable[[Case], Plane]] = {
        "input": lambda case: case.noisy,
        "best_blur": best_blur,
        "nlm_vst": nlm,
        "wavelet_vst": wavelet,
        "ours": partial(ours, denoiser=denoiser, strength=1.0),
        "ours_true_noise": partial(ours, denoiser=denoiser, strength=1.0, blind=False),
        "ours_default_strength": partial(
            ours, denoiser=denoiser, strength=denoiser.identity.default_strength
        ),
    }
    if with_autoencoder:
        passed = autoencoder(cases)
        methods["autoencoder"] = lambda case: passed[case.name]
    return methods


def best_blur(case: Case) -> Plane:
    """Blur with the sigma that the reference says is best."""
    return best(case, [gaussian_filter(case.noisy, sigma) for sigma in BLUR_SIGMAS_PX])


def nlm(case: Case) -> Plane:
    """Non-local means on the stabilised image, with the strength that the reference says is best."""
    model = case.noise.model()
    z = model.stabilise(case.noisy)
    smoothed = [
        denoise_nl_means(z, patch_size=5, patch_distance=6, h=h, sigma=1.0, fast_mode=True)
        for h in NLM_STRENGTHS
    ]
    return best(case, [model.invert(plane.astype(np.float32)) for plane in smoothed])


def wavelet(case: Case) -> Plane:
    """BayesShrink on the stabilised image, told the true sigma."""
    model = case.noise.model()
    z = model.stabilise(case.noisy)
    shrunk = denoise_wavelet(
        z, sigma=1.0, wavelet="db4", method="BayesShrink", mode="soft", rescale_sigma=False
    )
    return model.invert(shrunk.astype(np.float32))


def best(case: Case, candidates: list[Plane]) -> Plane:
    return min(candidates, key=lambda plane: squared_error(case, plane, case.reference.counted))


def ours(case: Case, *, denoiser: Denoiser, strength: float, blind: bool = True) -> Plane:
    keep = np.zeros_like(case.noisy, dtype=np.bool_)
    noise = denoiser.calibrate([case.noisy], [keep]) if blind else case.noise.model()
    return denoiser.denoise(case.noisy[None], keep[None], noise=noise, strength=strength)[0]


def autoencoder(cases: list[Case]) -> dict[str, Plane]:
    """Train the seed's recipe on the noisy images themselves, by its command line, for its own 100 epochs."""
    with tempfile.TemporaryDirectory() as folder:
        noisy, output = Path(folder, "noisy"), Path(folder, "run")
        noisy.mkdir()
        for case in cases:
            Image.fromarray(to_16_bit(case.noisy)).save(noisy / f"{case.name}.png")
        recipe = ROOT / "training" / "recipes" / "autoencoder.yaml"
        command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", recipe]
        options = ["--data_dir", noisy, "--output_dir", output]
        subprocess.run([*map(str, command + options)], cwd=ROOT, check=True, capture_output=True)
        return {
            case.name: from_16_bit(np.asarray(Image.open(output / "denoised" / f"{case.name}.png")))
            for case in cases
        }


def to_16_bit(plane: Plane) -> NDArray[np.uint16]:
    """Leave room on both sides of 0..1 for noise."""
    return np.clip(np.rint((plane + 1) / 4 * 65535), 0, 65535).astype(np.uint16)


def from_16_bit(stored: NDArray[np.uint16]) -> Plane:
    return (stored.astype(np.float32) / 65535 * 4 - 1).astype(np.float32)


def squared_error(case: Case, plane: Plane, where: NDArray[np.bool_]) -> float:
    return float(np.mean((plane - case.reference.clean)[where].astype(np.float64) ** 2))


def score(case: Case, plane: Plane) -> dict[str, float]:
    """Compare with the reference where it counts; the peak is its range, 1."""
    _, similarity = structural_similarity(case.reference.clean, plane, data_range=1.0, full=True)
    return {
        "psnr": -10 * np.log10(squared_error(case, plane, case.reference.counted)),
        "psnr_textured": -10 * np.log10(squared_error(case, plane, case.reference.textured)),
        "ssim": float(similarity[case.reference.counted].mean()),
    }


def print_scores(condition: str, name: str, cases: list[Case], scores: list[dict[str, float]]) -> None:
    means = "  ".join(f"{key} {np.mean([one[key] for one in scores]):.3f}" for key in scores[0])
    print(f"{condition:14s}{name:22s}{means}")
    each = (
        f"{case.name[:12]}@{case.noise.level:g} {one['psnr']:.2f}"
        for case, one in zip(cases, scores, strict=True)
    )
    print("    " + ", ".join(each), flush=True)


def rows_of(condition: str, name: str, scores: list[dict[str, float]]) -> list[dict[str, object]]:
    units = {"psnr": "dB", "psnr_textured": "dB", "ssim": ""}
    suffix = {"psnr": "_db", "psnr_textured": "_db", "ssim": ""}
    rows: list[dict[str, object]] = []
    for key, unit in units.items():
        values = np.array([one[key] for one in scores])
        error = values.std(ddof=1) / np.sqrt(len(values))
        rows.append(
            {
                "id": f"first_model_{key}_{name}_{condition}{suffix[key]}",
                "value": round(float(values.mean()), 3),
                "unit": unit,
                "spread": [round(float(values.min()), 3), round(float(values.max()), 3)],
                "note": f"Mean of {len(values)} (images × levels {LEVELS}), standard error {error:.3f}; "
                f"spread over images and levels. {NOTES[name]}",
            }
        )
    return rows


NOTES = {
    "input": "The identity.",
    "best_blur": "Sigma chosen per image with the reference in hand.",
    "nlm_vst": "True noise model given, strength chosen per image with the reference in hand.",
    "wavelet_vst": "True noise model given.",
    "ours": "Noise estimated blindly, strength 1.",
    "ours_true_noise": "True noise model given, strength 1: what the estimate of the noise costs.",
    "ours_default_strength": "Noise estimated blindly, the bundle's default strength.",
    "autoencoder": "The seed's recipe, trained on the noisy images themselves for its 100 epochs.",
}


def clean_input_row(references: list[Reference], denoiser: Denoiser) -> dict[str, object]:
    """Give the model references without noise, telling it that the lowest trained level is there."""
    noise = Noise(level=LOWEST_TRAINED_LEVEL, signal_share=SIGNAL_SHARE, blur_px=0.0)
    model = noise.model()
    changes = []
    for reference in references:
        smooth = gaussian_filter(reference.clean, 1.0)
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


if __name__ == "__main__":
    main()
