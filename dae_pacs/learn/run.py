"""Run a plan in this process, with MONAI's own workflow, and tell how far it is."""

import logging
import os
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

import torch
from ignite.engine import Engine, Events
from monai.bundle import ConfigWorkflow

from dae_pacs.denoise.passes import is_out_of_memory
from dae_pacs.durable import durable_file
from dae_pacs.errors import DaePacsError, TrainingError
from dae_pacs.learn.checkpoint import CHECKPOINT
from dae_pacs.learn.configuration import CONFIGURATION
from dae_pacs.learn.curves import Score, read_scores
from dae_pacs.learn.data import Data
from dae_pacs.learn.plan import PLAIN_LOSS, Plan

SCORES = "scores.jsonl"
LEFT_OUT = "left_out.txt"
OF_A_RUN = (CHECKPOINT, CONFIGURATION, SCORES, LEFT_OUT, "pictures", "denoised", "tensorboard")
"""What a run leaves in its folder, beside the bundle."""
CHATTY = ("monai", "ignite")
OUR_WORDS = {
    "give another --output_dir": "start anew with --replace or in another --output",
    "--resume True": "--resume",
    "--output_dir": "--output",
    "--data_dir": "DATA",
    "--reference_dir": "--reference",
    "--learning_rate": "--set learning_rate=...",
}
"""Options of MONAI's command line, which the parts of a recipe name, as `dae-pacs train` has them."""


@dataclass(frozen=True)
class Progress:
    """How far a run is."""

    share: float
    """0 to 1, by steps or by the clock, whichever is ahead."""
    step: int
    steps: int
    loss: float | None
    """Of the last step."""
    score: Mapping[str, float] = field(default_factory=dict)
    """Of the last validation."""
    is_validated: bool = False
    """Whether that validation is new."""
    is_over: bool = False
    """Whether the last step was done; the bundle and the images come next."""


@dataclass(frozen=True)
class Outcome:
    """What a finished run came to."""

    scores: tuple[Score, ...]
    input_loss: float | None
    """The validation loss of images as they are; None where the recipe can't tell it."""
    steps: int
    seconds: float
    noise_gone: float | None = None
    """Share of the noise's variance that the network took away; None where the losses don't tell it."""


class Training:
    """Owns a workflow that is initialised and not yet run.

    Args:
        plan: of the run.

    Raises:
        DaePacsError: the output folder can't be used, or holds another run.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        with _in_words(plan), _quiet():
            self._workflow = ConfigWorkflow(
                config_file=[str(path) for path in plan.files],
                logging_file=False,
                workflow_type=None,
                **plan.all_overrides,
            )
            self._workflow.initialize()
        if _is_first(plan):
            _keep(plan, CONFIGURATION, plan.configuration)

    def data(self) -> Data:
        """Find the images and, where the recipe says so, measure their noise: those that the run will use.

        Raises:
            DaePacsError: there is nothing to train on.
        """
        with _in_words(self.plan), _quiet(), _interruptible():
            data: Data = self._parsed("data")
        if data.problems and _is_first(self.plan):
            lines = [f"{path}: {reason.removeprefix(f'{path}: ')}\n" for path, reason in data.problems]
            _keep(self.plan, LEFT_OUT, "".join(lines))
        return data

    def setting(self, name: str) -> Any:
        """Give one setting as it will be used; None where the recipe has none of that name."""
        if name not in self._workflow.parser:
            return None
        with _in_words(self.plan):
            return self._parsed(name)

    def run(self, report: Callable[[Progress], None]) -> Outcome:
        """Train, write the bundle, denoise the images that were held out.

        Args:
            report: told of each step and of each validation.

        Raises:
            DaePacsError: what went wrong, and what to do.
            KeyboardInterrupt: someone ended it; the last checkpoint is whole.
        """
        started = monotonic()
        with _in_words(self.plan), _quiet(), _interruptible():
            trainer: Engine = self._parsed("train#trainer")
            rate = self._parsed("rate") if "rate" in self._workflow.parser else None
            _watch(trainer, self._parsed("validate#evaluator"), rate=rate, report=report)
            self._workflow.run()
            self._workflow.finalize()
            scores, input_loss = read_scores(self.plan.request.output / SCORES), self._input_loss()
            return Outcome(
                scores=tuple(scores),
                input_loss=input_loss,
                steps=trainer.state.iteration,
                seconds=monotonic() - started,
                noise_gone=self._noise_gone(scores, input_loss),
            )

    def _parsed(self, name: str) -> Any:
        return self._workflow.parser.get_parsed_content(name)

    def _noise_gone(self, scores: Sequence[Score], input_loss: float | None) -> float | None:
        """Tell the noise from the losses of recorrupted pairs, where the two noises have nothing in common.

        E‖f(y1) − y2‖² = E‖f(y1) − x‖² + var(noise of y2), and the last term is the same for f(y1) = y1, whose
        noise has a variance of 1 (`learn.recorrupt`).
        """
        own_loss = self.plan.merged.get("loss")
        if input_loss is None or not scores or self.plan.request.recipe != "recorrupt":
            return None
        is_plain = isinstance(own_loss, dict) and own_loss.get("_target_") == PLAIN_LOSS
        return input_loss - min(score["loss"] for score in scores) if is_plain else None

    @torch.no_grad()
    def _input_loss(self) -> float | None:
        """Take the validation's loss of its inputs, as if the network returned them."""
        if not self.plan.makes_bundle:
            return None
        evaluator, loss = self._parsed("validate#evaluator"), self._parsed("loss")
        losses = []
        for batch in evaluator.data_loader:
            image, label, *_ = evaluator.prepare_batch(batch, evaluator.state.device)
            if not isinstance(label, torch.Tensor) or label.shape != image.shape:
                return None
            losses.append(float(loss(image, label)))
        return sum(losses) / len(losses)


