"""The same story for JPG, PNG and TIFF: images without a header of ours, grouped by folder."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from dae_pacs.denoise.protocol import Denoiser
from dae_pacs.errors import InputError
from dae_pacs.image import raster
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
        paths: images of one device and setting; their noise is measured together.
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
            raster.read(path)
        except InputError as error:
            report(RasterResult(path, None, str(error)))
        else:
            readable.append(path)
    if not readable:
        return
    sample = [raster.read(path) for path in spread(readable, CALIBRATION_FRAMES)]
    noise = denoiser.calibrate([image.values[0] for image in sample], [image.keep[0] for image in sample])
    used = denoiser.identity.default_strength if strength is None else strength
    for path in readable:
        image = raster.read(path)
        clean = denoiser.denoise(image.values, image.keep, noise=noise, strength=used)
        target = name_file(path)
        raster.write(image, clean, target)
        report(RasterResult(path, target))
