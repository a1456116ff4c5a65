"""Train in several processes that torchrun started: torch's DistributedDataParallel, as MONAI does it."""

import os
from dataclasses import dataclass

import torch
import torch.distributed
from ignite.engine import Engine, Events
from torch.optim import Optimizer

from dae_pacs.errors import TrainingError


@dataclass(frozen=True)
class Process:
    """One of the processes of a run."""

    rank: int
    """0 for the first, which alone writes files."""
    count: int
    device: torch.device

    def leave(self) -> None:
        """End together with the others."""
        torch.distributed.destroy_process_group()


def join() -> Process:
    """Meet the other processes: over NCCL where there is a GPU for each on this machine, else over gloo.

    Raises:
        TrainingError: this process was not started by torchrun, or can't meet the others.
    """
    if not torch.distributed.is_torchelastic_launched():
        raise TrainingError(
            "parallel.yaml needs several processes. Start it by `torchrun --nproc_per_node=2 -m monai.bundle "
            "run ...`, or leave it out."
        )
    # torchrun tells a process its place through these alone (torch.distributed.run, "Environment Variables").
    local_rank, local_count = (int(os.environ[name]) for name in ("LOCAL_RANK", "LOCAL_WORLD_SIZE"))
    has_gpu = torch.cuda.is_available() and local_count <= torch.cuda.device_count()
    device = torch.device("cuda", local_rank) if has_gpu else torch.device("cpu")
    if has_gpu:
        torch.cuda.set_device(device)
    try:
        torch.distributed.init_process_group("nccl" if has_gpu else "gloo")
    except (RuntimeError, ValueError) as error:
        raise TrainingError(
            f"The processes can't meet: {error}. Look at torchrun's --rdzv options."
        ) from error
    return Process(torch.distributed.get_rank(), torch.distributed.get_world_size(), device)


class KeepInStep:
    """Give each process the first one's learning rate and end: clocks differ, and so would the weights.

    Args:
        optimizer: of the run.
        device: that the processes talk from.
    """

    def __init__(self, optimizer: Optimizer, *, device: torch.device) -> None:
        self.optimizer = optimizer
        self.device = device

    def attach(self, engine: Engine) -> None:
        """Agree before each step and after each epoch; attach it last."""
        engine.add_event_handler(Events.STARTED | Events.EPOCH_COMPLETED, self._agree_on_end)
        engine.add_event_handler(Events.ITERATION_STARTED, self._agree_on_rate)

    def _agree_on_rate(self, _: Engine) -> None:
        groups = self.optimizer.param_groups
        rates = self._of_first([float(group["lr"]) for group in groups])
        for group, rate in zip(groups, rates, strict=True):
            group["lr"] = rate

    def _agree_on_end(self, engine: Engine) -> None:
        last, ends = self._of_first([engine.state.max_epochs or 0, float(bool(engine.should_terminate))])
        engine.state.max_epochs = int(last)
        if ends:
            engine.terminate()

    def _of_first(self, values: list[float]) -> list[float]:
        told = torch.tensor(values, dtype=torch.float64, device=self.device)
        torch.distributed.broadcast(told, src=0)
        return [float(value) for value in told]
