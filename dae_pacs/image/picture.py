"""Draw an image before and after, and what was removed, side by side."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from pydicom.dataset import Dataset

from dae_pacs.durable import durable_file
from dae_pacs.errors import InputError, PixelError
from dae_pacs.image import peek

# Three panels of this width fill a 4K screen; larger images are shown smaller.
WIDEST_PANEL = 1280
_GAP, _LABEL_HEIGHT, _CAPTION_HEIGHT = 6, 26, 30
_BACKGROUND, _INK = 16, 224
# The window without one in the header: all but the outermost half percent at each end.
_SHARE_PERCENT = (0.5, 99.5)
# What was removed fills its panel's range up to this percentile of its size.
_REMOVED_PERCENT = 99.5


def side_by_side(
    before: NDArray[np.float32],
    after: NDArray[np.float32],
    path: Path,
    *,
    window: tuple[float, float] | None = None,
    caption: str = "",
) -> None:
    """Write a PNG with before, after and what was removed.

    The third panel has its own scale, symmetric about mid grey; the caption tells how far it is amplified.

    Args:
        before: (rows, columns) or (1, rows, columns), any unit.
        after: the same shape and unit.
        path: of the PNG.
        window: centre and width in that unit; from the values where None.
        caption: one line under the pictures; the caller keeps patient data out of it.

    Raises:
        PixelError: shapes that are no two images of one size.
    """
    first, second = np.squeeze(before).astype(np.float32), np.squeeze(after).astype(np.float32)
    if first.ndim != 2 or first.shape != second.shape:
        raise PixelError(f"Two images of one size were expected, {before.shape} and {after.shape} were given")
    low, width = _range_of(first, window)
    removed = np.nan_to_num(first - second)
    scale = float(np.percentile(np.abs(removed), _REMOVED_PERCENT)) or float(np.abs(removed).max()) or 1.0
    amplified = width / (2 * scale)
    panels = [_grey(first, low, width), _grey(second, low, width), _grey(removed, -scale, 2 * scale)]
    labels = ["before", "after", f"removed, shown {amplified:.3g} x as strong"]
    sheet = _sheet([_shrunk(panel) for panel in panels], labels, caption)
    with durable_file(path) as file:
        sheet.save(file, format="PNG")


def window_of(ds: Dataset) -> tuple[float, float] | None:
    """Return the first Window Center and Width, or None (PS3.3 section C.11.2.1.2)."""
    shared = peek.items(ds, "SharedFunctionalGroupsSequence")
    own = peek.items(ds, "PerFrameFunctionalGroupsSequence")[:1]
    groups = [item for group in (*own, *shared) for item in peek.items(group, "FrameVOILUTSequence")]
    for source in (ds, *groups):
        try:
            centre, width = peek.number(source, "WindowCenter"), peek.number(source, "WindowWidth")
        except InputError:
            continue
        if centre is not None and width is not None and width > 0:
            return centre, width
    return None


def _range_of(values: NDArray[np.float32], window: tuple[float, float] | None) -> tuple[float, float]:
    """Return the lowest value shown and the width of what is shown."""
    if window is not None and window[1] > 0:
        return window[0] - window[1] / 2, window[1]
    finite = values[np.isfinite(values)]
    low, high = np.percentile(finite, _SHARE_PERCENT) if finite.size else (0.0, 1.0)
    return float(low), float(high - low) or 1.0


def _grey(values: NDArray[np.float32], low: float, width: float) -> Image.Image:
    scaled = np.nan_to_num((values - low) * (255.0 / width))
    return Image.fromarray(np.clip(np.rint(scaled), 0, 255).astype(np.uint8))


def _shrunk(panel: Image.Image) -> Image.Image:
    """Keep native pixels up to the widest panel: resampling hides noise, which is what this picture shows."""
    if panel.width <= WIDEST_PANEL:
        return panel
    height = max(1, round(panel.height * WIDEST_PANEL / panel.width))
    return panel.resize((WIDEST_PANEL, height), Image.Resampling.BOX)


def _sheet(panels: list[Image.Image], labels: list[str], caption: str) -> Image.Image:
    width = sum(panel.width for panel in panels) + _GAP * (len(panels) - 1)
    height = _LABEL_HEIGHT + panels[0].height + (_CAPTION_HEIGHT if caption else 0)
    sheet = Image.new("L", (width, height), _BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=16)
    left = 0
    for panel, label in zip(panels, labels, strict=True):
        draw.text((left + 4, 4), label, fill=_INK, font=font)
        sheet.paste(panel, (left, _LABEL_HEIGHT))
        left += panel.width + _GAP
    if caption:
        draw.text((4, height - _CAPTION_HEIGHT + 6), caption, fill=_INK, font=font)
    return sheet
