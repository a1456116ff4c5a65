"""The page's figures: curves as SVG, pictures as PNG, both as data URIs: the page needs no other file."""

import base64
import io
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator
from numpy.typing import NDArray

from dae_pacs.image.picture import side_by_side
from dae_pacs.quality.edge import EdgeResponse
from dae_pacs.quality.inserted import ROSE
from dae_pacs.quality.residual import Curves
from dae_pacs.quality.verdict import Row, number

OVERVIEW_PX = 420
"""Longest side of a whole image, by averaging."""
DETAIL_PX = 320
"""Side of the cut at native pixels: averaging hides noise."""
SNR_TICKS = (0.5, 1, 2, 5, 10, 20, 50, 100, 200)
WINDOW_PERCENT = (0.5, 99.5)
BLUE, ORANGE, GREEN, GREY = "#1f5fa8", "#c2571a", "#2d7d46", "#666666"


def spectrum_figure(curves: Curves) -> str:
    """Draw the power of what was removed beside that of the noise."""
    figure = Figure(figsize=(5.4, 3.4), layout="constrained")
    axes = figure.add_subplot()
    axes.semilogy(curves.frequency, curves.model, color=GREY, linestyle="--", label="noise, as estimated")
    axes.semilogy(curves.frequency, curves.before, color=GREY, linewidth=0.8, label="input, flat areas")
    axes.semilogy(curves.frequency, _shown(curves.removed_flat), color=BLUE, label="removed, flat areas")
    axes.semilogy(curves.frequency, _shown(curves.removed_all), color=ORANGE, label="removed, everywhere")
    axes.semilogy(curves.frequency, _shown(curves.after), color=GREEN, label="output, flat areas")
    axes.set(xlabel="spatial frequency in cycles per pixel", ylabel="power in sigma²")
    axes.legend(fontsize=8)
    return _uri(figure)


def bias_figure(rows: Sequence[Row]) -> str:
    """Draw the shift of the mean over the signal."""
    figure = Figure(figsize=(5.4, 3.0), layout="constrained")
    axes = figure.add_subplot()
    axes.axhline(0, color=GREY, linewidth=0.8)
    axes.errorbar(
        [number(row, "signal") for row in rows],
        [number(row, "bias in sigma") for row in rows],
        yerr=[2 * number(row, "standard error") for row in rows],
        color=BLUE,
        marker="o",
        markersize=3,
        capsize=2,
    )
    axes.set(xlabel="signal", ylabel="shift of the mean in sigma")
    return _uri(figure)


def edge_figure(responses: Sequence[EdgeResponse]) -> str:
    """Draw the profile of each inserted edge, and what passes at each frequency."""
    figure = Figure(figsize=(8.0, 3.0), layout="constrained")
    profile, transfer = figure.subplots(1, 2)
    strongest = responses[-1]
    profile.plot(strongest.distance_px, strongest.inserted, color=GREY, linestyle="--", label="inserted")
    for response, colour in zip(responses, (ORANGE, BLUE), strict=False):
        label = f"{response.contrast_sigma:g} sigma"
        profile.plot(response.distance_px, response.denoised, color=colour, label=label)
        transfer.plot(response.frequency, response.transfer, color=colour, label=label)
    profile.set(xlabel="distance from the edge in pixels", ylabel="share of the step", xlim=(-6, 6))
    profile.legend(fontsize=8)
    transfer.set(xlabel="spatial frequency in cycles per pixel", ylabel="share that passes", ylim=(0, 1.3))
    transfer.legend(fontsize=8)
    return _uri(figure)


