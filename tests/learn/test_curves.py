"""The course of a run as a picture."""

import json
from pathlib import Path

from PIL import Image

from dae_pacs.learn.curves import draw_curves, read_scores


def test_the_last_line_of_a_step_counts(tmp_path: Path) -> None:
    path = tmp_path / "scores.jsonl"
    lines = [{"step": 1, "loss": 3}, {"step": 2, "loss": 2}, {"step": 2, "loss": 1}]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert read_scores(path) == [{"step": 1, "loss": 3}, {"step": 2, "loss": 1}]
    assert read_scores(tmp_path / "none") == []


def test_each_measure_has_a_plot_and_the_input_shares_its_own(tmp_path: Path) -> None:
    scores = [{"step": k, "loss": 1 / k, "psnr_db": 30 + k, "psnr_input_db": 29} for k in range(1, 5)]
    for name, lines in (("one.png", [{"step": 1, "loss": 2.0}]), ("two.png", scores)):
        draw_curves(tmp_path / name, lines)
    with Image.open(tmp_path / "one.png") as one, Image.open(tmp_path / "two.png") as two:
        assert two.width == 2 * one.width
        assert two.height == one.height
