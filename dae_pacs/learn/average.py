"""A running average of the weights: quieter than the last ones, and what is validated and exported."""

from copy import deepcopy

import torch
from ignite.engine import Engine, Events
from torch import Tensor, nn

SOON_STEPS = 9
"""After t steps the average looks back about t / 9 of them, until `momentum` holds it longer."""


class RunningAverage:
    """Average exponentially after each step, over a time that grows with the run.

    ignite's EMAHandler looks back equally far from the first step on, so that after a few hundred steps a
    third of its average is still the untrained network.

    Args:
        model: whose weights are averaged; it has no buffers.
        momentum: share of the newest weights in the end; 0.005 looks back over about 200 steps.
    """

    def __init__(self, model: nn.Module, *, momentum: float = 0.005) -> None:
        self.model = model
        self.momentum = momentum
        self.ema_model = deepcopy(model).eval().requires_grad_(requires_grad=False)

    def attach(self, engine: Engine) -> None:
        """Average after each iteration of a trainer."""
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    @torch.no_grad()
    def __call__(self, engine: Engine) -> None:
        """Take in the weights of one step."""
        share = max(self.momentum, SOON_STEPS / (SOON_STEPS + engine.state.iteration))
        averaged: list[Tensor] = list(self.ema_model.parameters())
        newest: list[Tensor] = list(self.model.parameters())
        torch._foreach_lerp_(averaged, newest, share)
