"""The page of an evaluation: one HTML file that needs no network and no other file."""

from importlib.resources import files
from math import isfinite

from jinja2 import Environment, StrictUndefined

from dae_pacs.quality.fidelity import by_modality, check_fidelity
from dae_pacs.quality.figures import bias_figure, edge_figure, lesion_figure, spectrum_figure
from dae_pacs.quality.judgement import Judgement
from dae_pacs.quality.report import Evaluation, summary, verdict_of

TEMPLATE = "page.html.j2"

EXPLANATIONS = {
    "fidelity": "PSNR says how far the image is from the reference in decibels: 3 dB more is half the "
    "squared error. SSIM compares local contrast and structure; 1 is the same image. RMSE is the typical "
    "error of a pixel, in the unit of the image.",
    "noise": "Before anything is removed, the noise of these images is measured on their flattest small "
    "squares: how strong it is at each brightness, and how fine-grained.",
    "variance": "Was too much or too little taken away? In a flat place all that varies is noise, so that "
    "what was removed should vary as much as the noise does, and not more.",
    "spectrum": "Noise has a texture: fine like sand or coarse like clouds. What was removed should have the "
    "texture of the noise at every fineness. The curve shows coarse on the left, fine on the right.",
    "structure": "If edges or tissue can be recognised in what was removed, image was lost. Two numbers look "
    "for that: whether more was removed where there is structure, and whether what was removed looks like "
    "the detail that stayed.",
    "bias": "Noise goes up and down alike, so that removing it must not make any brightness darker or "
    "brighter on average.",
    "lesions": "Faint discs of known contrast were put into the noisy images at flat places and denoised "
    "with them. The share of their contrast that comes out again says what would happen to a faint finding.",
    "edges": "A sharp edge was put into the noisy images and denoised with them. A denoiser that blurs "
    "makes it wider.",
    "detectability": "A computed reader (a channelised Hotelling observer) decides for many places whether a "
    "faint disc is there, before and after denoising. The area under its ROC curve is 0.5 for guessing and 1 "
    "for certainty.",
}


def render(evaluation: Evaluation) -> str:
    """Make the page."""
    source = files("dae_pacs.quality").joinpath(TEMPLATE).read_text(encoding="utf-8")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["number"] = format_number
    fidelity = evaluation.fidelity
    return environment.from_string(source).render(
        evaluation=evaluation,
        verdict=verdict_of(evaluation),
        summary=summary(evaluation),
        fidelity=check_fidelity(fidelity) if fidelity else None,
        fidelity_by_modality=by_modality(fidelity),
        explanations=EXPLANATIONS,
        figures=[_figures(group.judgement, evaluation.strength) for group in evaluation.groups],
        judged=sum(len(group.judged) for group in evaluation.groups),
    )


def format_number(value: object) -> str:
    """Write a table's cell: three significant digits, signs and words as they are."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "" if value is None else str(value)
    if isinstance(value, int):
        return str(value)
    if not isfinite(value):
        return "∞" if value > 0 else "none"
    if value and abs(value) < 0.0005:
        return f"{value:.1e}"
    if abs(value) >= 1000:
        return f"{value:.0f}"
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"


def _figures(judgement: Judgement, strength: float) -> dict[str, tuple[str, str]]:
    """Draw a group's curves: by the check they belong to, a data URI and what it shows."""
    drawn = {}
    rows = {check.key: check.rows for check in judgement.checks}
    if judgement.curves is not None:
        drawn["spectrum"] = (
            spectrum_figure(judgement.curves),
            "Power over spatial frequency: noise as estimated, input, what was removed, output",
        )
    if rows.get("bias"):
        drawn["bias"] = (bias_figure(rows["bias"]), "Shift of the mean over the signal, bars of two errors")
    if rows.get("lesions"):
        drawn["lesions"] = (
            lesion_figure(rows["lesions"], strength),
            "Share of each disc's contrast that comes through, over its signal to noise",
        )
    if judgement.edges:
        drawn["edges"] = (
            edge_figure(judgement.edges),
            "Profile of the edges, and what passes at each frequency",
        )
    return drawn
