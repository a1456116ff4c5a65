"""The running average of the weights."""

import pytest
import torch
from ignite.engine import Engine

from dae_pacs.learn.average import RunningAverage


def average_of(values: list[float], *, momentum: float) -> float:
    model = torch.nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        model.weight.fill_(1000.0)  # what an untrained network is
    average = RunningAverage(model, momentum=momentum)

    def step(_engine: Engine, value: float) -> None:
        with torch.no_grad():
            model.weight.fill_(value)

    engine = Engine(step)
    average.attach(engine)
    engine.run(values)
    return average.ema_model.weight.item()


def test_the_untrained_network_is_soon_forgotten() -> None:
    assert average_of([1.0] * 100, momentum=0.005) == pytest.approx(1.0, abs=1e-3)


def test_in_the_end_it_is_exponential_with_the_given_momentum() -> None:
    before = average_of([1.0] * 400, momentum=0.1)
    after = average_of([1.0] * 400 + [2.0], momentum=0.1)
    assert after - before == pytest.approx(0.1, rel=1e-3)


def test_it_is_no_part_of_what_is_trained() -> None:
    model = torch.nn.Linear(2, 2)
    average = RunningAverage(model)
    assert not average.ema_model.training
    assert not any(weight.requires_grad for weight in average.ema_model.parameters())
    assert all(weight.requires_grad for weight in model.parameters())
