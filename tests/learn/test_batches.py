"""What happens to a batch between loader and network, inside MONAI's own engines."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from monai.data import DataLoader, Dataset
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.inferers import SimpleInferer

from dae_pacs.errors import TrainingError
from dae_pacs.learn.batches import NoiseBlindInferer, unfold_channels
from dae_pacs.learn.network import make_network
from dae_pacs.learn.recorrupt import Recorrupted
from dae_pacs.noise.model import affine

SMALL = {"channels": [8, 16], "strides": [2], "residual_units": 1, "features": 8}


def test_channels_become_images_side_by_side() -> None:
    image = torch.arange(3 * 2 * 4 * 5, dtype=torch.float32).reshape(3, 2, 4, 5)
    seen, label = unfold_channels({"image": image, "label": -image}, "cpu", False)
    assert seen.shape == (6, 1, 4, 5)
    assert torch.equal(seen[2:4, 0], image[1])
    assert torch.equal(label, -seen)


def loader(count: int) -> DataLoader:
    text = affine(gain=0.0, offset=1.0, low=0.0, high=1.0).to_json()
    planes = np.random.default_rng(0).normal(size=(count, 1, 32, 32)).astype(np.float32)
    items = [{"image": torch.from_numpy(plane), "noise": text} for plane in planes]
    return DataLoader(Dataset(items, Recorrupted("image").set_random_state(seed=0)), batch_size=2)


def test_a_trainer_and_an_evaluator_run_on_antithetic_pairs() -> None:
    torch.manual_seed(0)
    network = make_network(SMALL)
    trainer = SupervisedTrainer(
        device=torch.device("cpu"),
        max_epochs=1,
        train_data_loader=loader(4),
        network=network,
        optimizer=torch.optim.Adam(network.parameters(), lr=1e-3),
        loss_function=torch.nn.MSELoss(),
        inferer=NoiseBlindInferer(copies=2),
        prepare_batch=unfold_channels,
        decollate=False,
    )
    trainer.run()
    output: Any = trainer.state.output
    assert output["pred"].shape == output["label"].shape == (4, 1, 32, 32)
    assert torch.isfinite(output["loss"])
    evaluator = SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=loader(2),
        network=network,
        prepare_batch=unfold_channels,
    )
    evaluator.run()
    assert [item["pred"].shape for item in evaluator.state.output] == [(1, 32, 32)] * 4


def test_the_network_sees_scaled_images_and_the_loss_unscaled_ones() -> None:
    seen = []

    def network(inputs: torch.Tensor) -> torch.Tensor:
        seen.append(inputs)
        return inputs + 1

    torch.manual_seed(0)
    image = torch.randn(6, 1, 8, 8)
    output = NoiseBlindInferer((0.5, 2.0), copies=2)(image, network)
    factors = (seen[0] / image).mean(dim=(1, 2, 3))
    torch.testing.assert_close(output, image + 1 / factors.reshape(-1, 1, 1, 1))
    torch.testing.assert_close(factors[::2], factors[1::2])
    assert len(factors.unique()) >= 3


def test_factors_are_drawn_evenly_in_log() -> None:
    torch.manual_seed(0)
    drawn = NoiseBlindInferer((0.5, 2.0)).draw(4000, torch.device("cpu"))
    assert float(drawn.min()) >= 0.5
    assert float(drawn.max()) <= 2.0
    assert float(drawn.log().mean()) == pytest.approx(0, abs=4 * np.log(4) / np.sqrt(12 * 4000))
    assert float((drawn < 1).float().mean()) == pytest.approx(0.5, abs=4 * 0.5 / np.sqrt(4000))


@pytest.mark.parametrize("inferer", [None, SimpleInferer()])
def test_a_factor_of_one_changes_nothing(inferer: Callable[..., torch.Tensor] | None) -> None:
    image = torch.randn(3, 1, 8, 8)
    assert torch.equal(NoiseBlindInferer((1.0, 1.0), inferer=inferer)(image, torch.sin), image.sin())


@pytest.mark.parametrize("factors", [(0.0, 2.0), (2.0, 0.5)])
def test_impossible_factors_are_refused_in_words(factors: tuple[float, float]) -> None:
    with pytest.raises(TrainingError, match="expected two numbers above 0"):
        NoiseBlindInferer(factors)
