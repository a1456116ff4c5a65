"""Measure the noise of the images to learn from, one model for each acquisition group."""

import logging
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dae_pacs.errors import NoiseError, TrainingError
from dae_pacs.learn.data import Data, Item, spread, with_validation
from dae_pacs.learn.reader import read_frames
from dae_pacs.noise.estimate import WORST_MISFIT, estimate, fallback
from dae_pacs.noise.model import NoiseModel

logger = logging.getLogger(__name__)

FRAMES_PER_GROUP = 8
"""As many as the node looks at when it denoises a series."""


def measure_noise(
    data: Data,
    *,
    refused: Literal["leave_out", "fallback"] = "leave_out",
    worst_misfit: float = WORST_MISFIT,
    frames_per_group: int = FRAMES_PER_GROUP,
) -> Data:
    """Give every item `noise`: the NoiseModel of its acquisition group, as JSON.

    Args:
        data: as `find_data` gives it.
        refused: what becomes of a group whose noise can't be told. "leave_out" is for recipes that learn from
            the model; "fallback" bounds it by a constant, for those that need only a scale.
        worst_misfit: of a model (`NoiseModel.misfit`); above it, its group is refused as well.
        frames_per_group: spread over the group, to measure on.

    Raises:
        TrainingError: no group's noise can be told.
    """
    groups: dict[str, list[Item]] = defaultdict(list)
    for item in (*data.training, *data.validation):
        groups[str(item["acquisition"])].append(item)
    models: dict[str, str] = {}
    problems: list[tuple[str, str]] = []
    for name, items in groups.items():
        frames, keep = _sample(items, frames_per_group)
        try:
            models[name] = _trusted(estimate(frames, keep), worst_misfit).to_json()
        except NoiseError as reason:
            if refused == "fallback":
                models[name] = fallback(frames, keep).to_json()
                logger.warning("noise bounded instead of measured: %s", reason)
            else:
                problems += [
                    (path, str(reason)) for path in dict.fromkeys(str(item["image"]) for item in items)
                ]
    if not models:
        raise TrainingError(_nothing_measured(problems))
    for path, reason_text in problems:
        logger.warning("image left out: %s: %s", path, reason_text)
    logger.info("noise measured in %d of %d acquisition groups", len(models), len(groups))
    measured = Data(
        training=_with_noise(data.training, models),
        validation=_with_noise(data.validation, models),
        problems=(*data.problems, *problems),
    )
    return with_validation(measured)


def _trusted(model: NoiseModel, worst_misfit: float) -> NoiseModel:
    """Give a model back.

    Raises:
        NoiseError: it fits worse than that.
    """
    if model.misfit > worst_misfit:
        raise NoiseError(
            f"Noise measured, but not well enough to learn from: flat areas of different brightness hardly "
            f"agree (misfit {model.misfit:.2f}; expected at most {worst_misfit:g}). Send more such images."
        )
    return model


def noise_models(data: Data) -> tuple[NoiseModel, ...]:
    """Give the different noise models of measured data, in the order of their items."""
    texts = (item["noise"] for item in (*data.training, *data.validation) if "noise" in item)
    return tuple(NoiseModel.from_json(str(text)) for text in dict.fromkeys(texts))


def _sample(items: Sequence[Item], count: int) -> tuple[list[NDArray[np.float32]], list[NDArray[np.bool_]]]:
    """Read a few frames of a group, each file once."""
    by_file: dict[str, list[int]] = defaultdict(list)
    for item in spread(items, count):
        by_file[str(item["image"])].append(int(item["frame"]))
    frames: list[NDArray[np.float32]] = []
    keep: list[NDArray[np.bool_]] = []
    for path, numbers in by_file.items():
        read = read_frames(Path(path))
        frames += [read.values[number] for number in numbers]
        keep += [read.keep[number] for number in numbers]
    return frames, keep


def _with_noise(items: Sequence[Item], models: dict[str, str]) -> tuple[Item, ...]:
    return tuple(
        {**item, "noise": models[str(item["acquisition"])]}
        for item in items
        if str(item["acquisition"]) in models
    )


def _nothing_measured(problems: Sequence[tuple[str, str]]) -> str:
    path, reason = problems[0]
    return (
        f"The noise of none of {len(problems)} files can be told; of the first, {path}: {reason} "
        "The recipes neighbor2neighbor and noise2void need no model of the noise."
    )
