"""Is there image in what was removed? Its energy where there is structure, its likeness to fine detail."""

import numpy as np
from numpy.typing import NDArray

from dae_pacs.noise.model import NoiseModel
from dae_pacs.noise.spectrum import cosine_transform, unit_noise
from dae_pacs.quality.evidence import SQUARE_PX, Evidence, without_plane
from dae_pacs.quality.residual import CERTAIN_ERRORS, is_flat
from dae_pacs.quality.verdict import Check, Verdict, judge, worst

STRUCTURED_SHARE = 0.1
"""Of the squares, those with the most structure in the denoiser's own estimate."""
ENERGY_LOOK, ENERGY_BAD = 1.2, 1.6
LIKENESS_LOOK, LIKENESS_BAD = 0.25, 0.4
DRAWS = 8
"""Of noise alone, which show how far the numbers go by accident."""
LEAST_STRUCTURED = 24
LEAST_DETAIL = 0.5
"""Mean square of a square's detail, in sigma²: below it no square holds structure to be lost."""
SEED = 20170

_ROW, _COLUMN = np.indices((SQUARE_PX, SQUARE_PX))
_FINE = (_ROW**2 + _COLUMN**2) >= 9
"""From 0.09 cycles per pixel on: detail rather than shading."""


def check_structure(evidence: Evidence, noise: NoiseModel) -> Check:
    """Compare what was removed where there is structure with what was removed where there is none."""
    detail = np.square(without_plane(evidence.smooth)).mean(axis=(1, 2))
    count = max(int(len(detail) * STRUCTURED_SHARE), 1)
    structured = np.argsort(detail, kind="stable")[len(detail) - count :]
    structured = structured[detail[structured] >= LEAST_DETAIL]
    if len(structured) < LEAST_STRUCTURED:
        return _untold(len(structured))
    flat = is_flat(evidence)
    energy, likeness = _energy_ratio(evidence.removed, structured, flat), _likeness(evidence, structured)
    drawn = [_draw(evidence, noise, structured, flat, seed=SEED + k) for k in range(DRAWS)]
    errors = np.std(np.asarray(drawn), axis=0, ddof=1)
    score = max((energy - 1) / errors[0], likeness / errors[1])
    verdict = worst(
        [
            judge(energy, look_from=ENERGY_LOOK, bad_from=ENERGY_BAD),
            judge(likeness, look_from=LIKENESS_LOOK, bad_from=LIKENESS_BAD),
        ]
    )
    if score < CERTAIN_ERRORS:
        verdict = Verdict.GOOD
    elif energy < 1 and verdict is Verdict.BAD:
        verdict = Verdict.LOOK
    return Check(
        key="structure",
        question="Is there image in what was removed?",
        verdict=verdict,
        finding=f"Where the image has structure, {energy:.2f} times as much was removed as in flat areas "
        f"(noise alone: 1.00 ± {errors[0]:.2f}); likeness of what was removed to the fine detail there: "
        f"{likeness:+.2f} (noise alone: 0.00 ± {errors[1]:.3f}).",
        rule=f"Look from {ENERGY_LOOK} or {LIKENESS_LOOK}, bad from {ENERGY_BAD} or {LIKENESS_BAD}, and only "
        "beyond three times what noise alone does. A blur removes most at edges and its residual looks like "
        "them; a careful denoiser removes less there (below 1), and a likeness of 0.1 to 0.2 comes "
        "from noise that it took for detail. Where less was removed than in flat areas, likeness alone is a "
        "reason to look and no more.",
        limits="Structure is where the denoised image still shows some: what was wiped out without a trace "
        "is not found here, but by the inserted objects.",
        numbers={
            "energy_ratio": energy,
            "energy_error": float(errors[0]),
            "likeness": likeness,
            "likeness_error": float(errors[1]),
            "squares": len(structured),
        },
    )


def _untold(found: int) -> Check:
    return Check(
        key="structure",
        question="Is there image in what was removed?",
        verdict=Verdict.UNKNOWN,
        finding=f"Only {found} squares of {SQUARE_PX}×{SQUARE_PX} pixels hold structure in the denoised "
        f"image; {LEAST_STRUCTURED} are needed.",
        rule="",
        limits="Either these images are flat, or all their structure was removed: look at the pictures.",
    )


def _draw(
    evidence: Evidence,
    noise: NoiseModel,
    structured: NDArray[np.intp],
    flat: NDArray[np.bool_],
    *,
    seed: int,
) -> tuple[float, float]:
    """Take the same two numbers of noise that knows nothing of the image."""
    side = SQUARE_PX * int(np.ceil(np.sqrt(len(evidence.removed))))
    plane = unit_noise((side, side), noise.spectrum, np.random.default_rng(seed))
    cut = plane.reshape(side // SQUARE_PX, SQUARE_PX, -1, SQUARE_PX).swapaxes(1, 2)
    squares = cut.reshape(-1, SQUARE_PX, SQUARE_PX)[: len(evidence.removed)]
    return _energy_ratio(squares, structured, flat), _correlation(squares, evidence.smooth, structured)


def _energy_ratio(
    removed: NDArray[np.float32], structured: NDArray[np.intp], flat: NDArray[np.bool_]
) -> float:
    energy = np.square(removed).mean(axis=(1, 2), dtype=np.float64)
    return float(energy[structured].mean() / max(energy[flat].mean(), float(np.finfo(np.float32).tiny)))


def _likeness(evidence: Evidence, structured: NDArray[np.intp]) -> float:
    return _correlation(evidence.removed, evidence.smooth, structured)


def _correlation(
    removed: NDArray[np.float32], smooth: NDArray[np.float32], structured: NDArray[np.intp]
) -> float:
    """Average over squares the correlation of their fine cosine coefficients."""
    first, second = (
        cosine_transform(without_plane(part[structured]))[:, _FINE].astype(np.float64)
        for part in (removed, smooth)
    )
    product = (first * second).sum(axis=1)
    size = np.sqrt(np.square(first).sum(axis=1) * np.square(second).sum(axis=1))
    return float(np.mean(product / np.maximum(size, np.finfo(np.float32).tiny)))
