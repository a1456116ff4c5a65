"""How near an image is to its reference: PSNR, SSIM and RMSE (scikit-image's, over the pixels that count)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import inf, sqrt

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from skimage.metrics import structural_similarity

from dae_pacs.errors import PixelError
from dae_pacs.quality.verdict import Check, Row, Verdict, number, worst

RANGE_PERCENTILES = (0.5, 99.5)
"""What counts as black and white of a reference; a few hot pixels must not set the scale."""
SSIM_SIGMA_PX = 1.5
"""Of its Gaussian window, as Wang et al. (IEEE TIP 2004) have it; K1 = 0.01 and K2 = 0.03 too."""
SSIM_BORDER_PX = 5
"""Half the window: nearer to the border, or to a pixel that does not count, it would look beyond."""
SMALLEST_SIDE_PX = 16
CERTAIN_ERRORS = 2.0
"""Standard errors of the mean gain beyond which it is no accident."""


@dataclass(frozen=True)
class Nearness:
    """One image against its reference."""

    psnr_db: float
    ssim: float
    rmse: float
    """In the modality's unit."""


@dataclass(frozen=True)
class Fidelity:
    """Input and output of one image against its reference."""

    name: str
    modality: str
    unit: str
    before: Nearness
    after: Nearness


@dataclass(frozen=True)
class Mean:
    """A mean over images and its standard error; None where there is one image."""

    mean: float
    error: float | None
    count: int


def nearness(image: NDArray[np.float32], reference: NDArray[np.float32], keep: NDArray[np.bool_]) -> Nearness:
    """Compare an image with its reference.

    PSNR = 20·log10(peak / RMSE), the peak being the range that holds 99 % of the reference's pixels. SSIM is
    averaged over its map.

    Args:
        image: (rows, columns) float32.
        reference: the same shape and unit.
        keep: the same shape, True where a pixel does not count.

    Raises:
        PixelError: other shapes, an image too small, or no pixel that counts.
    """
    if image.shape != reference.shape:
        raise PixelError(
            f"the reference has {_size(reference)} pixels, the image {_size(image)}; they must be the same"
        )
    if min(image.shape) < SMALLEST_SIDE_PX:
        raise PixelError(f"{_size(image)} pixels; at least {SMALLEST_SIDE_PX} a side are needed")
    counted = ~keep & np.isfinite(image) & np.isfinite(reference)
    if not counted.any():
        raise PixelError("no pixel counts: all are padding, clipped or collimated")
    low, high = np.percentile(reference[counted], RANGE_PERCENTILES)
    peak = float(high - low) or 1.0
    first, second = (np.where(counted, plane, low).astype(np.float64) for plane in (image, reference))
    rmse = float(np.sqrt(np.mean((first - second)[counted] ** 2)))
    _, similarity = structural_similarity(  # type: ignore[no-untyped-call]
        first,
        second,
        data_range=peak,
        gaussian_weights=True,
        sigma=SSIM_SIGMA_PX,
        use_sample_covariance=False,
        full=True,
    )
    inner = _inner(counted)
    where = inner if inner.any() else counted
    psnr = 20 * float(np.log10(peak / rmse)) if rmse else inf
    return Nearness(psnr_db=psnr, ssim=float(similarity[where].mean()), rmse=rmse)


def mean_of(values: Iterable[float]) -> Mean:
    """Average numbers; infinite ones, of an exact copy, stay infinite."""
    numbers = np.asarray(list(values), dtype=np.float64)
    if len(numbers) < 2 or not np.isfinite(numbers).all():
        return Mean(float(numbers.mean()), None, len(numbers))
    return Mean(float(numbers.mean()), float(numbers.std(ddof=1)) / sqrt(len(numbers)), len(numbers))


def by_modality(results: Sequence[Fidelity]) -> dict[tuple[str, str], list[Fidelity]]:
    """Sort results by modality and unit: errors in HU and in grey levels have no common mean."""
    strata: dict[tuple[str, str], list[Fidelity]] = {}
    for result in results:
        strata.setdefault((result.modality, result.unit), []).append(result)
    return dict(sorted(strata.items()))


def check_fidelity(results: Sequence[Fidelity]) -> Check:
    """Judge whether the output is nearer to its reference than the input was, modality by modality."""
    rows: list[Row] = []
    verdicts = []
    for (modality, unit), some in by_modality(results).items():
        gain = mean_of(one.after.psnr_db - one.before.psnr_db for one in some)
        error = gain.error or 0.0
        if gain.mean - CERTAIN_ERRORS * error > 0:
            verdicts.append(Verdict.GOOD)
        else:
            verdicts.append(Verdict.BAD if gain.mean + CERTAIN_ERRORS * error < 0 else Verdict.LOOK)
        row: dict[str, str | float | int | None] = {"modality": modality, "unit": unit, "images": len(some)}
        for name in ("psnr_db", "ssim", "rmse"):
            before, after = (
                mean_of(getattr(getattr(one, side), name) for one in some) for side in ("before", "after")
            )
            change = mean_of(getattr(one.after, name) - getattr(one.before, name) for one in some)
            for words, value in (("before", before), ("after", after), ("gain", change)):
                row[f"{name} {words}"] = value.mean
                row[f"{name} {words} error"] = value.error
        rows.append(row)
    least = min(rows, key=lambda row: number(row, "psnr_db gain"))
    return Check(
        key="fidelity",
        question="Is the output nearer to the reference than the input?",
        verdict=worst(verdicts),
        finding=f"PSNR, least favourable modality ({least['modality']}, {least['images']} images): "
        f"{least['psnr_db before']:.2f} dB before, {least['psnr_db after']:.2f} after; gain "
        f"{least['psnr_db gain']:+.2f} dB.",
        rule=f"Good where the mean gain lies above 0 by {CERTAIN_ERRORS:g} standard errors, bad where it "
        "lies below by as much, look between.",
        limits="It is worth what the reference is worth: noise left in it counts against the output, and a "
        "shift between the two against both.",
        numbers={"gain_db_least": number(least, "psnr_db gain"), "images": len(results)},
        rows=rows,
    )


def _inner(counted: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Mark the pixels whose whole window counts."""
    width = 2 * SSIM_BORDER_PX + 1
    padded = np.pad(counted, SSIM_BORDER_PX)
    across = sliding_window_view(padded, width, axis=1).all(axis=-1)
    return np.asarray(sliding_window_view(across, width, axis=0).all(axis=-1))


def _size(plane: NDArray[np.float32]) -> str:
    return "×".join(map(str, plane.shape))
