"""What happens at the events of a training run: stop on a broken loss, keep score, keep pictures."""

import json
import logging
import math
from pathlib import Path
from typing import Any

import numpy as np
from ignite.engine import Engine, Events
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.tensorboard.writer import SummaryWriter

from dae_pacs.durable import durable_file
from dae_pacs.errors import TrainingError
from dae_pacs.image.picture import side_by_side

logger = logging.getLogger(__name__)


class StopOnBrokenLoss:
    """End the run with words once the loss is no number: every weight after that is lost."""

    def attach(self, engine: Engine) -> None:
        """Watch each iteration of a trainer."""
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Check one iteration.

        Raises:
            TrainingError: the loss is NaN or infinite.
        """
        output = engine.state.output
        first: Any = output[0] if isinstance(output, list) else output
        loss = float(first["loss"])
        if not math.isfinite(loss):
            raise TrainingError(
                f"the loss became {loss} at step {engine.state.iteration}. "
                "Lower the learning rate (--learning_rate), or look for broken pixels in the images."
            )


class ScoreFile:
    """Append each validation's metrics to a JSON-lines file, to the log, and to TensorBoard if asked.

    Args:
        path: of the file; its folder is made.
        steps_per_epoch: to give each line its step.
        writer: of TensorBoard events; None writes none.
    """

    def __init__(
        self, path: str | Path, *, steps_per_epoch: int, writer: SummaryWriter | None = None
    ) -> None:
        self.path = Path(path)
        self.steps_per_epoch = steps_per_epoch
        self.writer = writer

    def attach(self, engine: Engine) -> None:
        """Write after each run of an evaluator."""
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Write one line; lines of this step and later ones are of a run that was cut off and resumed.

        Raises:
            TrainingError: the disk is full, or the folder can't be written.
        """
        step = engine.state.epoch * self.steps_per_epoch
        scores = {name: round(float(value), 4) for name, value in engine.state.metrics.items()}
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            before = [line for line in self._lines() if json.loads(line)["step"] < step]
            with durable_file(self.path) as file:
                file.write("\n".join([*before, json.dumps({"step": step, **scores}), ""]).encode())
        except OSError as error:
            raise _not_written(self.path, error) from error
        logger.info("step %d: %s", step, ", ".join(f"{name} {value:.4f}" for name, value in scores.items()))
        if self.writer is not None:
            for name, value in scores.items():
                self.writer.add_scalar(name, value, step)
            self.writer.flush()

    def _lines(self) -> list[str]:
        return self.path.read_text(encoding="utf-8").splitlines() if self.path.is_file() else []


class PictureFolder:
    """Save before, after and removed of the first images of each validation.

    Args:
        folder: made if missing; one PNG per picture, named by epoch and place.
        most: pictures per validation.
    """

    def __init__(self, folder: str | Path, *, most: int = 3) -> None:
        self.folder = Path(folder)
        self.most = most

    def attach(self, engine: Engine) -> None:
        """Save after each iteration of an evaluator."""
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Save one picture while there are fewer than `most`.

        Raises:
            TrainingError: the disk is full, or the folder can't be written.
        """
        if engine.state.iteration > self.most:
            return
        output: Any = engine.state.output
        first = output[0] if isinstance(output, list) else output
        before, after = _plane(first["image"]), _plane(first["pred"])
        low, high = np.percentile(before, (0.5, 99.5))
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            side_by_side(
                before,
                after,
                self.folder / f"epoch_{engine.state.epoch:04d}_{engine.state.iteration:02d}.png",
                window=(float(low + high) / 2, max(float(high - low), 1e-6)),
                caption=f"validation image {engine.state.iteration}, epoch {engine.state.epoch}",
            )
        except OSError as error:
            raise _not_written(self.folder, error) from error


def _not_written(path: Path, error: OSError) -> TrainingError:
    return TrainingError(
        f"{path} can't be written: {error.strerror}. Make room there; --resume True goes on from the last "
        "checkpoint."
    )


def _plane(image: Tensor) -> NDArray[np.float32]:
    plane = image.detach().float().cpu().numpy()
    return np.asarray(plane.reshape(plane.shape[-2:]), dtype=np.float32)
