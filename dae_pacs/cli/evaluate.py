"""`dae-pacs evaluate`: what does a model remove from these images, and what is lost?"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from dae_pacs.cli.failures import FAILED, OK
from dae_pacs.durable import durable_file
from dae_pacs.errors import DaePacsError

PAGE, NUMBERS = "evaluation.html", "evaluation.json"
EXTRAS = {"jinja2": "Jinja2", "matplotlib": "matplotlib", "skimage": "scikit-image"}
"""What the page and the measures need beyond the node: module and package."""
_STYLES = {"good": "green", "look": "yellow", "bad": "red"}
_MOST_LISTED = 20


@dataclass(frozen=True)
class EvaluateOptions:
    """How to evaluate; None leaves the choice to the configuration."""

    output: Path
    reference: Path | None = None
    strength: float | None = None
    """Above 0, at most 1."""
    device: str | None = None
    most: int = 20
    is_strict: bool = False
    config: Path | None = None


def run(model: str, data: Path, *, options: EvaluateOptions) -> int:
    """Evaluate a model on images, write the page and the numbers; 0 whatever the verdict, unless strict.

    Raises:
        BundleError: the model is missing or broken.
        ConfigError: the configuration has mistakes.
        DaePacsError: packages that the page needs are not installed.
        InputError: no image can be judged.
    """
    _need_extras()
    from dae_pacs.cli.evaluation import Bar, evaluate  # noqa: PLC0415  needs the extras
    from dae_pacs.quality import page, report  # noqa: PLC0415

    options.output.mkdir(parents=True, exist_ok=True)  # before an hour's work, not after it
    with _progress() as progress:
        task = progress.add_task("looking for images", total=None)

        def show(words: str, total: int | None) -> None:
            progress.update(task, description=words, total=total)

        found = evaluate(model, data, options=options, bar=Bar(show, lambda: progress.advance(task)))
        progress.update(task, description="drawing the page")
        content = {PAGE: page.render(found), NUMBERS: report.to_json(found)}
    for name, text in content.items():
        with durable_file(options.output / name) as file:
            file.write(text.encode("utf-8"))
    _say(found.left_out, [(line.question, str(line.verdict), line.finding) for line in report.summary(found)])
    Console(soft_wrap=True, highlight=False).print(f"page: {options.output / PAGE}", markup=False)
    is_bad = str(report.verdict_of(found)) == "bad"
    return FAILED if options.is_strict and (is_bad or found.unreadable) else OK


def _need_extras() -> None:
    missing = [package for module, package in EXTRAS.items() if find_spec(module) is None]
    if missing:
        raise DaePacsError(
            f"dae-pacs evaluate needs {', '.join(missing)}, which a node does without. "
            "Install with: pip install 'dae-pacs[train]'"
        )


@contextmanager
def _progress() -> Iterator[Progress]:
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    ) as progress:
        yield progress


def _say(left_out: tuple[tuple[str, str], ...], lines: list[tuple[str, str, str]]) -> None:
    told = Console(stderr=True, soft_wrap=True, highlight=False)
    for name, reason in left_out[:_MOST_LISTED]:
        told.print(f"{name}: {reason}", markup=False)
    if len(left_out) > _MOST_LISTED:
        told.print(f"and {len(left_out) - _MOST_LISTED} more; the page lists them all")
    table = Table("question", "verdict", "finding")
    for question, verdict, finding in lines:
        table.add_row(question, Text(verdict, style=_STYLES.get(verdict, "")), Text(finding))
    Console(highlight=False).print(table)
