"""One pair of images to learn from: noisy and clean, in the domain that the network works in."""

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dae_pacs.learn.supervised import expected_stabilised
from dae_pacs.noise.model import NoiseModel, affine
from dae_pacs.noise.simulate import coloured, correlated, kernel_spectrum, poisson_gaussian

MIDDLE = 0.5
"""The signal at which `Noise.level` is meant, on a scale of 0 (black) to 1 (white)."""
BRIGHTEST = 2.0
"""Above this the stabiliser's variance stays what it is; metal in CT lies there."""
JPEG_HEADROOM = 0.25
"""Beyond 0 and 1, of the range that JPEG's 256 grey levels are spread over: noise lies there."""


@dataclass(frozen=True)
class Noise:
    """Poisson-Gaussian noise on a scale of 0..1: variance gain·x + sigma²."""

    level: float
    """Standard deviation at `MIDDLE`."""
    signal_share: float
    """Of the variance at `MIDDLE` that follows the signal, 0..1; the rest is the same everywhere."""
    blur_px: float
    """Standard deviation of the Gaussian that correlates it; 0 leaves it uncorrelated."""
    kernel_peak: float = 0.0
    """Of a CT kernel, cycles per pixel (`noise.simulate.kernel_spectrum`); 0 for a detector's noise."""
    jpeg_quality: int = 0
    """Of a JPEG compression after the noise, 1..100; 0 for none."""

    @property
    def gain(self) -> float:
        """Variance per unit of signal."""
        return self.signal_share * self.level**2 / MIDDLE

    @property
    def sigma(self) -> float:
        """Standard deviation of the part that does not follow the signal; never quite 0."""
        return float(np.sqrt(max(1.0 - self.signal_share, 0.02)) * self.level)

    def model(self, factor: float = 1.0) -> NoiseModel:
        """Describe it to the stabiliser, the standard deviation multiplied by `factor`."""
        return affine(
            gain=self.gain * factor**2,
            offset=self.sigma**2 * factor**2,
            low=0.0,
            high=BRIGHTEST,
            unit="reference",
        )

    def added_to(self, clean: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
        """Draw it on top of (rows, columns) float32."""
        if self.kernel_peak > 0:
            spectrum = kernel_spectrum(self.kernel_peak)
            noisy = coloured(clean, gain=self.gain, sigma=self.sigma, spectrum=spectrum, rng=rng)
        elif self.blur_px > 0:
            noisy = correlated(clean, gain=self.gain, sigma=self.sigma, blur_px=self.blur_px, rng=rng)
        else:
            noisy = poisson_gaussian(clean, gain=self.gain, sigma=self.sigma, rng=rng)
        return jpeg_round_trip(noisy, quality=self.jpeg_quality) if self.jpeg_quality else noisy


def jpeg_round_trip(plane: NDArray[np.float32], *, quality: int) -> NDArray[np.float32]:
    """Send an image on a scale of 0..1 through 8 bits and JPEG; what lies beyond the headroom is clipped.

    Args:
        plane: (rows, columns) float32.
        quality: of the JPEG (Pillow's and libjpeg's), 1..100.
    """
    scale = 255 / (1 + 2 * JPEG_HEADROOM)
    grey = np.clip(np.rint((plane + JPEG_HEADROOM) * scale), 0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(grey).save(file, format="JPEG", quality=quality)
    with Image.open(file) as image:
        return np.asarray(image, dtype=np.float32) / np.float32(scale) - np.float32(JPEG_HEADROOM)


def as_pair(
    reference: NDArray[np.float32],
    *,
    noise: Noise,
    told_factor: float,
    is_clean: bool,
    rng: np.random.Generator,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Make the noisy and the clean image, both stabilised.

    Args:
        reference: (rows, columns) float32 on a scale of 0..1.
        noise: what is added.
        told_factor: what the stabiliser takes for the noise's standard deviation, over the truth.
        is_clean: True leaves the noise out: input and target are the same.
        rng: numpy generator.

    Returns:
        Two (rows, columns) float32, in units of the noise that the stabiliser was told.
    """
    model = noise.model(told_factor)
    clean = model.stabilise(reference)
    if is_clean:
        return clean, clean
    noisy = model.stabilise(noise.added_to(reference, rng))
    target = expected_stabilised(reference, model)
    return noisy, target
