"""What `dae-pacs train` says: what it found, how far it is, and what came of it."""

# ruff: noqa: PLC0415  # what learns is imported only after the extra was looked for

import shlex
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from dae_pacs.learn import plan as plans
    from dae_pacs.learn import run as runs
    from dae_pacs.learn.data import Data

MOST_GROUPS = 20
MOST_NAMED = 5
MOST_REASONS = 10
"""Files left out that are named, and reasons that are told; the rest is counted, and in a file."""
LINE_EVERY_S = 60.0
"""Where there is no terminal to draw a bar on: at most this long between two lines."""
FEW_FILES = 10
"""Below this a run works, but the split leaves one or two files to check on."""


def looking(folder: Path) -> AbstractContextManager[object]:
    """Say that the images are being read, as long as they are."""
    console = Console(stderr=True)
    words = Text(f"Reading the images in {folder} ...")
    return console.status(words) if console.is_terminal else nullcontext()


def say_findings(out: Console, data: "Data", training: "runs.Training") -> None:
    """Say what was found, what was measured, what was chosen for this machine, and what happens now."""
    from dae_pacs.learn import findings

    request = training.plan.request
    table = _table("Images", "", "Files", "Frames", "Groups", "Kinds")
    for words, items in (("to train on", data.training), ("held out, to check on", data.validation)):
        side = findings.count(items)
        kinds = ", ".join(f"{number} {kind}" for kind, number in findings.kinds(items).items())
        table.add_row(words, str(side.files), str(side.frames), str(side.groups), Text(kinds))
    out.print(table)
    _say_left_out(out, data, findings.reasons(data), output=request.output)
    files = findings.count([*data.training, *data.validation]).files
    if files < FEW_FILES:
        out.print(f"Only {files} files: it works, but look hard at the result. More images make it surer.\n")
    _say_noise(out, findings.noise_groups(data))
    _say_choices(out, training)
    if request.loss in {"ssim", "both"} and not training.setting("has_reference"):
        out.print(
            "The targets of this recipe are noisy, and of SSIM against noise the best is not the clean "
            "image: --loss mse is surer.\n"
        )
    out.print(Text(_what_happens(training)), end="\n\n")


@contextmanager
def progress(*, is_shown: bool) -> "Iterator[Callable[[runs.Progress], None]]":
    """Show how far a run is: a bar on a terminal, now and then a line elsewhere."""
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    if not is_shown:
        yield lambda _: None
    elif console.is_terminal:
        with _bar(console) as report:
            yield report
    else:
        yield _lines(console)


def say_interrupted(output: Path, *, command: str) -> None:
    """Say where the last checkpoint is, and how to go on from it."""
    from dae_pacs.learn.checkpoint import CHECKPOINT

    console = Console(stderr=True, soft_wrap=True, highlight=False)
    if (output / CHECKPOINT).is_file():
        words = f"Interrupted. The last checkpoint is {output / CHECKPOINT}; go on from it with:\n  {command}"
    else:
        words = "Interrupted before the first checkpoint: there is nothing to go on from. Start again."
    console.print(Text(words))


def say_outcome(
    out: Console,
    outcome: "runs.Outcome",
    *,
    request: "plans.Request",
    bundle: Path | None,
    folder: Path | None,
) -> None:
    """Say how the validation ended, where the bundle is, and what to do with it."""
    out.print(_scores(outcome))
    if outcome.noise_gone is not None:
        out.print(_noise_gone(outcome.noise_gone), end="\n\n")
    if bundle is None:
        out.print(Text(f"Done: the images, denoised, are in {request.output / 'denoised'}."))
        return
    name, images = shlex.quote(request.name), shlex.quote(str(request.data))
    if request.with_pictures:
        shown = f"Its card shows images: look at {bundle / 'docs'} before it leaves the house."
    else:
        shown = (
            f"Before, after and what was removed: {request.output / 'pictures'} and "
            f"{request.output / 'denoised'}. They may show patients, and are not in the bundle."
        )
    lines = [
        f"The bundle is {bundle}; its card is docs/README.md in it.",
        shown,
        "",
        "Look at its work, then use it:",
        f"  dae-pacs evaluate {name} {images}",
        f"  dae-pacs denoise {images} --output denoised --model {name} --side-by-side",
        f"  dae-pacs serve --model {name}",
    ]
    if folder is None:
        lines.append(
            f"From another working folder: set model.folder = {str(bundle.parent)!r} in dae-pacs.toml."
        )
    out.print(Text("\n".join(lines)))


def _say_left_out(out: Console, data: "Data", reasons: Mapping[str, int], *, output: Path) -> None:
    if not reasons:
        return
    from dae_pacs.learn.run import LEFT_OUT

    table = _table("Left out", "Files", "Reason")
    for reason, number in list(reasons.items())[:MOST_REASONS]:
        table.add_row(str(number), Text(reason))
    if len(reasons) > MOST_REASONS:
        table.add_row(str(sum(list(reasons.values())[MOST_REASONS:])), "other reasons")
    out.print(table)
    names = [path for path, _ in data.problems]
    shown = names[:MOST_NAMED] + (["..."] if len(names) > MOST_NAMED else [])
    out.print(Text("\n".join(f"  {name}" for name in shown)))
    out.print(Text(f"All {len(names)}, each with its reason: {output / LEFT_OUT}"), end="\n\n")


