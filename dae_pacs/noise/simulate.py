"""Noise to learn and to test on, where the truth is known. Numpy only; the caller brings the generator."""

import numpy as np
from numpy.typing import NDArray

from dae_pacs.noise.spectrum import SIDE_PX, Spectrum, as_spectrum, gaussian_spectrum, unit_noise

KERNEL_FLOOR = 0.03
"""Of a CT kernel's peak power, at every frequency: slices are averaged and resampled after the filter."""


def poisson_gaussian(
    clean: NDArray[np.float32], *, gain: float, sigma: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Add counting noise and a detector's electronic noise: variance gain·x + sigma².

    Args:
        clean: (rows, columns) float32, the expected signal; below 0 it counts as 0 quanta.
        gain: units of x per quantum; 0 for none of it.
        sigma: standard deviation of the signal-independent part, in units of x.
        rng: numpy generator.

    Returns:
        The same shape, float32, independent from pixel to pixel.
    """
    noisy = np.asarray(clean, dtype=np.float64)
    if gain > 0:
        noisy = noisy + gain * (rng.poisson(np.maximum(noisy, 0) / gain) - np.maximum(noisy, 0) / gain)
    if sigma > 0:
        noisy = noisy + sigma * rng.standard_normal(noisy.shape)
    return noisy.astype(np.float32)


def correlated(
    clean: NDArray[np.float32], *, gain: float, sigma: float, blur_px: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Add noise of variance gain·x + sigma² whose neighbours are alike, as behind a scintillator.

    The variance is that of the result, not that before the blur.

    Args:
        clean: (rows, columns) float32, the expected signal.
        gain: variance per unit of x.
        sigma: standard deviation of the signal-independent part.
        blur_px: standard deviation of the Gaussian that shaped the noise; 0 leaves it white.
        rng: numpy generator.

    Returns:
        The same shape, float32.
    """
    return coloured(clean, gain=gain, sigma=sigma, spectrum=gaussian_spectrum(blur_px), rng=rng)


def coloured(
    clean: NDArray[np.float32], *, gain: float, sigma: float, spectrum: Spectrum, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Add noise of variance gain·x + sigma² with a given spectrum.

    Args:
        clean: (rows, columns) float32, the expected signal.
        gain: variance per unit of x.
        sigma: standard deviation of the signal-independent part.
        spectrum: of the noise, free of its strength (see `noise.spectrum`).
        rng: numpy generator.

    Returns:
        The same shape, float32.
    """
    rows, columns = clean.shape
    noise = unit_noise((rows, columns), spectrum, rng)
    return (clean + noise * sigma_of(clean, gain=gain, sigma=sigma)).astype(np.float32)


def kernel_spectrum(peak: float, side: int = SIDE_PX) -> Spectrum:
    """Give the spectrum of CT noise: filtered back-projection's ramp under a kernel's Gaussian roll-off.

    Power is f·exp(−f² / (2·peak²)) over the radial frequency f; a ramp at low frequencies is what all kernels
    have in common (Riederer, Pelc & Chesler, Phys. Med. Biol. 1978).

    Args:
        peak: frequency of the most noise, cycles per pixel; soft kernels 0.1, sharp ones 0.3.
        side: of the quadrant.
    """
    along = np.arange(side) / (2 * side)
    radius = np.hypot(along[:, None], along[None, :])
    power = radius * np.exp(-((radius / peak) ** 2) / 2)
    return as_spectrum(power + KERNEL_FLOOR * power.max())


def sigma_of(clean: NDArray[np.float32], *, gain: float, sigma: float) -> NDArray[np.float32]:
    """Give the standard deviation of Poisson-Gaussian noise at each pixel of a clean image."""
    return np.sqrt(gain * np.maximum(clean, 0) + sigma**2).astype(np.float32)


def halve(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Average 2×2 pixels, which takes most of an image's own noise away: a reference to simulate on.

    Args:
        image: (rows, columns); an odd last row or column is dropped.
    """
    rows, columns = image.shape[0] // 2, image.shape[1] // 2
    blocks = image[: 2 * rows, : 2 * columns].reshape(rows, 2, columns, 2)
    return np.asarray(blocks.mean(axis=(1, 3), dtype=np.float64), dtype=np.float32)
