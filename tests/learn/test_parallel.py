"""Several processes of one run; two of them train together in tests/training."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.distributed
from ignite.engine import Engine

from dae_pacs.errors import TrainingError
from dae_pacs.learn.parallel import KeepInStep, join


def test_without_torchrun_it_is_said_how_to_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    with pytest.raises(TrainingError, match="Start it by `torchrun"):
        join()


@pytest.fixture
def group(tmp_path: Path) -> Iterator[None]:
    """A process group of this process alone."""
    store = torch.distributed.FileStore(str(tmp_path / "store"), 1)
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.usefixtures("group")
def test_the_first_process_keeps_its_own_rate_and_end() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.25)
    engine = Engine(lambda _engine, _batch: None)
    KeepInStep(optimizer, device=torch.device("cpu")).attach(engine)
    assert engine.run(range(3), max_epochs=2).iteration == 6
    assert optimizer.param_groups[0]["lr"] == 0.25
