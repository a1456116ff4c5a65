"""The same story for pictures (JPG, PNG, TIFF) and researchers' volumes: images without a DICOM header."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dae_pacs.denoise.protocol import Denoiser
from dae_pacs.errors import InputError
from dae_pacs.image import raster, volume
from dae_pacs.node.pipeline import CALIBRATION_FRAMES, spread


@dataclass(frozen=True)
class RasterResult:
    """What became of one image: written to `target`, or not, for a reason."""

    source: Path
    target: Path | None
    reason: str | None = None


def denoise_rasters(
    paths: Sequence[Path],
    denoiser: Denoiser,
    report: Callable[[RasterResult], None],
    *,
    strength: float | None,
    name_file: Callable[[Path], Path],
) -> None:
    """Denoise the images of one acquisition group, each into an image of its own format and depth.

    Args:
        paths: images of one device and setting, as `acquisition_groups` gives them.
        denoiser: the model, already on its device.
        report: told at once what became of each image.
        strength: 0..1, or None for the bundle's own default.
        name_file: where the denoised image goes.

    Raises:
        OSError: a result can't be written.
        PixelError: the model's output is not finite.
    """
    readable = []
    for path in paths:
        try:
            read_image(path)
        except InputError as error:
            report(RasterResult(path, None, str(error)))
        else:
            readable.append(path)
    if not readable:
        return
    frames, keep = zip(*_sample(readable), strict=True)
    noise = denoiser.calibrate(frames, keep)
    used = denoiser.identity.default_strength if strength is None else strength
    for path in readable:
        image, target = read_image(path), name_file(path)
        clean = denoiser.denoise(image.values, image.keep, noise=noise, strength=used)
        if isinstance(image, volume.Volume):
            volume.write(image, clean, target)
        else:
            raster.write(image, clean, target)
        report(RasterResult(path, target))


def acquisition_groups(paths: Sequence[Path]) -> list[list[Path]]:
    """Group files whose noise is measured together: the pictures of one folder; each volume by itself."""
    volumes = [[path] for path in paths if volume.is_volume(path)]
    pictures = [path for path in paths if not volume.is_volume(path)]
    return volumes + [list(group) for _, group in groupby(pictures, key=lambda path: path.parent)]


def read_image(path: Path) -> raster.Raster | volume.Volume:
    """Read a picture or a volume, by its kind.

    Raises:
        InputError: it is broken, or not a grey image.
    """
    return volume.read(path) if volume.is_volume(path) else raster.read(path)


def _sample(paths: Sequence[Path]) -> Iterator[tuple[NDArray[np.float32], NDArray[np.bool_]]]:
    """Give a few planes, spread over the files and over the slices of each."""
    for path in spread(paths, CALIBRATION_FRAMES):
        image = read_image(path)
        for k in spread(range(len(image.values)), max(1, CALIBRATION_FRAMES // len(paths))):
            yield image.values[k], image.keep[k]
