"""The model card that a training run leaves: what was used, how, and what was measured."""

import json
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from dae_pacs.learn.data import Data


class CardFacts(Protocol):
    """What a card tells."""

    @property
    def name(self) -> str:
        """Of the bundle."""
        ...

    @property
    def version(self) -> str:
        """Of the bundle."""
        ...

    @property
    def description(self) -> str:
        """One sentence."""
        ...

    @property
    def data(self) -> Data:
        """Files trained and validated on."""
        ...

    @property
    def scores(self) -> str | Path:
        """JSON-lines file of the validations."""
        ...

    @property
    def settings(self) -> Mapping[str, Any]:
        """Knobs of the recipe."""
        ...


def write_card(path: Path, facts: CardFacts) -> None:
    """Write the card as Markdown. File names stay out of it: they may name patients."""
    training = len({item["image"] for item in facts.data.training})
    validation = len({item["image"] for item in facts.data.validation})
    lines = [
        f"# {facts.name} {facts.version}",
        "",
        facts.description,
        "",
        "Not a medical device.",
        "",
        "## Data",
        "",
        f"{training} files to train on, {validation} held out whole, {len(facts.data.problems)} left out.",
        "",
        "## Command",
        "",
        f"    python -m monai.bundle {shlex.join(sys.argv[1:])}",
        "",
        "## Settings",
        "",
        "| name | value |",
        "|---|---|",
        *(f"| {name} | {value} |" for name, value in facts.settings.items()),
        "",
        "## Validation on held-out images, simulated noise",
        "",
        *_score_table(Path(facts.scores)),
        "",
    ]
    path.write_text("\n".join(lines), encoding="utf-8")


def _score_table(path: Path) -> list[str]:
    """Show at most ten validations, the first and the last among them."""
    if not path.is_file():
        return ["None was made."]
    scores = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    shown = scores if len(scores) <= 10 else [scores[round(k * (len(scores) - 1) / 9)] for k in range(10)]
    names = list(shown[0])
    return [
        f"| {' | '.join(names)} |",
        f"|{'---|' * len(names)}",
        *(f"| {' | '.join(str(score.get(name, '')) for name in names)} |" for score in shown),
    ]
