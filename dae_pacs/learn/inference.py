"""Denoise a folder from a MONAI configuration, with a bundle or a network that takes images as they are."""

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from dae_pacs.denoise.engine import open_denoiser
from dae_pacs.denoise.protocol import Denoiser
from dae_pacs.errors import InputError, TrainingError, UnsupportedImageError
from dae_pacs.image import files, pixels, raster
from dae_pacs.image.derive import derive, derived_series_number
from dae_pacs.image.provenance import Derivation
from dae_pacs.image.support import reason_not_denoised
from dae_pacs.learn.reader import is_raster

logger = logging.getLogger(__name__)

GRID_PX = 8
"""The autoencoder halves an image three times."""


def denoise_folder(
    bundle: str | Path,
    *,
    folder: str | Path,
    output: str | Path,
    device: str = "auto",
    strength: float | None = None,
) -> int:
    """Denoise every image of a folder with a bundle, each file for itself, under the same names.

    `dae-pacs denoise` does more: it measures the noise of a whole series at once. This is what
    `python -m monai.bundle run --config_file configs/inference.yaml` gives.

    Args:
        bundle: its folder.
        folder: searched with its sub-folders.
        output: made if missing.
        device: auto, cpu, cuda or cuda:N.
        strength: 0..1; None takes the bundle's default.

    Returns:
        How many files were denoised.

    Raises:
        TrainingError: the folder holds nothing that can be denoised.
    """
    denoiser = open_denoiser(Path(bundle), device=device)
    amount = denoiser.identity.default_strength if strength is None else float(strength)

    def one(source: Path, target: Path) -> None:
        denoise = _denoise_raster if is_raster(source) else _denoise_dicom
        denoise(denoiser, source, target, strength=amount)

    return _each(Path(folder), Path(output), one)


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


def _denoise_raster(denoiser: Denoiser, source: Path, target: Path, *, strength: float) -> None:
    picture = raster.read(source)
    noise = denoiser.calibrate(list(picture.values), list(picture.keep))
    raster.write(
        picture, denoiser.denoise(picture.values, picture.keep, noise=noise, strength=strength), target
    )


def _denoise_dicom(denoiser: Denoiser, source: Path, target: Path, *, strength: float) -> None:
    ds = files.read(source)
    reason = reason_not_denoised(ds)
    if reason is not None:
        raise UnsupportedImageError(reason)
    decoded = pixels.decode(ds)
    noise = denoiser.calibrate(list(decoded.values), list(decoded.keep))
    clean = denoiser.denoise(decoded.values, decoded.keep, noise=noise, strength=strength)
    identity = denoiser.identity
    made = derive(
        ds,
        pixels.encode(clean, decoded),
        derivation=Derivation(
            model_name=identity.name,
            model_version=identity.version,
            model_digest=identity.digest,
            strength=strength,
            description="{source} denoised s={strength:.1f}",
            ae_title="DAE_PACS",
        ),
        content_digest=files.file_digest(source),
        series_number=derived_series_number(ds.get("SeriesNumber"), ()),
        now=datetime.now(UTC),
    )
    files.write(made, target)


@torch.inference_mode()
def _pass(network: nn.Module, frames: NDArray[np.float32], device: torch.device | str) -> NDArray[np.float32]:
    rows, columns = frames.shape[1:]
    images = torch.from_numpy(np.ascontiguousarray(frames, dtype=np.float32))[:, None].to(device)
    padded = functional.pad(images, (0, -columns % GRID_PX, 0, -rows % GRID_PX), mode="replicate")
    passed: NDArray[np.float32] = network(padded)[:, 0, :rows, :columns].cpu().numpy()
    return passed
