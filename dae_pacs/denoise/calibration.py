"""Measure the noise of one acquisition group, or bound the harm where it can't be told. Costs no torch."""

import logging
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dae_pacs.errors import NoiseError
from dae_pacs.noise.estimate import areas_of, estimate, fallback
from dae_pacs.noise.model import NoiseModel

logger = logging.getLogger(__name__)

LARGEST_VALUE = 1e15
"""Beyond it no detector's value lies, and squares of squares leave float32's range: no number, for us."""


def calibrate(frames: Sequence[NDArray[np.float32]], keep: Sequence[NDArray[np.bool_]]) -> NoiseModel:
    """Do what `protocol.Denoiser.calibrate` says, in the same way wherever the network runs.

    Args:
        frames: each (rows, columns) float32, in the modality's unit.
        keep: for each frame (rows, columns) bool, True where a pixel does not count.
    """
    frames = [_without_absurd(frame) for frame in frames]
    areas = areas_of(frames, keep)
    try:
        noise = estimate(frames, keep, areas=areas)
    except NoiseError as reason:
        logger.warning("noise not estimated, fallback taken", extra={"reason": str(reason)})
        noise = fallback(frames, keep, areas=areas)
    logger.debug("noise calibrated", extra={"origin": noise.origin, "patches": noise.patches})
    return noise


def _without_absurd(frame: NDArray[np.float32]) -> NDArray[np.float32]:
    absurd = np.abs(frame) > LARGEST_VALUE
    return np.where(absurd, np.float32(np.nan), frame) if absurd.any() else frame
