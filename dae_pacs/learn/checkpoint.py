"""Checkpoints: a run that was cut off goes on where its last whole epoch ended."""

import io
import logging
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Protocol

import torch
from ignite.engine import Engine, Events

from dae_pacs.durable import durable_file
from dae_pacs.errors import TrainingError

logger = logging.getLogger(__name__)

CHECKPOINT = "checkpoint_last.pt"


class Stateful(Protocol):
    """What torch's modules, optimisers and schedulers have in common."""

    def state_dict(self) -> Mapping[str, Any]:
        """Give all that it needs to go on."""
        ...

    def load_state_dict(self, state: Any, /) -> Any:
        """Go on from that."""
        ...


class Checkpoint:
    """Save after each epoch, durably and whole: the file of the epoch before stays until then.

    MONAI's CheckpointSaver writes in place: on a full disk half a file is what is left.

    Args:
        folder: of the run.
        states: objects by name.
    """

    def __init__(self, folder: str | Path, *, states: Mapping[str, Stateful]) -> None:
        self.path = Path(folder) / CHECKPOINT
        self.states = states

    def attach(self, engine: Engine) -> None:
        """Save when a trainer's epoch ends; attach it last."""
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Save once.

        Raises:
            TrainingError: the disk is full, or the folder can't be written.
        """
        content = io.BytesIO()  # a few tens of MB; torch.save on a path hides why it failed
        states = {name: dict(held.state_dict()) for name, held in self.states.items()}
        torch.save({"epoch": engine.state.epoch, "iteration": engine.state.iteration, **states}, content)
        try:
            with durable_file(self.path) as file:
                file.write(content.getbuffer())
        except OSError as error:
            raise TrainingError(
                f"{self.path} can't be written at step {engine.state.iteration}: {error.strerror}. "
                "Make room there, and go on from the checkpoint before, if there was one, with --resume True."
            ) from error


class Resume:
    """Load a checkpoint when a trainer starts, and let it count on from there.

    Args:
        folder: of the run.
        states: objects by name, as they were saved.
    """

    def __init__(self, folder: str | Path, *, states: Mapping[str, Stateful]) -> None:
        self.path = Path(folder) / CHECKPOINT
        self.states = states

    def attach(self, engine: Engine) -> None:
        """Load before any other handler looks; attach it first."""
        engine.add_event_handler(Events.STARTED, self)

    def __call__(self, engine: Engine) -> None:
        """Load once.

        Raises:
            TrainingError: there is no checkpoint, or it is of another run.
        """
        remedy = "Start again in another --output_dir."
        try:
            held = torch.load(self.path, map_location="cpu", weights_only=True)
            for name, state in self.states.items():
                state.load_state_dict(held[name])
            engine.state.epoch, engine.state.iteration = int(held["epoch"]), int(held["iteration"])
        except OSError as error:
            raise TrainingError(f"{self.path} can't be read: {error.strerror}. {remedy}") from error
        except (RuntimeError, ValueError, KeyError, TypeError, EOFError, UnpicklingError) as error:
            raise TrainingError(
                f"{self.path} is no checkpoint of this recipe ({type(error).__name__}: {error}). {remedy}"
            ) from error
        logger.info("goes on after step %d", engine.state.iteration)
