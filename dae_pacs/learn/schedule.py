"""The learning rate over a run that ends by steps or by the clock, whichever comes first."""

import math
from collections.abc import Callable, Mapping
from time import monotonic

from ignite.engine import Engine, Events
from torch.optim import Optimizer

END_SHARE = 1e-3
"""Of the first learning rate, at the end: small enough that the weights have come to rest."""


class CosineRate:
    """Raise the learning rate over the first steps, then let it fall along half a cosine.

    Under `minutes` the fall follows the clock, so that a run on a busy machine ends in time and at rest; the
    epoch in which the time ends is finished, so that its validation is of the last weights.

    Args:
        optimizer: whose rates at the start are the highest.
        steps: of the whole run.
        minutes: None leaves the clock out.
        warm_up_steps: to reach the highest rate.
        clock: seconds that only grow; tests bring their own.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        *,
        steps: int,
        minutes: float | None = None,
        warm_up_steps: int = 100,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.optimizer = optimizer
        self.steps = steps
        self.seconds = math.inf if minutes is None else 60 * minutes
        self.warm_up_steps = warm_up_steps
        self.clock = clock
        self.highest = [float(group["lr"]) for group in optimizer.param_groups]
        self.seconds_before = 0.0
        self.started_at = clock()

    def attach(self, engine: Engine) -> None:
        """Set the rate before each iteration of a trainer; end the run after the epoch that uses it up."""
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_STARTED, self)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._end)

    def __call__(self, engine: Engine) -> None:
        """Set the rate of one iteration."""
        share = self.share(engine.state.iteration)
        for group, highest in zip(self.optimizer.param_groups, self.highest, strict=True):
            group["lr"] = highest * share

    def share(self, step: int) -> float:
        """Give the rate at a step (the first is 1), as a share of the highest."""
        warm = min(1.0, step / max(self.warm_up_steps, 1))
        fall = (1 + math.cos(math.pi * self.progress(step))) / 2
        return warm * max(fall, END_SHARE)

    def progress(self, step: int) -> float:
        """Give the share of the run that is over, by steps or by the clock."""
        return min(1.0, max((step - 1) / self.steps, self._seconds_used() / self.seconds))

    def state_dict(self) -> dict[str, float]:
        """Give what a checkpoint keeps: the time used so far."""
        return {"seconds": self._seconds_used()}

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """Go on from what a checkpoint kept."""
        self.seconds_before = float(state["seconds"])

    def _seconds_used(self) -> float:
        return self.seconds_before + self.clock() - self.started_at

    def _start(self, engine: Engine) -> None:
        self.started_at = self.clock()
        self._end(engine)  # a run that is resumed may have used up its time

    def _end(self, engine: Engine) -> None:
        if self.progress(engine.state.iteration + 1) >= 1.0:
            engine.state.max_epochs = engine.state.epoch
