"""A run that was cut off goes on where it was."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from ignite.engine import Engine

from dae_pacs.errors import TrainingError
from dae_pacs.learn.checkpoint import CHECKPOINT, Checkpoint, Resume
from dae_pacs.learn.schedule import CosineRate


def trainer(folder: Path, *, epochs: int, resume: bool = False) -> tuple[Engine, torch.nn.Module]:
    """Build a tiny training of 12 steps in 3 epochs; `epochs` of them are run."""
    torch.manual_seed(0)
    network = torch.nn.Linear(3, 1)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.1)
    rate = CosineRate(optimizer, steps=12, warm_up_steps=2)
    inputs = torch.randn(4, 8, 3)

    def step(_engine: Engine, place: int) -> dict[str, torch.Tensor]:
        optimizer.zero_grad()
        loss = (network(inputs[place]) - inputs[place].sum(1, keepdim=True)).square().mean()
        loss.backward()
        optimizer.step()
        return {"loss": loss.detach()}

    engine = Engine(step)
    states = {"network": network, "optimizer": optimizer, "rate": rate}
    if resume:
        Resume(folder, states=states).attach(engine)
    rate.attach(engine)
    Checkpoint(folder, states=states).attach(engine)
    engine.logger.disabled = True
    engine.run(range(4), max_epochs=epochs)
    return engine, network


def test_a_resumed_run_ends_with_the_weights_of_one_that_was_not_cut_off(tmp_path: Path) -> None:
    (tmp_path / "whole").mkdir()
    _, whole = trainer(tmp_path / "whole", epochs=3)
    trainer(tmp_path, epochs=1)
    engine, resumed = trainer(tmp_path, epochs=3, resume=True)
    assert (engine.state.epoch, engine.state.iteration) == (3, 12)
    torch.testing.assert_close(resumed.state_dict(), whole.state_dict())


def test_a_finished_run_has_nothing_to_go_on_with(tmp_path: Path) -> None:
    _, before = trainer(tmp_path, epochs=3)
    engine, after = trainer(tmp_path, epochs=3, resume=True)
    assert engine.state.iteration == 12
    torch.testing.assert_close(after.state_dict(), before.state_dict())


def test_a_missing_checkpoint_is_said_in_words(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"checkpoint_last\.pt can't be read: No such file"):
        trainer(tmp_path, epochs=1, resume=True)


@pytest.mark.parametrize("content", [b"", b"no checkpoint", b"PK\x03\x04 cut off"])
def test_a_broken_checkpoint_is_said_in_words(tmp_path: Path, content: bytes) -> None:
    (tmp_path / CHECKPOINT).write_bytes(content)
    with pytest.raises(TrainingError, match="is no checkpoint of this recipe"):
        trainer(tmp_path, epochs=1, resume=True)


def test_another_networks_checkpoint_is_said_in_words(tmp_path: Path) -> None:
    torch.save({"network": torch.nn.Linear(7, 7).state_dict()}, tmp_path / CHECKPOINT)
    with pytest.raises(TrainingError, match="is no checkpoint of this recipe"):
        trainer(tmp_path, epochs=1, resume=True)


@contextmanager
def disk_of(most_bytes: int) -> Iterator[None]:
    """Let any larger file fail, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_on_a_full_disk_the_checkpoint_before_stays_whole(tmp_path: Path) -> None:
    trainer(tmp_path, epochs=1)
    before = (tmp_path / CHECKPOINT).read_bytes()
    with disk_of(500), pytest.raises(TrainingError, match=r"can't be written at step 8.*--resume True"):
        trainer(tmp_path, epochs=2, resume=True)
    assert (tmp_path / CHECKPOINT).read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == [CHECKPOINT]
