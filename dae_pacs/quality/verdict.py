"""What a check finds, in words for the person who answers for the images."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum


class Verdict(StrEnum):
    """What to make of a check's number."""

    GOOD = "good"
    LOOK = "look"
    """Outside what was expected: look at the pictures and decide."""
    BAD = "bad"
    UNKNOWN = "can't tell"
    """The images do not hold what the check needs."""


_SEVERITY = (Verdict.UNKNOWN, Verdict.GOOD, Verdict.LOOK, Verdict.BAD)

Row = Mapping[str, str | float | int | None]


@dataclass(frozen=True)
class Check:
    """One question put to one acquisition group, and its answer."""

    key: str
    """Its name in evaluation.json."""
    question: str
    verdict: Verdict
    finding: str
    """One or two sentences with the numbers that decided."""
    rule: str
    """The thresholds, and why they are these."""
    limits: str
    """What the check can't tell."""
    numbers: Mapping[str, float | int | None] = field(default_factory=dict)
    rows: Sequence[Row] = ()
    """A table, where one number is not enough; each row has the same keys."""


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """Give the gravest verdict; what could not be told counts only where nothing else was."""
    return max(verdicts, key=_SEVERITY.index, default=Verdict.UNKNOWN)


def judge(value: float, *, look_from: float, bad_from: float) -> Verdict:
    """Judge a value that should be low."""
    if value >= bad_from:
        return Verdict.BAD
    return Verdict.LOOK if value >= look_from else Verdict.GOOD


def number(row: Row, name: str) -> float:
    """Read a number out of a row; what is no number counts as 0."""
    value = row[name]
    return float(value) if isinstance(value, int | float) else 0.0
