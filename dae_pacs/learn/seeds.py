"""What a run draws: the same again for the same seed, but different in each process and after each resume."""

from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from monai.data.utils import set_rnd


class SeedDraws:
    """Seed all that is drawn while training: patches, their noise, their order.

    Args:
        seed: of the run.
        rank: of this process; processes with the same draws would learn from the same patches.
    """

    def __init__(self, seed: int, *, rank: int = 0) -> None:
        self.seed = seed
        self.rank = rank

    def attach(self, engine: Engine) -> None:
        """Seed when a trainer starts; attach it after `Resume`."""
        engine.add_event_handler(Events.STARTED, self)

    def __call__(self, engine: Engine) -> None:
        """Seed torch, and the transforms that draw for themselves."""
        entropy = [self.seed, self.rank, engine.state.epoch]
        drawn = int(np.random.SeedSequence(entropy).generate_state(1)[0])
        torch.manual_seed(drawn)
        loader: Any = engine.state.dataloader
        set_rnd(loader.dataset, drawn)
