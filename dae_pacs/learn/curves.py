"""Draw the course of a training run: each score of the validations against the steps."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from dae_pacs.durable import durable_file

Score = Mapping[str, float]

OF_THE_INPUT = "_input"
"""In the name of a score: the same measure, taken of the noisy image as it is."""


def read_scores(path: Path) -> list[Score]:
    """Read a JSON-lines file of validations; the last line of each step counts."""
    if not path.is_file():
        return []
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    return list({line["step"]: line for line in lines}.values())


def draw_curves(path: Path, scores: Sequence[Score]) -> None:
    """Write a PNG with one plot for each measure; the score of the input is a dashed line in it.

    Raises:
        OSError: it can't be written.
    """
    plots: dict[str, list[str]] = defaultdict(list)
    for name in scores[0]:
        if name != "step":
            plots[name.replace(OF_THE_INPUT, "")].append(name)
    figure = Figure(figsize=(5 * len(plots), 3.2), layout="constrained")
    FigureCanvasAgg(figure)
    for place, (title, names) in enumerate(plots.items()):
        axes = figure.add_subplot(1, len(plots), place + 1)
        for name in names:
            points = [(score["step"], score[name]) for score in scores if name in score]
            is_input = OF_THE_INPUT in name
            axes.plot(
                *zip(*points, strict=True),
                "--" if is_input else ".-",
                label="input" if is_input else "output",
            )
        axes.set_title(title.replace("_", " "), fontsize=10)
        axes.set_xlabel("step")
        axes.grid(visible=True, alpha=0.3)
        if len(names) > 1:
            axes.legend()
    drawn = BytesIO()
    figure.savefig(drawn, format="png", dpi=100, metadata={"Software": None})
    with durable_file(path) as file:
        file.write(drawn.getvalue())
