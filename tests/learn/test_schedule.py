"""The learning rate by steps and by the clock."""

import pytest
import torch
from ignite.engine import Engine

from dae_pacs.learn.schedule import END_SHARE, CosineRate


def optimizer() -> torch.optim.Optimizer:
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=2.0)


def test_it_warms_up_and_falls_along_half_a_cosine() -> None:
    rate = CosineRate(optimizer(), steps=1000, warm_up_steps=10)
    assert rate.share(1) == pytest.approx(0.1, rel=1e-3)
    assert rate.share(501) == pytest.approx(0.5, rel=1e-3)
    assert rate.share(1001) == END_SHARE
    shares = [rate.share(step) for step in range(10, 1001, 10)]
    assert shares == sorted(shares, reverse=True)


def test_a_run_ends_by_the_clock_with_the_epoch_finished() -> None:
    now = [0.0]
    rates: list[float] = []
    sgd = optimizer()

    def step(_engine: Engine, _batch: object) -> None:
        now[0] += 10.0
        rates.append(sgd.param_groups[0]["lr"])

    engine = Engine(step)
    CosineRate(sgd, steps=10_000, minutes=1.0, warm_up_steps=0, clock=lambda: now[0]).attach(engine)
    state = engine.run(range(4), max_epochs=100)
    assert state.epoch == 2
    assert len(rates) == 8
    assert rates[0] == pytest.approx(2.0)
    assert rates[-1] == pytest.approx(2.0 * END_SHARE)


def test_a_resumed_run_goes_on_with_the_time_that_was_left() -> None:
    now = [0.0]
    first = CosineRate(optimizer(), steps=1000, minutes=1.0, clock=lambda: now[0])
    now[0] = 45.0
    state = first.state_dict()
    now[0] = 10_000.0
    second = CosineRate(optimizer(), steps=1000, minutes=1.0, clock=lambda: now[0])
    second.load_state_dict(state)
    assert second.progress(1) == pytest.approx(0.75)


def test_a_resumed_run_whose_time_is_up_takes_no_step_more() -> None:
    rate = CosineRate(optimizer(), steps=1000, minutes=1.0)
    rate.load_state_dict({"seconds": 61.0})
    engine = Engine(lambda _engine, _batch: None)
    rate.attach(engine)
    assert engine.run(range(4), max_epochs=3).iteration == 0


def test_without_a_clock_a_run_takes_its_steps() -> None:
    engine = Engine(lambda _engine, _batch: None)
    CosineRate(optimizer(), steps=12).attach(engine)
    assert engine.run(range(4), max_epochs=3).iteration == 12
