"""What a run draws."""

import torch
from ignite.engine import Engine
from monai.data import DataLoader, Dataset
from monai.transforms import Compose, RandGaussianNoised

from dae_pacs.learn.seeds import SeedDraws


def drawn(seed: int, *, rank: int = 0, epoch: int = 0) -> tuple[float, float]:
    """Give what a transform and what torch itself draw in the first step."""
    items = [{"image": torch.zeros(1, 4, 4)}]
    dataset = Dataset(items, Compose([RandGaussianNoised(keys="image", prob=1.0)]))
    seen: list[float] = []

    def step(_engine: Engine, batch: dict[str, torch.Tensor]) -> None:
        seen.extend((float(batch["image"].sum()), float(torch.rand(1))))

    engine = Engine(step)
    SeedDraws(seed, rank=rank).attach(engine)
    engine.state.epoch = epoch
    engine.state.epoch_length = 1
    engine.run(DataLoader(dataset, batch_size=1), max_epochs=epoch + 1)
    return seen[0], seen[1]


def test_the_same_seed_draws_the_same() -> None:
    assert drawn(3) == drawn(3)


def test_another_seed_another_process_and_a_resumed_run_draw_anew() -> None:
    draws = [drawn(3), drawn(4), drawn(3, rank=1)]
    for place in (0, 1):
        assert len({draw[place] for draw in draws}) == len(draws)
