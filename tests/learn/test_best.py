"""The best weights are kept, and a run that finds none better ends."""

import math
from collections.abc import Sequence

import torch
from ignite.engine import Engine, Events

from dae_pacs.learn.best import KeepBest


def run(losses: Sequence[float], *, patience: int, keep: KeepBest | None = None) -> tuple[KeepBest, Engine]:
    """Run one epoch per validation loss; the one weight is the number of the epoch."""
    network = torch.nn.Linear(1, 1, bias=False)
    evaluator = Engine(lambda _engine, _batch: None)

    def validate(engine: Engine) -> None:
        with torch.no_grad():
            network.weight.fill_(float(engine.state.epoch))
        evaluator.state.epoch = engine.state.epoch
        evaluator.state.metrics = {"loss": losses[engine.state.epoch - 1]}

    trainer = Engine(lambda _engine, _batch: None)
    trainer.add_event_handler(Events.EPOCH_COMPLETED, validate)
    keep = KeepBest(network, evaluator, patience=patience)
    keep.attach(trainer)
    trainer.run([0], max_epochs=len(losses))
    return keep, trainer


def test_the_weights_of_the_lowest_loss_are_kept() -> None:
    keep, _ = run([3.0, 1.0, 2.0, 1.5], patience=10)
    assert keep.kept().weight.item() == 2.0
    assert keep.network.weight.item() == 4.0


def test_a_run_ends_after_so_many_validations_without_a_better_one() -> None:
    keep, trainer = run([3.0, 1.0, 2.0, 1.5, 1.0, 0.5], patience=3)
    assert trainer.state.epoch == 5
    assert keep.epoch == 2


def test_a_loss_that_is_no_number_is_never_the_best() -> None:
    keep, _ = run([3.0, math.nan], patience=5)
    assert keep.lowest == 3.0


def test_an_epoch_without_a_validation_does_not_count() -> None:
    keep, trainer = run([1.0], patience=1)
    keep.evaluator.state.epoch = 0
    keep(trainer)
    assert keep.waited == 0


def test_without_a_validation_the_network_itself_is_exported() -> None:
    network = torch.nn.Linear(1, 1)
    keep = KeepBest(network, Engine(lambda _engine, _batch: None), patience=1)
    torch.testing.assert_close(keep.kept().state_dict(), network.state_dict())


def test_a_resumed_run_goes_on_waiting() -> None:
    before, _ = run([1.0, 2.0, 3.0], patience=10)
    after = KeepBest(torch.nn.Linear(1, 1, bias=False), before.evaluator, patience=10)
    after.load_state_dict(before.state_dict())
    assert (after.lowest, after.epoch, after.waited) == (1.0, 1, 2)
    assert after.kept().weight.item() == 1.0
