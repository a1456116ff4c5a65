"""Neighbours of one image as a pair, and the regulariser that knows they differ."""

from collections import Counter
from typing import Any

import numpy as np
import torch
from monai.data import DataLoader, Dataset
from monai.engines import SupervisedTrainer
from monai.handlers import StatsHandler, from_engine

from dae_pacs.learn.losses import NeighbourError
from dae_pacs.learn.network import make_network
from dae_pacs.learn.subsample import ADJACENT, RegularisedBatch, Subsampled, take

SMALL = {"channels": [8, 16], "strides": [2], "residual_units": 1, "features": 8}
NUMBERED = torch.arange(48 * 48, dtype=torch.float32).reshape(1, 48, 48)


def subsampled(**more: Any) -> dict[Any, Any]:
    return Subsampled("image").set_random_state(seed=0)({"image": NUMBERED, **more})


def test_a_pair_is_made_of_pixels_that_share_a_side_within_their_cell() -> None:
    made = subsampled()
    first, second = made["image"][0].long(), made["label"][0].long()
    assert first.shape == second.shape == (24, 24)
    rows, columns = torch.meshgrid(torch.arange(24), torch.arange(24), indexing="ij")
    for side in (first, second):
        assert torch.equal(side // 48 // 2, rows)
        assert torch.equal(side % 48 // 2, columns)
    distance = (first // 48 - second // 48).abs() + (first % 48 - second % 48).abs()
    assert (distance == 1).all()


def test_all_eight_pairs_are_drawn_alike() -> None:
    cells = subsampled()["image_cells"].flatten(1).T.tolist()
    counts = Counter(map(tuple, cells))
    assert set(counts) == {tuple(pair) for pair in ADJACENT.tolist()}
    expected = 24 * 24 / 8
    assert all(abs(count - expected) < 4.5 * np.sqrt(expected) for count in counts.values())


def test_an_odd_border_is_dropped() -> None:
    made = Subsampled("image")({"image": torch.zeros(1, 33, 47)})
    assert made["image"].shape == (1, 16, 23)
    assert made["image_whole"].shape == (1, 32, 46)


def test_a_validation_item_gives_the_same_pair_each_time() -> None:
    transform = Subsampled("image").set_random_state(seed=0)
    fixed = [transform({"image": NUMBERED, "seed": 4})["image"] for _ in range(2)]
    drawn = [transform({"image": NUMBERED})["image"] for _ in range(2)]
    assert torch.equal(*fixed)
    assert not torch.equal(*drawn)


def batch() -> dict[str, torch.Tensor]:
    made = subsampled()
    return {str(name): value[None] for name, value in made.items()}


class Bend(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor(0.7))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.weight * image + 0.01 * image.square()


def test_the_loss_is_that_of_the_paper() -> None:
    network, data = Bend(), batch()
    image, label = RegularisedBatch(network)(data, "cpu", False)
    first, second = take(data["image_whole"], data["image_cells"])
    of_first, of_second = take(network(data["image_whole"]), data["image_cells"])
    distance = network(first) - second
    expected = distance.square().mean() + 2 * (distance - (of_first - of_second)).square().mean()
    torch.testing.assert_close(NeighbourError(gamma=2.0)(network(image), label), expected)


def test_no_gradient_flows_through_the_whole_image() -> None:
    _, label = RegularisedBatch(Bend())(batch())
    assert not label.requires_grad


def test_a_validation_sees_the_pair_alone() -> None:
    data = batch()
    image, label = RegularisedBatch(Bend().eval())(data)
    assert torch.equal(image, data["image"])
    assert torch.equal(label, data["label"])


def test_a_trainer_learns_with_it_and_its_handlers_work() -> None:
    torch.manual_seed(0)
    network = make_network(SMALL)
    planes = np.random.default_rng(0).normal(size=(8, 1, 32, 32)).astype(np.float32)
    items = [{"image": torch.from_numpy(plane)} for plane in planes]
    losses: list[float] = []
    trainer = SupervisedTrainer(
        device=torch.device("cpu"),
        max_epochs=30,
        train_data_loader=DataLoader(
            Dataset(items, Subsampled("image").set_random_state(seed=0)), batch_size=4
        ),
        network=network,
        optimizer=torch.optim.Adam(network.parameters(), lr=3e-3),
        loss_function=NeighbourError(),
        prepare_batch=RegularisedBatch(network),
        train_handlers=[
            StatsHandler(
                output_transform=from_engine(["loss"], first=True),
                iteration_print_logger=lambda engine: losses.append(float(engine.state.output[0]["loss"])),
            )
        ],
    )
    trainer.run()
    output: Any = trainer.state.output
    assert {"image", "label", "pred", "loss"} <= set(output[0])
    # Of white noise alone nothing should be left. The loss itself rises from 2 (a copy) to 3 (nothing left),
    # since the regulariser forgives a copy: a validation must look at the pairs without it.
    assert len(losses) == 60
    assert network(torch.from_numpy(planes)).std().item() < 0.75
