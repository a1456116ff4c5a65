"""All checks that need no reference, on one acquisition group (DESIGN.md, "the method", 5)."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from dae_pacs.noise.model import NoiseModel
from dae_pacs.quality.edge import EdgeResponse, check_edges, edge_responses
from dae_pacs.quality.evidence import SQUARE_PX, Evidence
from dae_pacs.quality.inserted import Denoise, check_lesions
from dae_pacs.quality.observer import check_detectability
from dae_pacs.quality.residual import (
    LEAST_SQUARES,
    Curves,
    check_bias,
    check_spectrum,
    check_variance,
    spectra,
)
from dae_pacs.quality.structure import check_structure
from dae_pacs.quality.verdict import Check, Verdict

CHECKS = ("noise", "variance", "spectrum", "structure", "bias", "lesions", "edges", "detectability")
"""In the order of the page."""
NEED_NOISE = frozenset({"variance", "spectrum", "bias", "lesions", "edges"})
"""Checks whose thresholds are in units of the noise, which must have been measured then."""
NEED_SPECTRUM = frozenset({"variance", "spectrum", "structure"})
"""Checks that compare with the noise itself."""
MISFIT_LOOK = 0.7
"""Of the estimate, which gives up at 0.85."""
MOST_ROUGHNESS = 4.0
"""Standard deviation of a place's own structure, in sigma, above which the observer would see that alone."""


@dataclass(frozen=True)
class Judgement:
    """What the checks found in one acquisition group."""

    checks: tuple[Check, ...]
    curves: Curves | None
    """None where too few squares were found."""
    edges: tuple[EdgeResponse, ...]


def judge_group(
    evidence: Evidence,
    denoise: Denoise,
    *,
    noise: NoiseModel,
    strength: float,
    unit: str,
    advance: Callable[[], None] = lambda: None,
) -> Judgement:
    """Put every question to a group.

    Args:
        evidence: of all its judged images.
        denoise: the denoiser under the group's noise model at the strength used.
        noise: of the group.
        strength: above 0, at most 1.
        unit: of the values.
        advance: called after each step, `STEPS` times.
    """
    checks = [check_noise(noise)]
    curves = None
    if len(evidence.removed) >= LEAST_SQUARES:
        curves = spectra(evidence, noise.spectrum)
        checks += [
            check_variance(evidence),
            check_spectrum(evidence, noise.spectrum),
            check_structure(evidence, noise),
            check_bias(evidence, replace(noise, unit=unit)),
        ]
    else:
        checks += list(_too_small(len(evidence.removed)))
    advance()
    checks.append(check_lesions(evidence.places, denoise, noise=noise, strength=strength))
    advance()
    edges = edge_responses(evidence.places, denoise, noise)
    checks.append(check_edges(edges))
    advance()
    flat = evidence.places[evidence.roughness <= MOST_ROUGHNESS]
    checks.append(check_detectability(flat, denoise, noise=noise))
    advance()
    return Judgement(tuple(_as_firm_as(noise, check) for check in checks), curves, edges)


STEPS = 4


def _too_small(squares: int) -> Iterator[Check]:
    questions = {
        "variance": "Was as much removed as there is noise?",
        "spectrum": "Has what was removed the noise's own texture?",
        "structure": "Is there image in what was removed?",
        "bias": "Do mean values stay what they were?",
    }
    finding = (
        f"Only {squares} squares of {SQUARE_PX}×{SQUARE_PX} pixels without padding, clipping or collimation; "
        f"{LEAST_SQUARES} are needed."
    )
    for key, question in questions.items():
        yield Check(key, question, Verdict.UNKNOWN, finding, "", "")


def check_noise(noise: NoiseModel) -> Check:
    """Judge the ruler before what is measured with it."""
    if noise.origin == "fallback":
        finding = (
            "The noise could not be measured, only bounded: too little flat area, compression that shows, "
            "or next to no noise. The denoiser was told the bound."
        )
    else:
        finding = (
            f"Measured on {noise.patches} squares; misfit {noise.misfit:.2f} (0: at every brightness the "
            "flattest areas vary as the curve says; 1: nearly everywhere twice as much or more)."
        )
    is_firm = noise.origin != "fallback" and noise.misfit <= MISFIT_LOOK
    return Check(
        key="noise",
        question="Is the noise known?",
        verdict=Verdict.GOOD if is_firm else Verdict.LOOK,
        finding=finding,
        rule=f"Look above {MISFIT_LOOK}: at many levels of the signal the images vary more than the curve "
        "says, for want of a flat place there or because the noise does not follow it. All numbers in sigma "
        "rest on this curve, so that what is compared with it is then called bad by no check.",
        limits="A flat place in the body can't be told from fine tissue by its variance alone.",
        numbers={"misfit": noise.misfit, "patches": noise.patches},
    )


def _as_firm_as(noise: NoiseModel, check: Check) -> Check:
    """Take back what a check says where the noise that it rests on is not known."""
    if check.key in NEED_NOISE and noise.origin == "fallback":
        words = "The noise of these images is not known, so that this number has no firm ground."
        return replace(check, verdict=Verdict.UNKNOWN, finding=f"{words} {check.finding}")
    is_firm = noise.origin != "fallback" and noise.misfit <= MISFIT_LOOK
    if check.key in NEED_SPECTRUM and check.verdict is Verdict.BAD and not is_firm:
        words = "The noise is not well known here, so that this is no more than a reason to look."
        return replace(check, verdict=Verdict.LOOK, finding=f"{check.finding} {words}")
    return check
