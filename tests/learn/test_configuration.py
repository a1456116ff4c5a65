"""The configuration as it ran stands beside what it made."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from dae_pacs.errors import TrainingError
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


def test_a_place_that_can_not_be_written_is_said_in_words(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(TrainingError, match="Give --output_dir"):
        start_run(tmp_path / "file" / "run")
