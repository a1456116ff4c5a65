"""Scores of `benchmarks/denoising.py`, and the rows that it makes of them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from denoising_data import Case, Plane
from numpy.typing import NDArray
from skimage.metrics import structural_similarity

METRICS = {"psnr": "dB", "psnr_textured": "dB", "ssim": ""}
STANDARD_ERROR = "standard error"
OURS = "recorrupt"
NOISE2VOID = ("noise2void_careamics", "noise2void2_careamics")
GAPS: Mapping[str, tuple[str, str | tuple[str, ...], str]] = {
    "psnr_gap_supervised_uncorrelated_db": ("supervised", OURS, "uncorrelated"),
    "psnr_gap_supervised_correlated_db": ("supervised", OURS, "correlated"),
    "psnr_gap_supervised_jpeg_db": ("supervised", OURS, "jpeg"),
    "psnr_over_n2v_uncorrelated_db": (OURS, NOISE2VOID, "uncorrelated"),
    "psnr_over_n2v_correlated_db": (OURS, NOISE2VOID, "correlated"),
    "psnr_over_n2v_jpeg_db": (OURS, NOISE2VOID, "jpeg"),
    "psnr_over_n2n_correlated_db": (OURS, "neighbor2neighbor", "correlated"),
    "psnr_over_bm3d_uncorrelated_db": (OURS, "bm3d_vst", "uncorrelated"),
    "psnr_over_bm3d_correlated_db": (OURS, "bm3d_vst", "correlated"),
    "psnr_over_blur_correlated_db": (OURS, "best_blur", "correlated"),
}
"""Rows of ../shared/BENCHMARKS.md and their like: the first method's PSNR minus the second's, or minus that
of the best of several."""

Row = dict[str, Any]


@dataclass(frozen=True)
class Scores:
    """Of one method in one condition, case by case."""

    method: str
    condition: str
    note: str
    cases: tuple[Mapping[str, Any], ...]
    """Each with `case`, `level` and the metrics; empty where there is no result, for the reason in `note`."""

    def values(self, metric: str, level: float | None = None) -> NDArray[np.float64]:
        """Give a metric of all cases, or of those at a level."""
        return np.array([case[metric] for case in self.cases if level is None or case["level"] == level])


def score(case: Case, plane: Plane) -> dict[str, Any]:
    """Compare with the reference where it counts; the peak is its range, 1."""
    clean, reference = case.clean, case.reference
    _, similarity = structural_similarity(clean, plane, data_range=1.0, full=True)
    squared = (plane - clean).astype(np.float64) ** 2
    return {
        "case": case.name,
        "level": case.level,
        "psnr": -10 * float(np.log10(squared[reference.counted].mean())),
        "psnr_textured": -10 * float(np.log10(squared[reference.textured].mean())),
        "ssim": float(similarity[reference.counted].mean()),
    }


class ScoreFolder:
    """Keeps scores from run to run, so that one that was stopped goes on.

    Args:
        folder: one JSON file per method and condition.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def holds(self, method: str, condition: str) -> bool:
        """Tell whether there is a result."""
        path = self._path(method, condition)
        return path.is_file() and bool(json.loads(path.read_text())["cases"])

    def keep(self, scores: Scores) -> None:
        """Write one; an older one of the same method and condition is replaced."""
        path = self._path(scores.method, scores.condition)
        path.write_text(json.dumps({"note": scores.note, "cases": list(scores.cases)}, indent=1))

    def all(self) -> dict[tuple[str, str], Scores]:
        """Read them by (method, condition)."""
        found = {}
        for path in sorted(self.folder.glob("*.json")):
            condition, method = path.stem.split(".", 1)
            kept = json.loads(path.read_text())
            found[method, condition] = Scores(method, condition, kept["note"], tuple(kept["cases"]))
        return found

    def _path(self, method: str, condition: str) -> Path:
        return self.folder / f"{condition}.{method}.json"


def rows_of(kept: Mapping[tuple[str, str], Scores]) -> list[Row]:
    """Make every row that the scores allow."""
    rows: list[Row] = []
    for scores in kept.values():
        rows += curve_row(scores) if "@" in scores.method else method_rows(scores)
    for name, (better, worse, condition) in GAPS.items():
        both = [_best(kept, methods, condition) for methods in (better, worse)]
        if both[0] is not None and both[1] is not None:
            rows.append(gap_row(name, both[0], both[1]))
    return rows


def _best(
    kept: Mapping[tuple[str, str], Scores], methods: str | tuple[str, ...], condition: str
) -> Scores | None:
    """Pick the method of the highest mean PSNR, or one that says why it has none."""
    names = (methods,) if isinstance(methods, str) else methods
    found = [kept[name, condition] for name in names if (name, condition) in kept]
    with_result = [scores for scores in found if scores.cases]
    if with_result:
        return max(with_result, key=lambda scores: float(scores.values("psnr").mean()))
    return found[0] if found else None


def method_rows(scores: Scores) -> list[Row]:
    """Make the means over all cases, and the PSNR at each level."""
    wanted: list[tuple[str, float | None]] = [(metric, None) for metric in METRICS]
    wanted += [("psnr", level) for level in sorted({float(case["level"]) for case in scores.cases})]
    rows = []
    for metric, level in wanted:
        unit = METRICS[metric]
        place = "" if level is None else f"_at_{level:g}"
        name = f"denoising_{metric}_{scores.method}_{scores.condition}{place}{'_db' if unit else ''}"
        rows.append(_mean_row(name, unit, scores.values(metric, level), scores.note))
    return rows


def curve_row(scores: Scores) -> list[Row]:
    """Make the row of a method that was stopped early, `method@steps`."""
    method, steps = scores.method.split("@")
    name = f"denoising_curve_{method}_{scores.condition}_{int(steps):04d}_db"
    return [_mean_row(name, "dB", scores.values("psnr"), scores.note)]


def gap_row(name: str, better: Scores, worse: Scores) -> Row:
    """Make the mean PSNR of one method over that of another, case by case; one of them is ours."""
    missing = [scores for scores in (better, worse) if not scores.cases]
    if missing:
        return {"id": name, "value": None, "unit": "dB", "note": f"{missing[0].method}: {missing[0].note}"}
    ours, peer = (better, worse) if better.method == OURS else (worse, better)
    differences = better.values("psnr") - worse.values("psnr")
    return {
        "id": name,
        "value": round(float(differences.mean()), 3),
        "unit": "dB",
        "peer": f"PSNR of {peer.method}",
        "peer_value": round(float(peer.values("psnr").mean()), 2),
        "spread": [round(float(differences.min()), 2), round(float(differences.max()), 2)],
        "note": f"Mean of {len(differences)} paired differences, standard error "
        f"{_standard_error(differences):.3f}. {ours.method}: {ours.note} {peer.method}: {peer.note}",
    }


def _mean_row(name: str, unit: str, values: NDArray[np.float64], note: str) -> Row:
    if not len(values):
        return {"id": name, "value": None, "unit": unit, "note": note}
    return {
        "id": name,
        "value": round(float(values.mean()), 4),
        "unit": unit,
        "peer": STANDARD_ERROR,
        "peer_value": round(_standard_error(values), 4),
        "spread": [round(float(values.min()), 3), round(float(values.max()), 3)],
        "note": note,
    }


def _standard_error(values: NDArray[np.float64]) -> float:
    return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0


def printed(cases: Sequence[Mapping[str, Any]]) -> str:
    """Say the means in one line."""
    return "  ".join(f"{metric} {np.mean([case[metric] for case in cases]):.3f}" for metric in METRICS)
