"""Draw what was measured of a noise: how strong at each signal, and how correlated."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dae_pacs.durable import durable_file
from dae_pacs.errors import NoiseError
from dae_pacs.noise.model import NoiseModel
from dae_pacs.noise.spectrum import radial

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SIZE_INCHES = (9.0, 3.6)
DOTS_PER_INCH = 110
POINTS = 200


def plot(model: NoiseModel, path: Path) -> None:
    """Write a PNG of the standard deviation against the signal, beside the power against the frequency.

    Args:
        model: what to draw.
        path: of the PNG; it appears whole or not at all.

    Raises:
        NoiseError: matplotlib is not installed.
        OSError: the file can't be written.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415  of the extra `train`
        from matplotlib.figure import Figure  # noqa: PLC0415
    except ImportError as problem:
        raise NoiseError(
            "Noise model: matplotlib is needed to draw it, and is not installed. "
            "Install it with: pip install 'dae-pacs[train]'"
        ) from problem
    figure = Figure(figsize=SIZE_INCHES, dpi=DOTS_PER_INCH, layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    _draw_sigma(left, model)
    _draw_spectrum(right, model)
    with durable_file(path) as file:
        figure.savefig(file, format="png")


def _draw_sigma(axes: "Axes", model: NoiseModel) -> None:
    low, high = model.levels[0], model.levels[-1]
    beyond = (high - low) / 20 or max(abs(low), 1.0) / 2
    signal = np.linspace(low - beyond, high + beyond, POINTS)
    axes.plot(signal, model.sigma_at(signal))
    axes.plot(model.levels, np.sqrt(model.variances), "o", markersize=4)
    axes.set_ylim(bottom=0)
    unit = f" ({model.unit})" if model.unit else ""
    axes.set(xlabel=f"signal{unit}", ylabel=f"standard deviation of the noise{unit}")
    axes.set_title(f"{model.origin}, misfit {model.misfit:.2f}, {model.patches} patches", fontsize="medium")


def _draw_spectrum(axes: "Axes", model: NoiseModel) -> None:
    frequency, power = radial(model.spectrum)
    axes.plot(frequency, power)
    axes.axhline(1.0, linestyle="--", linewidth=0.8, color="grey")
    axes.set_ylim(bottom=0)
    axes.set(xlabel="spatial frequency (cycles per pixel)", ylabel="power (white noise: 1)")
    axes.set_title("averaged over directions", fontsize="medium")
