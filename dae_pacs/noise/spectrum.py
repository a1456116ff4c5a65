"""The shape of a noise: its power over spatial frequency, free of its strength.

A spectrum is kept as one quadrant, (side, side) with a mean of 1, at the frequencies k/(2·side) cycles per
pixel of the cosine transform that measures it. White noise is all ones.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

SIDE_PX = 16
"""Side of the patches that spectra are measured on: flat areas of this size exist in most images."""

Spectrum = tuple[tuple[float, ...], ...]

WHITE: Spectrum = ((1.0,),)


@lru_cache(maxsize=8)
def cosine_basis(side: int) -> NDArray[np.float32]:
    """Make the orthonormal DCT-II matrix, (side, side) float32; rows are frequencies."""
    frequency, position = np.arange(side)[:, None], np.arange(side)[None, :]
    basis = np.cos(np.pi * (position + 0.5) * frequency / side) * np.sqrt(2 / side)
    basis[0] = np.sqrt(1 / side)
    return np.asarray(basis, dtype=np.float32)


def cosine_transform(patches: NDArray[np.float32]) -> NDArray[np.float32]:
    """Transform (patches, side, side) float32; coefficients of stationary noise are nearly independent."""
    basis = cosine_basis(patches.shape[-1])
    return np.asarray(basis @ patches @ basis.T, dtype=np.float32)


def as_spectrum(power: NDArray[np.floating]) -> Spectrum:
    """Scale a (side, side) power to a mean of 1 and freeze it, rounded to what a measurement can know."""
    scaled = np.maximum(power / power.mean(), 1e-4)
    return tuple(tuple(round(float(value), 5) for value in row) for row in scaled)


def gaussian_spectrum(blur_px: float, side: int = SIDE_PX) -> Spectrum:
    """Give the spectrum of white noise after a Gaussian blur of that standard deviation.

    Args:
        blur_px: in pixels; 0 is white.
        side: of the quadrant.
    """
    if blur_px <= 0:
        return WHITE
    squared = (np.arange(side) / (2 * side)) ** 2
    return as_spectrum(np.exp(-4 * np.pi**2 * blur_px**2 * (squared[:, None] + squared[None, :])))


@lru_cache(maxsize=64)
def gaussian_power(blur_px: float, side: int = SIDE_PX) -> NDArray[np.float64]:
    """Give the power that white noise of variance 1 has after a Gaussian blur, scaled back to variance 1.

    Args:
        blur_px: standard deviation in pixels, up to 4.
        side: of the quadrant.

    Returns:
        (side, side) at the frequencies k/(2·side); other than a `Spectrum`, its mean is not 1, since the
        frequency 0 stands for half a step only.
    """
    distance = np.arange(-32, 33)
    waves = np.cos(np.pi * np.arange(side)[:, None] * distance / side)
    line = waves @ _correlation(distance, blur_px)
    return np.asarray(np.outer(line, line), dtype=np.float64)


@lru_cache(maxsize=64)
def gaussian_cosine_power(blur_px: float, side: int = SIDE_PX) -> NDArray[np.float64]:
    """Give the variances of the cosine coefficients of that noise: its power, smeared by the short patch."""
    basis = cosine_basis(side).astype(np.float64)
    position = np.arange(side)
    covariance = _correlation(position[:, None] - position[None, :], blur_px)
    line = np.einsum("ki,ij,kj->k", basis, covariance, basis)
    return np.asarray(np.outer(line, line), dtype=np.float64)


def _correlation(distance: NDArray[np.int_], blur_px: float) -> NDArray[np.float64]:
    """Correlate white noise with itself, some pixels away, after the blur."""
    if blur_px <= 0:
        return np.where(distance == 0, 1.0, 0.0)
    return np.asarray(np.exp(-(distance**2) / (4 * blur_px**2)), dtype=np.float64)


def radial(spectrum: Spectrum) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Average over directions, up to the highest frequency that every direction has.

    Returns:
        Frequencies in cycles per pixel, increasing, and the power there.
    """
    side = SIDE_PX if len(spectrum) == 1 else len(spectrum)
    power = np.broadcast_to(np.asarray(spectrum, dtype=np.float64), (side, side))
    row, column = np.indices((side, side))
    ring = np.rint(np.hypot(row, column)).astype(np.intp)
    is_shared = ring < side
    # A quadrant holds its first row and column once, the whole plane holds them half as often as the rest.
    weight = np.where(row == 0, 0.5, 1.0) * np.where(column == 0, 0.5, 1.0)
    total = np.bincount(ring[is_shared], weights=(weight * power)[is_shared])
    return np.arange(side) / (2 * side), total / np.bincount(ring[is_shared], weights=weight[is_shared])


def amplitude(shape: tuple[int, int], spectrum: Spectrum) -> NDArray[np.float32]:
    """Give the factor that turns the `rfft2` of white noise into that of noise with this spectrum.

    Args:
        shape: (rows, columns) of the image.
        spectrum: a quadrant; interpolated linearly in power between its frequencies.

    Returns:
        (rows, columns // 2 + 1) float32, its square averaging 1 over the whole plane.
    """
    power = np.asarray(spectrum, dtype=np.float64)
    rows, columns = shape
    by_row = _interpolate(power, np.abs(np.fft.fftfreq(rows)))
    plane = _interpolate(by_row.T, np.fft.rfftfreq(columns)).T
    full = _interpolate(by_row.T, np.abs(np.fft.fftfreq(columns)))
    return np.asarray(np.sqrt(plane / full.mean()), dtype=np.float32)


def unit_noise(shape: tuple[int, int], spectrum: Spectrum, rng: np.random.Generator) -> NDArray[np.float32]:
    """Draw Gaussian noise of standard deviation 1 with a spectrum.

    Returns:
        (rows, columns) float32; it wraps around at the borders.
    """
    white = rng.standard_normal(shape, dtype=np.float32)
    if len(spectrum) == 1:
        return white
    shaped = np.fft.irfft2(np.fft.rfft2(white) * amplitude(shape, spectrum), s=shape)
    return shaped.astype(np.float32)


def _interpolate(power: NDArray[np.float64], frequency: NDArray[np.floating]) -> NDArray[np.float64]:
    """Read rows of power at frequencies (cycles per pixel), the last row standing for all above it."""
    side = len(power)
    position = np.clip(frequency * 2 * side, 0, side - 1)
    below = np.minimum(position.astype(int), max(side - 2, 0))
    above = np.minimum(below + 1, side - 1)
    part = (position - below)[:, None]
    read: NDArray[np.float64] = power[below] * (1 - part) + power[above] * part
    return read