def lesion_figure(rows: Sequence[Row], strength: float) -> str:
    """Draw how much of each inserted disc's contrast came through, over how well it could be seen."""
    figure = Figure(figsize=(5.4, 3.0), layout="constrained")
    axes = figure.add_subplot()
    axes.axhline(1 - strength, color=GREY, linewidth=0.8, linestyle="--", label="all removed")
    for diameter, colour in zip(
        sorted({number(row, "diameter in px") for row in rows}), (ORANGE, BLUE, GREEN), strict=False
    ):
        some = [row for row in rows if number(row, "diameter in px") == diameter]
        axes.errorbar(
            [number(row, "signal to noise") for row in some],
            [number(row, "recovered") for row in some],
            yerr=[2 * number(row, "standard error") for row in some],
            color=colour,
            marker="o",
            markersize=4,
            capsize=2,
            label=f"{diameter:g} px",
        )
    axes.axvline(ROSE, color=GREY, linewidth=0.8, linestyle=":", label="seen for certain")
    axes.set(xscale="log", xlabel="signal to noise of the disc", ylabel="contrast that comes through")
    axes.xaxis.set_major_locator(FixedLocator(SNR_TICKS))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_ylim(bottom=0)
    axes.legend(fontsize=8)
    return _uri(figure)


def pictures(
    before: NDArray[np.float32],
    after: NDArray[np.float32],
    keep: NDArray[np.bool_],
    *,
    window: tuple[float, float] | None,
) -> tuple[str, str]:
    """Draw the whole image small, and a cut of it at native pixels: before, after, removed.

    Args:
        before: (rows, columns) float32.
        after: the same shape.
        keep: the same shape; the cut is taken where few pixels are kept and the image is varied.
        window: centre and width; from the values where None.
    """
    shown = window or _window(before, keep)
    factor = -(-max(before.shape) // OVERVIEW_PX)
    overview = _drawn(_reduced(before, factor), _reduced(after, factor), shown)
    rows, columns = _cut(before, keep)
    return overview, _drawn(before[rows, columns], after[rows, columns], shown)


def _drawn(before: NDArray[np.float32], after: NDArray[np.float32], window: tuple[float, float]) -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "picture.png"
        side_by_side(before, after, path, window=window)
        return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode("ascii")


def _window(values: NDArray[np.float32], keep: NDArray[np.bool_]) -> tuple[float, float]:
    counted = values[~keep & np.isfinite(values)]
    low, high = np.percentile(counted if counted.size else np.zeros(1), WINDOW_PERCENT)
    return float(low + high) / 2, float(high - low) or 1.0


def _reduced(plane: NDArray[np.float32], factor: int) -> NDArray[np.float32]:
    rows, columns = plane.shape[0] // factor, plane.shape[1] // factor
    blocks = plane[: rows * factor, : columns * factor].reshape(rows, factor, columns, factor)
    return np.asarray(blocks.mean(axis=(1, 3)), dtype=np.float32)


def _cut(before: NDArray[np.float32], keep: NDArray[np.bool_]) -> tuple[slice, slice]:
    """Choose a square: of those with the fewest kept pixels, one of the most varied."""
    side = min(DETAIL_PX, *before.shape)
    corners = [
        (row, column)
        for row in range(0, before.shape[0] - side + 1, max(side // 2, 1))
        for column in range(0, before.shape[1] - side + 1, max(side // 2, 1))
    ]
    squares = [(slice(row, row + side), slice(column, column + side)) for row, column in corners]
    kept = np.array([keep[square].mean() for square in squares])
    open_ones = [square for square, share in zip(squares, kept, strict=True) if share <= kept.min() + 0.02]
    varied = sorted(open_ones, key=lambda square: float(np.nanstd(before[square])))
    return varied[9 * (len(varied) - 1) // 10]


def _shown(power: NDArray[np.float64]) -> NDArray[np.float64]:
    """Leave out zeros, which a logarithmic axis can't show."""
    return np.where(power > 0, power, np.nan)


def _uri(figure: Figure) -> str:
    file = io.BytesIO()
    figure.savefig(file, format="svg", metadata={"Date": None})
    return "data:image/svg+xml;base64," + base64.b64encode(file.getvalue()).decode("ascii")
