"""What an evaluation found, whole: for the page and for evaluation.json."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from math import isfinite
from typing import Any

from dae_pacs.noise.model import NoiseModel
from dae_pacs.quality.fidelity import Fidelity, check_fidelity
from dae_pacs.quality.judgement import CHECKS, Judgement
from dae_pacs.quality.verdict import Check, Verdict, worst

FORMAT = 1
"""Of evaluation.json."""


@dataclass(frozen=True)
class Pictures:
    """One judged image, drawn."""

    name: str
    overview: str
    """A data URI: the whole image, small."""
    detail: str
    """A data URI: a cut at native pixels."""


@dataclass(frozen=True)
class Group:
    """One acquisition group: images whose noise is measured together."""

    name: str
    modality: str
    unit: str
    judged: tuple[str, ...]
    """Names of the images that were judged, below the data's folder."""
    images: int
    """How many it has, judged or not."""
    noise: NoiseModel
    judgement: Judgement
    pictures: tuple[Pictures, ...] = ()


@dataclass(frozen=True)
class Evaluation:
    """One model on one set of images."""

    model: Mapping[str, str | float]
    """Name, version, digest, default strength."""
    data: str
    """As the user named it."""
    reference: str | None
    strength: float
    device: str
    date: str
    version: str
    """Of dae-pacs."""
    groups: tuple[Group, ...]
    fidelity: tuple[Fidelity, ...] = ()
    left_out: tuple[tuple[str, str], ...] = ()
    """What could not be judged, with the reason."""
    unreadable: int = 0
    """Of them, files that should have been readable."""
    found: int = 0
    """Images in the data, judged or not."""
    settings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Line:
    """One check over all groups."""

    key: str
    question: str
    verdict: Verdict
    finding: str
    counts: Mapping[str, int]
    """Groups by verdict."""


def summary(evaluation: Evaluation) -> list[Line]:
    """Sum up each check over the groups; the words are those of the group that stands worst."""
    lines = []
    if evaluation.fidelity:
        check = check_fidelity(evaluation.fidelity)
        lines.append(Line(check.key, check.question, check.verdict, check.finding, {}))
    for key in CHECKS:
        found = [
            (group, check)
            for group in evaluation.groups
            for check in group.judgement.checks
            if check.key == key
        ]
        if not found:
            continue
        verdict = worst(check.verdict for _, check in found)
        group, check = next(pair for pair in found if pair[1].verdict is verdict)
        counts = Counter(str(one.verdict) for _, one in found)
        words = check.finding if len(found) == 1 else f"{group.name}: {check.finding}"
        lines.append(Line(key, check.question, verdict, words, dict(counts)))
    return lines


def verdict_of(evaluation: Evaluation) -> Verdict:
    """Give the gravest verdict of all."""
    return worst(line.verdict for line in summary(evaluation))


def to_json(evaluation: Evaluation) -> str:
    """Write every number, pictures aside; what is not finite becomes null."""
    content = {
        "format": FORMAT,
        "verdict": verdict_of(evaluation),
        "model": dict(evaluation.model),
        "data": evaluation.data,
        "reference": evaluation.reference,
        "strength": evaluation.strength,
        "device": evaluation.device,
        "date": evaluation.date,
        "dae_pacs": evaluation.version,
        "settings": dict(evaluation.settings),
        "images_found": evaluation.found,
        "summary": [asdict(line) for line in summary(evaluation)],
        "fidelity": {
            "by_modality": list(check_fidelity(evaluation.fidelity).rows) if evaluation.fidelity else [],
            "images": [asdict(one) for one in evaluation.fidelity],
        },
        "groups": [_group(group) for group in evaluation.groups],
        "left_out": [{"name": name, "reason": reason} for name, reason in evaluation.left_out],
    }
    return json.dumps(_plain(content), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _group(group: Group) -> dict[str, Any]:  # Any: JSON
    judgement = group.judgement
    return {
        "name": group.name,
        "modality": group.modality,
        "unit": group.unit,
        "judged": list(group.judged),
        "images": group.images,
        "noise": json.loads(group.noise.to_json()),
        "checks": [_check(check) for check in judgement.checks],
        "spectra": asdict(judgement.curves) if judgement.curves else None,
        "edges": [asdict(edge) for edge in judgement.edges],
    }


def _check(check: Check) -> dict[str, Any]:  # Any: JSON
    return {
        "key": check.key,
        "question": check.question,
        "verdict": check.verdict,
        "finding": check.finding,
        "rule": check.rule,
        "limits": check.limits,
        "numbers": dict(check.numbers),
        "rows": [dict(row) for row in check.rows],
    }


def _plain(value: Any) -> Any:  # Any: JSON in, JSON out
    """Turn arrays into lists and what is not finite into None."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, float):
        return value if isfinite(value) else None
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, str) else value
