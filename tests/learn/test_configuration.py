"""The configuration as it ran stands beside what it made."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from dae_pacs.errors import TrainingError
from dae_pacs.learn.checkpoint import CHECKPOINT
from dae_pacs.learn.configuration import of_command_line, start_run


@pytest.fixture(autouse=True)
def quiet_again() -> Iterator[None]:
    """A run sets up logging for its whole process; here other tests follow."""
    ours = logging.getLogger("dae_pacs.learn")
    before = list(ours.handlers), ours.level, ours.propagate
    yield
    ours.handlers, ours.propagate = before[0], before[2]
    ours.setLevel(before[1])


RUN = ["/site-packages/monai/bundle/__main__.py", "run"]


def test_overrides_and_merged_files_are_in_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("rate: 0.1\nnet: {_target_: torch.nn.Linear, in_features: 3}\n")
    (tmp_path / "b.yaml").write_text("rate: 0.2\n")
    files = f"['{tmp_path / 'a.yaml'}','{tmp_path / 'b.yaml'}']"
    text = of_command_line([*RUN, "--config_file", files, "--net#in_features", "5", "--data_dir", "/images"])
    assert text is not None
    configuration = yaml.safe_load(text)
    assert configuration["rate"] == 0.2
    assert configuration["net"] == {"_target_": "torch.nn.Linear", "in_features": 5}
    assert configuration["data_dir"] == "/images"


def test_another_programs_command_line_is_left_alone(tmp_path: Path) -> None:
    assert of_command_line(["/usr/bin/pytest", "run", "--config_file", "x"]) is None
    start_run(tmp_path / "run")
    assert list((tmp_path / "run").iterdir()) == []


def test_the_configuration_may_come_from_elsewhere(tmp_path: Path) -> None:
    start_run(tmp_path / "run", configuration="steps: 3\n")
    assert (tmp_path / "run" / "configuration.yaml").read_text() == "steps: 3\n"


def cut_off(folder: Path, configuration: str) -> Path:
    folder.mkdir()
    (folder / CHECKPOINT).write_bytes(b"weights")
    (folder / "configuration.yaml").write_text("# As run by: us\n" + configuration)
    return folder


def test_a_run_goes_on_longer_and_on_another_device(tmp_path: Path) -> None:
    folder = cut_off(tmp_path / "run", "steps: 3\nseed: 1\ndevice: cpu\n")
    start_run(folder, resume=True, configuration="steps: 6\nseed: 1\ndevice: cuda\nresume: true\n")
    assert "steps: 6" in (folder / "configuration.yaml").read_text()


def test_a_run_with_other_settings_is_not_gone_on_with(tmp_path: Path) -> None:
    folder = cut_off(tmp_path / "run", "seed: 1\narchitecture: {channels: [8, 16]}\nalpha: 0.15\n")
    with pytest.raises(
        TrainingError, match=r"other settings: seed, architecture#channels#1, beta\. "
    ) as caught:
        start_run(
            folder,
            resume=True,
            configuration="seed: 2\narchitecture: {channels: [8, 32]}\nalpha: 0.15\nbeta: 1\n",
        )
    assert "another --output_dir" in str(caught.value)
    assert "seed: 1" in (folder / "configuration.yaml").read_text()


def test_without_a_checkpoint_there_is_nothing_to_go_on_from(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"has no checkpoint_last\.pt to go on from"):
        start_run(tmp_path, resume=True)


def test_an_earlier_run_is_not_written_over(tmp_path: Path) -> None:
    folder = cut_off(tmp_path / "run", "seed: 1\n")
    with pytest.raises(TrainingError, match=r"holds an earlier run\. Go on from it with --resume True"):
        start_run(folder, configuration="seed: 1\n")


def test_the_first_of_several_processes_alone_writes(tmp_path: Path) -> None:
    start_run(tmp_path / "run", configuration="seed: 1\n", rank=1)
    assert not (tmp_path / "run").exists()


def test_a_place_that_can_not_be_written_is_said_in_words(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(TrainingError, match="Give --output_dir"):
        start_run(tmp_path / "file" / "run")
