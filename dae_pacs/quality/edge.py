"""An inserted edge: how wide it is afterwards, and how much of each fineness passes.

The slanted-edge method (IEC 62220-1; ISO 12233): the edge crosses the pixels at a small angle, so that pixels
at many distances from it sample its profile finely. For a denoiser, which is not linear, the result holds for
this contrast and this noise only (the task transfer function of Richard et al., Med. Phys. 2012).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dae_pacs.noise.model import NoiseModel
from dae_pacs.quality.evidence import PLACE_PX
from dae_pacs.quality.inserted import LEAST_PLACES, LESION_PLACES, Denoise, insert, sigma_of
from dae_pacs.quality.verdict import Check, Row, Verdict, judge

CONTRASTS_SIGMA = (3.0, 10.0)
"""A faint edge, and one as of soft tissue against air; the stronger is judged."""
SLANT = np.deg2rad(5.0)
STEP_PX = 0.25
"""Of the profile: four samples a pixel."""
REACH_PX = 12
WIDER_LOOK, WIDER_BAD = 0.25, 0.75
"""Pixels."""


@dataclass(frozen=True)
class EdgeResponse:
    """What became of an edge of one contrast."""

    contrast_sigma: float
    distance_px: NDArray[np.float64]
    """(points,) from the edge."""
    inserted: NDArray[np.float64]
    """(points,) 0 to 1."""
    denoised: NDArray[np.float64]
    """(points,) in units of the step inserted."""
    frequency: NDArray[np.float64]
    """(points,) cycles per pixel, up to 0.5."""
    transfer: NDArray[np.float64]
    """(points,) the share of the edge's content that passes, 1 at frequency 0 where the step is kept."""
    width_before_px: float
    """From 10 to 90 per cent."""
    width_after_px: float


def slanted_edge(side: int = PLACE_PX) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Draw a step from 0 to 1 through the middle of (side, side), sampled by pixels of full area.

    Returns:
        The image, and the signed distance of each pixel's centre from the edge.
    """
    centre = np.arange(side) + 0.5 - side / 2
    distance = centre[None, :] * np.cos(SLANT) + centre[:, None] * np.sin(SLANT)
    fine = (np.arange(8) + 0.5) / 8 - 0.5
    covered = sum(
        (distance + across * np.cos(SLANT) + down * np.sin(SLANT)) > 0 for across in fine for down in fine
    )
    return np.asarray(covered / 64, dtype=np.float32), distance


def edge_responses(
    places: NDArray[np.float32], denoise: Denoise, noise: NoiseModel
) -> tuple[EdgeResponse, ...]:
    """Insert edges at flat places; () where there are too few.

    Args:
        places: (places, PLACE_PX, PLACE_PX), the flattest first.
        denoise: the denoiser at the strength used.
        noise: of the group.
    """
    if len(places) < LEAST_PLACES:
        return ()
    some = places[:LESION_PLACES]
    profile, distance = slanted_edge()
    without = denoise(some)
    responses = []
    for contrast in CONTRASTS_SIGMA:
        change = denoise(insert(some, profile, contrast, noise)) - without
        mean = (change / (contrast * sigma_of(some, noise))).mean(axis=0, dtype=np.float64)
        responses.append(_response(contrast, profile.astype(np.float64), mean, distance))
    return tuple(responses)


def check_edges(responses: tuple[EdgeResponse, ...]) -> Check:
    """Judge the stronger edge by how much wider it became."""
    question = "Do edges stay sharp?"
    limits = (
        "A straight edge at flat places. Real edges lie in anatomy, and below the contrast that the noise "
        "hides every denoiser blurs."
    )
    if not responses:
        return Check("edges", question, Verdict.UNKNOWN, "Too few places to insert an edge.", "", limits)
    rows: list[Row] = [
        {
            "contrast in sigma": response.contrast_sigma,
            "10-90 % width before, px": response.width_before_px,
            "10-90 % width after, px": response.width_after_px,
            "step kept": float(response.denoised[-8:].mean() - response.denoised[:8].mean()),
            "transfer at 0.25 per px": float(np.interp(0.25, response.frequency, response.transfer)),
        }
        for response in responses
    ]
    strong = responses[-1]
    wider = strong.width_after_px - strong.width_before_px
    return Check(
        key="edges",
        question=question,
        verdict=judge(wider, look_from=WIDER_LOOK, bad_from=WIDER_BAD),
        finding=f"An edge of {strong.contrast_sigma:g} sigma is {strong.width_after_px:.2f} px wide (10 to "
        f"90 %) where it was {strong.width_before_px:.2f}.",
        rule=f"Look from {WIDER_LOOK} px wider, bad from {WIDER_BAD}: a quarter of a pixel is what the "
        "detector's own sampling blurs; Gaussian smoothing by 1 pixel adds 1.8.",
        limits=limits,
        numbers={
            "width_before_px": strong.width_before_px,
            "width_after_px": strong.width_after_px,
        },
        rows=rows,
    )


def _response(
    contrast: float,
    inserted: NDArray[np.float64],
    denoised: NDArray[np.float64],
    distance: NDArray[np.float64],
) -> EdgeResponse:
    before, after = _profile(inserted, distance), _profile(denoised, distance)
    places = _centres()
    # The line spread function is tapered: what moved far from the edge is noise of the difference.
    taper = np.hanning(len(places) - 1)
    spectra = [np.abs(np.fft.rfft(np.diff(profile) * taper)) for profile in (before, after)]
    frequency = np.asarray(np.fft.rfftfreq(len(places) - 1, STEP_PX), dtype=np.float64)
    used = frequency <= 0.5
    return EdgeResponse(
        contrast_sigma=contrast,
        distance_px=places,
        inserted=before,
        denoised=after,
        frequency=frequency[used],
        transfer=(spectra[1] / spectra[0])[used],
        width_before_px=_width(before),
        width_after_px=_width(after),
    )


def _centres() -> NDArray[np.float64]:
    return np.arange(-REACH_PX + STEP_PX / 2, REACH_PX, STEP_PX)


def _profile(image: NDArray[np.float64], distance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Average the pixels at each distance from the edge."""
    bins = np.floor((distance + REACH_PX) / STEP_PX).astype(int)
    inside = (bins >= 0) & (bins < len(_centres()))
    count = np.bincount(bins[inside], minlength=len(_centres()))
    total = np.bincount(bins[inside], weights=image[inside], minlength=len(_centres()))
    return np.asarray(total / np.maximum(count, 1))


def _width(profile: NDArray[np.float64]) -> float:
    """Give the distance from 10 to 90 per cent of a rising profile's own step."""
    low, high = float(profile[:8].mean()), float(profile[-8:].mean())
    if high <= low:
        return float("inf")
    share = (profile - low) / (high - low)
    last_below = int(np.flatnonzero(share <= 0.1)[-1]) if (share <= 0.1).any() else 0
    above = np.flatnonzero(share[last_below:] >= 0.9)
    first_above = last_below + int(above[0]) if len(above) else len(share) - 1
    start = _crossing(share, last_below, 0.1)
    return (_crossing(share, first_above - 1, 0.9) - start) * STEP_PX


def _crossing(share: NDArray[np.float64], place: int, value: float) -> float:
    """Interpolate where a profile crosses a value after a place."""
    after = min(place + 1, len(share) - 1)
    step = float(share[after] - share[place])
    return place + (value - float(share[place])) / step if step > 0 else float(place)
