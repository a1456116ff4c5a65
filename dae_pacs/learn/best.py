"""Keep the weights of the best validation, and end a run that no longer finds better ones."""

import logging
import math
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from ignite.engine import Engine, Events
from torch import Tensor, nn

logger = logging.getLogger(__name__)


class KeepBest:
    """Copy the weights whenever a validation has the lowest loss so far.

    They, and not the last ones, are what a run exports: the two hardly differ where the learning rate falls
    to nothing, but a run that is ended early, or learns the noise by heart, was better before its end.

    Args:
        network: validated; its weights are copied.
        evaluator: that validates it.
        patience: so many validations in a row without a lower loss end the run.
        metric: of the evaluator; lower is better.
    """

    def __init__(self, network: nn.Module, evaluator: Engine, *, patience: int, metric: str = "loss") -> None:
        self.network = network
        self.evaluator = evaluator
        self.patience = patience
        self.metric = metric
        self.lowest = math.inf
        self.epoch = 0
        self.waited = 0
        self.weights: dict[str, Tensor] = {}

    def attach(self, engine: Engine) -> None:
        """Look after each epoch of a trainer; attach it after the handler that validates."""
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Compare this epoch's validation, if there was one, with the best."""
        if self.evaluator.state.epoch != engine.state.epoch:
            return
        loss = float(self.evaluator.state.metrics[self.metric])
        if loss < self.lowest:
            self.lowest, self.epoch, self.waited = loss, engine.state.epoch, 0
            self.weights = {name: value.detach().clone() for name, value in self.network.state_dict().items()}
            return
        self.waited += 1
        if self.waited >= self.patience:
            logger.info(
                "ended early: %d validations in a row were no better than epoch %d's", self.waited, self.epoch
            )
            engine.terminate()

    def kept(self) -> nn.Module:
        """Give a network with the best weights; without any validation, those that it has."""
        network = deepcopy(self.network)
        if self.weights:
            network.load_state_dict(self.weights)
        return network

    def state_dict(self) -> dict[str, Any]:
        """Give what a checkpoint keeps."""
        return {
            "lowest": self.lowest,
            "epoch": self.epoch,
            "waited": self.waited,
            "weights": dict(self.weights),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what a checkpoint kept."""
        self.lowest, self.epoch = float(state["lowest"]), int(state["epoch"])
        self.waited, self.weights = int(state["waited"]), dict(state["weights"])