def _say_noise(out: Console, groups: Any) -> None:
    if not groups:
        return
    table = _table(
        "Noise, as measured", "Files", "Standard deviation", "Neighbours", "Misfit", "Flat patches"
    )
    for group in groups[:MOST_GROUPS]:
        low, high = group.sigmas
        sigma = f"{low:.3g}" if low == high else f"{low:.3g} to {high:.3g}"
        words = f"{'correlated' if group.is_correlated else 'independent'} ({group.correlation:.2f})"
        table.add_row(str(group.files), sigma, words, f"{group.model.misfit:.2f}", str(group.model.patches))
    if len(groups) > MOST_GROUPS:
        table.add_row(str(sum(group.files for group in groups[MOST_GROUPS:])), "more groups", "", "", "")
    out.print(table)


def _say_choices(out: Console, training: "runs.Training") -> None:
    machine, setting = training.plan.machine, training.setting
    patches = [setting(name) for name in ("batch_images", "patches_per_image")]
    size = patches[0] * patches[1] if all(patches) else setting("batch_size")
    is_reduced = "inferer" in training.plan.overrides or (machine.device != "cpu" and machine.has_bf16)
    rows: dict[str, Any] = {
        "recipe": training.plan.request.recipe,
        "device": f"{machine.device}, {setting('threads')} thread{'s' if setting('threads') > 1 else ''}",
        "numbers": "bfloat16 in the network, float32 elsewhere" if is_reduced else "float32",
        "each step": f"{size} patches of {setting('patch_px')}×{setting('patch_px')} pixels",
        "kept in memory": f"{setting('cache_share') or 1:.0%} of the images",
        "ends after": _length(training),
        "seed": setting("seed"),
        "output": training.plan.request.output,
    }
    table = _table("Settings", "", "")
    for name, value in rows.items():
        table.add_row(name, Text(str(value)))
    out.print(table)


def _length(training: "runs.Training") -> str:
    setting = training.setting
    if setting("steps") is None:
        return f"{setting('epochs')} epochs of {setting('steps_per_epoch')} steps"
    minutes = setting("minutes")
    ends = f"{setting('steps')} steps" + (f" or {minutes:g} min, whichever is first" if minutes else "")
    patience = setting("patience")
    return ends + (f", or {patience} validations without a better one" if patience else "")


def _what_happens(training: "runs.Training") -> str:
    if not training.plan.makes_bundle:
        return "Now: training, then the images themselves are sent through the network."
    every = training.setting("steps_per_epoch")
    return (
        f"Now: training, with a validation and a checkpoint every {every} steps. Ctrl-C ends it, and "
        "--resume goes on from the last checkpoint. Then the bundle is written, and the images held out are "
        "denoised with it."
    )


@contextmanager
def _bar(console: Console) -> "Iterator[Callable[[runs.Progress], None]]":
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[words]}"), console=console
    )
    with bar:
        started = time.monotonic()
        task = bar.add_task("training", total=1.0, words="")

        def report(now: "runs.Progress") -> None:
            bar.update(task, completed=now.share, words=_state(now, time.monotonic() - started))
            if now.is_over:  # what follows has a bar of its own
                bar.stop()

        yield report


def _lines(console: Console) -> "Callable[[runs.Progress], None]":
    started = said_at = time.monotonic()

    def report(now: "runs.Progress") -> None:
        nonlocal said_at
        moment = time.monotonic()
        if now.is_validated or moment - said_at >= LINE_EVERY_S:
            said_at = moment
            console.print(Text(_state(now, moment - started)))

    return report


def _state(now: "runs.Progress", seconds: float) -> str:
    parts = [f"step {now.step} of {now.steps}"]
    parts += [f"loss {now.loss:.4g}"] if now.loss is not None else []
    parts += [f"{name.replace('_', ' ')} {value:.4g}" for name, value in _as_validation(now.score).items()]
    if 0 < now.share < 1:
        parts.append(f"{duration(seconds * (1 - now.share) / now.share)} left")
    return ", ".join(parts)


def _as_validation(score: Mapping[str, float]) -> dict[str, float]:
    return {("validation loss" if name == "loss" else name): value for name, value in score.items()}


def duration(seconds: float) -> str:
    """Say how long, in words that fit beside a bar."""
    if seconds >= 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"


def _scores(outcome: "runs.Outcome") -> Table:
    table = _table(
        f"Validation after {outcome.steps} steps, {duration(outcome.seconds)}", "Measure", "Input", "Output"
    )
    if not outcome.scores:
        return table
    # What was exported is the best validation by loss; without one, the last.
    final = min(outcome.scores, key=lambda score: score.get("loss", -score["step"]))
    for name, value in final.items():
        if name != "step" and "_input" not in name:
            first, _, unit = name.rpartition("_")
            of_input = final.get(f"{first}_input_{unit}", outcome.input_loss if name == "loss" else None)
            table.add_row(
                name.replace("_", " "), "" if of_input is None else f"{of_input:.4g}", f"{value:.4g}"
            )
    return table


def _noise_gone(share: float) -> str:
    if share <= 0:
        return "So far it is worse than to leave the images as they are: train longer (--steps, --minutes)."
    return (
        "The targets are noisy too, and their noise counts in both losses. "
        f"About {share:.0%} of the variance of the images' own noise is gone: by so much the two differ, in "
        "units of it."
    )


def _table(title: str, *columns: str) -> Table:
    table = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        show_header=any(columns),
    )
    for column in columns:
        table.add_column(column, overflow="fold")
    return table
