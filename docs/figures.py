"""Draw the pictures of docs/method.md from made-up images: `python docs/figures.py`.

The images are those of `dae_pacs/demo/phantoms.py`, always the same; nobody's data is in them.
"""

from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from dae_pacs.demo.phantoms import Study, radiograph
from dae_pacs.denoise.engine import open_denoiser
from dae_pacs.image.pixels import decode
from dae_pacs.noise.estimate import estimate
from dae_pacs.noise.plot import plot
from dae_pacs.resources import find_bundle

IMAGES = Path(__file__).parent / "images"
MODEL = "xray_radiograph_denoising"
STRENGTHS = (0.0, 0.3, 0.7, 1.0)
PART = np.s_[60:188, 64:192]
Frame = NDArray[np.float32]


def main() -> None:
    """Draw all of them."""
    decoded = decode(radiograph(Study(), "DX", seed=1))
    frame, keep = decoded.values[0], decoded.keep[0]
    denoiser = open_denoiser(find_bundle(MODEL, None), device="cpu", threads=1)
    noise = denoiser.calibrate([frame], [keep])
    by_strength = [
        denoiser.denoise(frame[None], keep[None], noise=noise, strength=strength)[0] for strength in STRENGTHS
    ]
    plot(estimate([frame], [keep], unit="grey"), IMAGES / "method-noise.png")
    _strengths(frame, by_strength, IMAGES / "method-strength.png")


def _strengths(frame: Frame, by_strength: list[Frame], path: Path) -> None:
    """Draw the image at each strength, and below it what was removed, all at one scale."""
    figure = Figure(figsize=(9, 4.8), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    above, below = figure.subplots(2, len(by_strength))
    low, high = np.percentile(frame[PART], (1, 99))
    reach = 4 * float(np.std(frame - by_strength[-1]))
    for strength, image, top, bottom in zip(STRENGTHS, by_strength, above, below, strict=True):
        top.imshow(image[PART], cmap="gray", vmin=low, vmax=high, interpolation="nearest")
        top.set_title(f"strength {strength:g}", fontsize=9)
        bottom.imshow((frame - image)[PART], cmap="gray", vmin=-reach, vmax=reach, interpolation="nearest")
        bottom.set_title("what was removed", fontsize=8)
    for axes in (*above, *below):
        axes.set_axis_off()
    figure.savefig(path, format="png")


if __name__ == "__main__":
    main()
