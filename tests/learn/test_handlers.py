"""What happens at the events of a run."""

import json
from pathlib import Path

import pytest
import torch
from ignite.engine import Engine
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.tensorboard.writer import SummaryWriter

from dae_pacs.errors import TrainingError
from dae_pacs.learn.handlers import PictureFolder, ScoreFile, StopOnBrokenLoss


@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
def test_a_broken_loss_ends_the_run_with_step_and_remedy(broken: float) -> None:
    engine = Engine(lambda _engine, batch: {"loss": torch.tensor(batch)})
    StopOnBrokenLoss().attach(engine)
    engine.logger.disabled = True
    with pytest.raises(TrainingError, match=r"at step 3\. Lower the learning rate"):
        engine.run([0.5, 0.4, broken, 0.3])


def evaluator() -> Engine:
    def step(engine: Engine, _batch: object) -> list[dict[str, torch.Tensor]]:
        engine.state.metrics = {"psnr_db": 30.0 + engine.state.epoch}
        image = torch.rand(1, 48, 64)
        return [{"image": image, "pred": image * 0.9}]

    return Engine(step)


def test_scores_are_kept_by_step(tmp_path: Path) -> None:
    engine = evaluator()
    ScoreFile(tmp_path / "new" / "scores.jsonl", steps_per_epoch=50).attach(engine)
    engine.run([0], max_epochs=2)
    lines = (tmp_path / "new" / "scores.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [
        {"step": 50, "psnr_db": 31.0},
        {"step": 100, "psnr_db": 32.0},
    ]


def test_a_resumed_run_writes_over_the_scores_of_steps_it_takes_again(tmp_path: Path) -> None:
    path = tmp_path / "scores.jsonl"
    path.write_text('{"step": 50, "loss": 1}\n{"step": 100, "loss": 2}\n{"step": 150, "loss": 3}\n')
    engine = evaluator()
    ScoreFile(path, steps_per_epoch=50).attach(engine)
    engine.state.metrics, engine.state.epoch = {"loss": 5.0}, 2
    ScoreFile(path, steps_per_epoch=50)(engine)
    assert [json.loads(line) for line in path.read_text().splitlines()] == [
        {"step": 50, "loss": 1},
        {"step": 100, "loss": 5.0},
    ]


@pytest.mark.parametrize("handler", [lambda path: ScoreFile(path / "s", steps_per_epoch=1), PictureFolder])
def test_a_place_that_can_not_be_written_is_said_in_words(tmp_path: Path, handler) -> None:
    (tmp_path / "file").write_text("in the way")
    engine = evaluator()
    engine.logger.disabled = True
    handler(tmp_path / "file").attach(engine)
    with pytest.raises(TrainingError, match="can't be written"):
        engine.run([0])


def test_scores_go_to_tensorboard_when_asked(tmp_path: Path) -> None:
    engine = evaluator()
    writer = SummaryWriter(str(tmp_path / "events"))
    ScoreFile(tmp_path / "scores.jsonl", steps_per_epoch=50, writer=writer).attach(engine)
    engine.run([0])
    writer.close()
    events = EventAccumulator(str(tmp_path / "events"))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("psnr_db")] == [(50, 31.0)]


def test_a_few_pictures_are_kept_of_each_validation(tmp_path: Path) -> None:
    engine = evaluator()
    PictureFolder(tmp_path / "pictures", most=2).attach(engine)
    engine.run([0, 1, 2, 3])
    names = sorted(path.name for path in (tmp_path / "pictures").iterdir())
    assert names == ["epoch_0001_01.png", "epoch_0001_02.png"]
    with Image.open(tmp_path / "pictures" / names[0]) as picture:
        assert picture.width > 3 * 64
