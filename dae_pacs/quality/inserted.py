"""Objects of known contrast, put into the noisy image at flat places: how much of them is there afterwards?

Both the image with and the one without the object are denoised, under the same noise; their difference is
what became of the object.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from dae_pacs.noise.model import NoiseModel
from dae_pacs.noise.spectrum import Spectrum, amplitude
from dae_pacs.quality.evidence import PLACE_PX
from dae_pacs.quality.verdict import Check, Row, Verdict, number

Denoise = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""The denoiser under one noise model at one strength: (frames, rows, columns) float32 to the same."""

CONTRASTS_SIGMA = (1.0, 2.0, 4.0)
DIAMETERS_PX = (4, 8, 16)
LESION_PLACES = 12
"""Enough to tell a mean recovery to a few per cent, since the noise drops out of the difference."""
LEAST_PLACES = 3
ROSE = 5.0
"""Signal to noise from which an object is seen for certain (Rose, J. Opt. Soc. Am. 1948)."""
RECOVERED_GOOD, RECOVERED_BAD = 0.8, 0.6
SUBPIXELS = 8


def disc(diameter_px: float, side: int = PLACE_PX) -> NDArray[np.float32]:
    """Draw a disc of height 1 in the middle of (side, side), its border pixels by the area covered."""
    fine = (np.arange(side * SUBPIXELS) + 0.5) / SUBPIXELS - side / 2
    inside = np.hypot(fine[:, None], fine[None, :]) <= diameter_px / 2
    blocks = inside.reshape(side, SUBPIXELS, side, SUBPIXELS)
    return np.asarray(blocks.mean(axis=(1, 3)), dtype=np.float32)


def signal_to_noise(profile: NDArray[np.float32], spectrum: Spectrum) -> float:
    """Give what a matched filter sees of a profile of contrast 1 sigma in noise with a spectrum.

    The non-prewhitening observer: SNR² = (Σ s²)² / (sᵀ K s), K the noise's covariance.
    """
    rows, columns = profile.shape
    noise_power = np.asarray(amplitude((rows, columns), spectrum), dtype=np.float64) ** 2
    through = np.fft.irfft2(np.fft.rfft2(profile.astype(np.float64)) * noise_power, s=profile.shape)
    energy = float(np.square(profile, dtype=np.float64).sum())
    return energy / float(np.sqrt((profile * through).sum()))


def insert(
    places: NDArray[np.float32], profile: NDArray[np.float32], contrast_sigma: float, noise: NoiseModel
) -> NDArray[np.float32]:
    """Add an object to each place, its contrast in units of the noise at the place's mean.

    Args:
        places: (places, side, side) float32, in the modality's unit.
        profile: (side, side), height 1.
        contrast_sigma: of the object.
        noise: of the group. That the object changes the noise a little is left out: its contrast is low.
    """
    return (places + contrast_sigma * sigma_of(places, noise) * profile).astype(np.float32)


def sigma_of(places: NDArray[np.float32], noise: NoiseModel) -> NDArray[np.float32]:
    """Give the noise at the mean of each place, (places, 1, 1)."""
    return noise.sigma_at(places.mean(axis=(1, 2), keepdims=True)).astype(np.float32)


def check_lesions(
    places: NDArray[np.float32], denoise: Denoise, *, noise: NoiseModel, strength: float
) -> Check:
    """Insert discs of several sizes and contrasts, and measure how much of their contrast comes through.

    Args:
        places: (places, PLACE_PX, PLACE_PX), the flattest first.
        denoise: the denoiser at the strength used.
        noise: of the group.
        strength: used, for what the network would do alone.
    """
    if len(places) < LEAST_PLACES:
        return _untold(len(places))
    some = places[np.linspace(0, len(places) - 1, min(LESION_PLACES, len(places)), dtype=int)]
    without = denoise(some)
    rows: list[Row] = []
    for diameter in DIAMETERS_PX:
        profile = disc(diameter)
        for contrast in CONTRASTS_SIGMA:
            change = denoise(insert(some, profile, contrast, noise)) - without
            kept = np.tensordot(change / (contrast * sigma_of(some, noise)), profile, axes=2)
            recovered = kept.astype(np.float64) / float(np.square(profile).sum())
            rows.append(
                {
                    "diameter in px": diameter,
                    "contrast in sigma": contrast,
                    "signal to noise": contrast * signal_to_noise(profile, noise.spectrum),
                    "recovered": float(recovered.mean()),
                    "standard error": float(recovered.std(ddof=1) / np.sqrt(len(recovered))),
                    "recovered at full strength": 1 - (1 - float(recovered.mean())) / strength,
                }
            )
    return _verdict(rows, len(some), strength)


def _verdict(rows: list[Row], places: int, strength: float) -> Check:
    visible = [row for row in rows if number(row, "signal to noise") >= ROSE]
    least = min(visible or rows, key=lambda row: number(row, "recovered"))
    recovered = number(least, "recovered")
    if not visible:
        verdict = Verdict.UNKNOWN
    elif recovered < RECOVERED_BAD:
        verdict = Verdict.BAD
    else:
        verdict = Verdict.GOOD if recovered >= RECOVERED_GOOD else Verdict.LOOK
    return Check(
        key="lesions",
        question="Do faint objects survive?",
        verdict=verdict,
        finding=f"Of {len(visible)} kinds of disc that can be seen in the noise, the worst ("
        f"{least['diameter in px']} px, {least['contrast in sigma']:g} sigma) keeps {recovered:.0%} of its "
        f"contrast; whatever is removed altogether keeps {1 - strength:.0%} at this strength.",
        rule=f"Good from {RECOVERED_GOOD:.0%}, bad below {RECOVERED_BAD:.0%}, over discs whose signal to "
        f"noise is at least {ROSE:g}, from which an object is seen for certain (Rose 1948). Fainter ones are "
        "listed and not judged: no denoiser can tell them from noise.",
        limits=f"Discs with sharp borders at {places} of the flattest places; real lesions have other shapes "
        "and lie in anatomy. What survives with less contrast may still be easier to see, since there is "
        "less noise: see the detectability below.",
        numbers={"recovered_least": recovered, "places": places},
        rows=rows,
    )


def _untold(found: int) -> Check:
    return Check(
        key="lesions",
        question="Do faint objects survive?",
        verdict=Verdict.UNKNOWN,
        finding=f"Only {found} places of {PLACE_PX}×{PLACE_PX} pixels without padding or clipping; "
        f"{LEAST_PLACES} are needed.",
        rule="",
        limits="",
    )