def clear(plan: Plan) -> None:
    """Remove what an earlier run left in the output folder, and nothing else.

    Raises:
        OSError: something can't be removed.
    """
    for name in (*OF_A_RUN, plan.request.name):
        path = plan.request.output / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _is_first(plan: Plan) -> bool:
    """Tell whether this process is the one that writes, as torchrun numbers them."""
    return not plan.request.is_parallel or os.environ.get("RANK") == "0"


def _keep(plan: Plan, name: str, text: str) -> None:
    """Write a file into the folder of the run.

    Raises:
        TrainingError: it can't be written.
    """
    path = plan.request.output / name
    try:
        with durable_file(path) as file:
            file.write(text.encode())
    except OSError as error:
        raise TrainingError(
            f"{path} can't be written: {error.strerror}. Make room, or name another --output."
        ) from error


def _watch(trainer: Engine, evaluator: Engine, *, rate: Any, report: Callable[[Progress], None]) -> None:
    def tell(*, is_validated: bool = False, is_over: bool = False) -> None:
        state = trainer.state
        steps = int(state.max_epochs or 1) * int(state.epoch_length or 1)
        share = rate.progress(state.iteration + 1) if hasattr(rate, "progress") else state.iteration / steps
        output: Any = state.output
        first = output[0] if isinstance(output, list) and output else output
        loss = float(first["loss"]) if isinstance(first, Mapping) and "loss" in first else None
        score = {name: float(value) for name, value in evaluator.state.metrics.items()}
        report(Progress(share, state.iteration, steps, loss, score, is_validated, is_over))

    trainer.add_event_handler(Events.ITERATION_COMPLETED, tell)
    trainer.add_event_handler(Events.COMPLETED, tell, is_over=True)
    evaluator.add_event_handler(Events.COMPLETED, tell, is_validated=True)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the libraries' own lines off the terminal: whoever called says what there is to say."""
    ours, path = logging.getLogger("dae_pacs.learn"), list(sys.path)
    before = list(ours.handlers), ours.level, ours.propagate
    # Each module of MONAI has a logger with a level and a handler of its own.
    known = [name for name in logging.root.manager.loggerDict if name.partition(".")[0] in CHATTY]
    levels = {name: logging.getLogger(name).level for name in (*CHATTY, *known)}
    for name in levels:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    ours.handlers = [logging.NullHandler()]  # with a handler there, `start_run` adds none
    ours.propagate = logging.getLogger("dae_pacs").isEnabledFor(logging.DEBUG)  # `dae-pacs --verbose`
    try:
        yield
    finally:
        ours.handlers, ours.propagate = before[0], before[2]
        ours.setLevel(before[1])
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
        sys.path[:] = path  # to which MONAI adds the recipe's folder


class _Interrupted(KeyboardInterrupt):
    """Ctrl-C while a recipe runs."""


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let Ctrl-C end the run, and the caller choose the exit code.

    MONAI runs a recipe through eval(). CPython takes a plain KeyboardInterrupt that leaves eval() for one
    that nobody handles, and later ends the process by the signal, whatever its exit code should have been.
    """

    def stop(_number: int, _frame: object) -> None:
        raise _Interrupted

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _in_words(plan: Plan) -> Iterator[None]:
    """Find our own error in what MONAI wraps around it, and name its remedy as this command has it."""
    try:
        yield
    except DaePacsError as error:
        raise type(error)(_translated(str(error))) from error
    except RuntimeError as error:
        explained = _explained(error, plan)
        if explained is None:
            raise
        raise explained from error


def _explained(error: RuntimeError, plan: Plan) -> DaePacsError | None:
    chain = list(_causes(error))
    for cause in chain:
        if isinstance(cause, DaePacsError):
            return type(cause)(_translated(str(cause)))
        if isinstance(cause, OSError):
            where = cause.filename or plan.request.output
            return TrainingError(
                f"{where}: {cause.strerror or cause}. Check that it exists and may be used, and that its "
                "disk has room; --resume goes on from the last checkpoint."
            )
    root = chain[-1]
    if is_out_of_memory(root):
        return TrainingError(
            f"There is not enough memory to train on {plan.machine.device}. Take smaller patches or batches "
            "(--set patch_px=64, --set batch_images=1), keep fewer images in memory (--set cache_share=0.2), "
            "or stop other programs."
        )
    if plan.request.settings:
        names = ", ".join(plan.request.settings)
        return TrainingError(
            f"The recipe can't run with these settings: {type(root).__name__}: {root}. Look at what --set "
            f"gave ({names})."
        )
    return None


def _causes(error: BaseException) -> Iterator[BaseException]:
    found: BaseException | None = error
    while found is not None:
        yield found
        found = found.__cause__


def _translated(words: str) -> str:
    for theirs, ours in OUR_WORDS.items():
        words = words.replace(theirs, ours)
    return words
