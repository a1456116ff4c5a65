"""Send a folder of pictures through a network that takes them as they are: how a plain autoencoder ends."""

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from dae_pacs.errors import InputError, TrainingError
from dae_pacs.image import raster

logger = logging.getLogger(__name__)

GRID_PX = 8
"""The autoencoder halves an image three times."""


def pass_folder_through(
    network: nn.Module, *, folder: str | Path, output: str | Path, device: torch.device | str = "cpu"
) -> int:
    """Send every JPG, PNG and TIFF of a folder through a network that works on a scale of 0..1, as they are.

    Returns:
        How many files were written.

    Raises:
        TrainingError: the folder holds none that can be read.
    """
    network.eval()

    def one(source: Path, target: Path) -> None:
        picture = raster.read(source)
        low, high = float(picture.values.min()), float(picture.values.max())
        span = max(high - low, float(np.finfo(np.float32).tiny))
        passed = _pass(network, (picture.values - low) / span, device)
        raster.write(picture, passed * span + low, target)

    return _each(Path(folder), Path(output), one)


def _each(folder: Path, output: Path, one: Callable[[Path, Path], None]) -> int:
    written = 0
    problems: list[str] = []
    for source in sorted(
        path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")
    ):
        target = output / source.relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            one(source, target)
        except InputError as error:
            problems.append(str(error))
            logger.warning("passed over: %s: %s", source, error)
        else:
            written += 1
    if not written:
        why = f"the first: {problems[0]}" if problems else "it is empty"
        raise TrainingError(
            f"{folder}: no image could be denoised; {why}. Expected JPG, PNG, TIFF or DICOM there."
        )
    logger.info("%d images denoised into %s, %d passed over", written, output, len(problems))
    return written


@torch.inference_mode()
def _pass(network: nn.Module, frames: NDArray[np.float32], device: torch.device | str) -> NDArray[np.float32]:
    rows, columns = frames.shape[1:]
    images = torch.from_numpy(np.ascontiguousarray(frames, dtype=np.float32))[:, None].to(device)
    padded = functional.pad(images, (0, -columns % GRID_PX, 0, -rows % GRID_PX), mode="replicate")
    passed: NDArray[np.float32] = network(padded)[:, 0, :rows, :columns].cpu().numpy()
    return passed
