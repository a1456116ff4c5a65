"""Put known noise on references and stabilise them as the node does: pairs for a network to learn from."""

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.transforms import MapTransform, RandomizableTransform
from numpy.typing import NDArray

from dae_pacs.learn.edges import strong_edges
from dae_pacs.learn.pairs import Noise, as_pair

REFERENCE_HEADROOM = 2.0
"""A reference's own noise must be well below what is put on top: the network learns to keep it."""


class SimulateNoised(RandomizableTransform, MapTransform):
    """Turn a reference into a pair: `<key>` noisy and `label` clean, both stabilised.

    The stabiliser is told a wrong level on purpose, since estimates are: by a factor from 1/`blind_factor` to
    `blind_factor`, so that the network meets noise of 0.5 to 2 for the default. A share of the patches has no
    noise at all, and must come back unchanged.

    An item with `level` and `seed` is not random: the same noise each time, stabilised with the truth.

    Args:
        keys: of references on a scale of 0..1, (1, rows, columns) float32.
        levels: range of the noise's standard deviation half way between black and white; drawn evenly in log.
        blur_px: range of the Gaussian that correlates it; half the patches stay uncorrelated.
        signal_share: range of the share of the noise's variance that follows the signal.
        kernel_share: of the patches that get a CT kernel's noise instead.
        kernel_peaks: range of those kernels' peaks, cycles per pixel; drawn evenly in log.
        jpeg_share: of the patches that are compressed after the noise, at a quality from `jpeg_qualities`.
        jpeg_qualities: range, 1..100.
        blind_factor: how wrong the stabiliser may be.
        clean_share: of the patches.
        edge_share: of the patches that get made-up strong edges on top (`learn.edges`).
        edge_sigmas: range of those edges' heights, in units of the noise.
    """

    def __init__(  # noqa: PLR0913  # a MONAI transform's settings are its parameters
        self,
        keys: Any,
        *,
        levels: Sequence[float] = (0.004, 0.12),
        blur_px: Sequence[float] = (0.0, 1.0),
        signal_share: Sequence[float] = (0.0, 1.0),
        kernel_share: float = 0.0,
        kernel_peaks: Sequence[float] = (0.08, 0.35),
        jpeg_share: float = 0.0,
        jpeg_qualities: Sequence[int] = (75, 98),
        blind_factor: float = 2.0,
        clean_share: float = 0.05,
        edge_share: float = 0.0,
        edge_sigmas: Sequence[float] = (10.0, 1000.0),
    ) -> None:
        MapTransform.__init__(self, keys)
        RandomizableTransform.__init__(self, prob=1.0)
        self.levels = (float(levels[0]), float(levels[1]))
        self.blur_px = (float(blur_px[0]), float(blur_px[1]))
        self.signal_share = (float(signal_share[0]), float(signal_share[1]))
        self.kernel_share = float(kernel_share)
        self.kernel_peaks = (float(kernel_peaks[0]), float(kernel_peaks[1]))
        self.jpeg_share = float(jpeg_share)
        self.jpeg_qualities = (int(jpeg_qualities[0]), int(jpeg_qualities[1]))
        self.blind_factor = float(blind_factor)
        self.clean_share = float(clean_share)
        self.edge_share = float(edge_share)
        self.edge_sigmas = (float(edge_sigmas[0]), float(edge_sigmas[1]))

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Replace each reference by its noisy image and add `label`."""
        made = dict(data)
        for key in self.key_iterator(made):
            reference = np.asarray(made[key], dtype=np.float32)[0]
            if "level" in made:
                rng = np.random.default_rng(int(made["seed"]))
                noise, told_factor, is_clean = self._fixed_noise(made), 1.0, False
            else:
                rng = np.random.default_rng(self.R.randint(1 << 31))
                reference = _random_tone(reference, rng)
                noise = self._random_noise(rng, reference_sigma=float(made.get(f"{key}_sigma", 0.0)))
                told_factor = math.exp(rng.uniform(-1, 1) * math.log(self.blind_factor))
                is_clean = rng.uniform() < self.clean_share
            noisy, clean = as_pair(
                reference, noise=noise, told_factor=told_factor, is_clean=is_clean, rng=rng
            )
            if "level" not in made and rng.uniform() < self.edge_share:
                edges = strong_edges(clean.shape, rng, heights=self.edge_sigmas)
                noisy, clean = noisy + edges, clean + edges
            made[key] = torch.from_numpy(noisy)[None]
            made["label"] = torch.from_numpy(clean)[None]
        return made

    def _random_noise(self, rng: np.random.Generator, *, reference_sigma: float) -> Noise:
        low = min(max(self.levels[0], REFERENCE_HEADROOM * reference_sigma), self.levels[1])
        has_kernel, is_compressed = rng.uniform(size=2) < (self.kernel_share, self.jpeg_share)
        return Noise(
            level=_evenly_in_log(low, self.levels[1], rng),
            signal_share=rng.uniform(*self.signal_share),
            blur_px=rng.uniform(*self.blur_px) if rng.uniform() < 0.5 else 0.0,
            kernel_peak=_evenly_in_log(*self.kernel_peaks, rng) if has_kernel else 0.0,
            jpeg_quality=int(rng.integers(*self.jpeg_qualities, endpoint=True)) if is_compressed else 0,
        )

    def _fixed_noise(self, item: Mapping[Hashable, Any]) -> Noise:
        return Noise(
            level=float(item["level"]),
            signal_share=min(0.8, self.signal_share[1]),
            blur_px=float(item.get("blur_px", 0.0)),
        )


def _evenly_in_log(low: float, high: float, rng: np.random.Generator) -> float:
    return math.exp(rng.uniform(math.log(low), math.log(high)))


def _random_tone(reference: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Invert half of the references and bend their tone: detectors and vendors differ in both."""
    toned = 1.0 - reference if rng.uniform() < 0.5 else reference
    gamma = math.exp(rng.uniform(-0.5, 0.5))
    bent = np.sign(toned) * np.abs(toned) ** gamma
    return np.asarray(bent * rng.uniform(0.5, 1.0), dtype=np.float32)
