"""The model card that a training run leaves: what was used, how, and what was measured."""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dae_pacs.learn import findings
from dae_pacs.learn.curves import OF_THE_INPUT, Score
from dae_pacs.learn.data import Data
from dae_pacs.learn.facts import Facts

MOST_GROUPS = 20
MOST_LINES = 10
"""Of a table of validations."""
NO_PICTURES = (
    "None: what a site trains on shows its patients. They are in the folder of the run, and stay there; "
    "`dae-pacs train --pictures` puts some of them here."
)


def write_card(path: Path, facts: Facts, *, scores: Sequence[Score], pictures: Sequence[str] = ()) -> None:
    """Write the card as Markdown. File names stay out of it: they may name patients.

    Args:
        path: of the card.
        facts: what it tells.
        scores: of the validations, in their order.
        pictures: names of files beside the card; the first is the curve where there are scores.
    """
    curve, shown = (pictures[:1], pictures[1:]) if scores else ((), pictures)
    lines = [
        f"# {facts.name} {facts.version}",
        "",
        facts.description,
        "",
        "Not a medical device.",
        "",
        "## Data",
        "",
        *_data_table(facts.data),
        "",
        *_noise_section(facts.data),
        "## Command",
        "",
        f"    {facts.command or f'python -m monai.bundle {shlex.join(sys.argv[1:])}'}",
        "",
        "## Settings",
        "",
        "| name | value |",
        "|---|---|",
        *(f"| {name} | {_cell(value)} |" for name, value in facts.settings.items()),
        "",
        "## Validation, on images held out whole",
        "",
        *_score_table(scores),
        "",
        *(f"![course of the training]({name})\n" for name in curve),
        "## Pictures",
        "",
        *([f"![before, after and what was removed]({name})\n" for name in shown] or [NO_PICTURES]),
    ]
    path.write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")


def _data_table(data: Data) -> list[str]:
    sides = (("trained on", data.training), ("held out whole", data.validation))
    lines = ["| | files | frames | groups | kinds |", "|---|---|---|---|---|"]
    for words, items in sides:
        side = findings.count(items)
        kinds = ", ".join(f"{number} {kind}" for kind, number in findings.kinds(items).items())
        lines.append(f"| {words} | {side.files} | {side.frames} | {side.groups} | {kinds} |")
    return [
        *lines,
        "",
        "A group is a patient, or a file where the headers name none; no group is on both sides.",
        f"{len(data.problems)} files were left out.",
    ]


def _noise_section(data: Data) -> list[str]:
    groups = findings.noise_groups(data)
    if not groups:
        return []
    return [
        "## Noise, as measured",
        "",
        "One line for each acquisition group; the models are in `configs/noise.json`. The standard deviation",
        "is in the images' own unit, at their lowest and highest level.",
        "",
        "| files | standard deviation | correlation of neighbours | misfit | flat patches |",
        "|---|---|---|---|---|",
        *(
            f"| {group.files} | {group.sigmas[0]:.3g} to {group.sigmas[1]:.3g} | {group.correlation:.2f} "
            f"| {group.model.misfit:.2f} | {group.model.patches} |"
            for group in groups[:MOST_GROUPS]
        ),
        *(
            [f"\n{len(groups) - MOST_GROUPS} more groups have few files."]
            if len(groups) > MOST_GROUPS
            else []
        ),
        "",
    ]


def _score_table(scores: Sequence[Score]) -> list[str]:
    """Show at most ten validations, the first and the last among them."""
    if not scores:
        return ["None was made."]
    last = len(scores) - 1
    few = last < MOST_LINES
    shown = scores if few else [scores[round(k * last / (MOST_LINES - 1))] for k in range(MOST_LINES)]
    names = list(shown[0])
    of_input = any(OF_THE_INPUT in name for name in names)
    return [
        f"| {' | '.join(names)} |",
        f"|{'---|' * len(names)}",
        *(f"| {' | '.join(str(score.get(name, '')) for name in names)} |" for score in shown),
        "",
        "`loss` is what training makes small, on pairs that stay the same; "
        + (
            f"`{OF_THE_INPUT}` marks the same measure of the input as it is."
            if of_input
            else "the rest is as named."
        ),
    ]


def _cell(value: Any) -> str:
    return str(value).replace("|", "\\|")
