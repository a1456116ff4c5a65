"""One frame for the browser: its stored values as they are, and in JSON before them what they mean.

Nothing is scaled or cut: the window is applied where it is seen.
"""

import threading
from collections import OrderedDict
from dataclasses import asdict
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dae_pacs.errors import InputError, PixelError
from dae_pacs.image import files, packet, peek
from dae_pacs.image.pixels import Image, open_image, read_stored
from dae_pacs.image.presentation import read_presentation
from dae_pacs.image.rescale import Rescale

_HEADERS_HELD: Final = 8
"""Opened headers that are kept, without pixels: that of an object of many frames is long to read."""


class OpenImages:
    """Owns the last few opened images: a scroll through frames parses a header once. For any thread."""

    def __init__(self, most: int = _HEADERS_HELD) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._held: OrderedDict[tuple[Path, str], Image] = OrderedDict()

    def get(self, path: Path, digest: str) -> Image:
        """Open an object of the spool, or give it again.

        Args:
            path: of its file.
            digest: of its content, so that another object under the same name is another image.

        Raises:
            InputError: its pixels can't be shown, in words that name no path.
        """
        key = (path, digest)
        with self._lock:
            held = self._held.get(key)
            if held is not None:
                self._held.move_to_end(key)
                return held
        image = _open(path)
        with self._lock:
            self._held[key] = image
            while len(self._held) > self._most:
                self._held.popitem(last=False)
        return image


def frame_body(image: Image, frame: int) -> bytes:
    """Encode one frame as `image.packet` says.

    Args:
        image: as `OpenImages` gives it.
        frame: counted from 0.

    Raises:
        PixelError: there is no such frame, or it does not decode.
    """
    layout = image.layout
    if not 0 <= frame < layout.frames:
        raise PixelError(f"The object has {layout.frames} frames; there is no frame {frame + 1}.")
    stored = _for_browsers(read_stored(image, frame))
    meaning = {
        "frame": frame,
        "frames": layout.frames,
        "rows": layout.rows,
        "columns": layout.columns,
        "lowest": None if layout.is_float else layout.lowest,
        "highest": None if layout.is_float else layout.highest,
        "unit": image.unit,
        "padding": None if image.padding is None else [image.padding.low, image.padding.high],
        "is_lossy": peek.string(image.ds, "LossyImageCompression") == "01",
        **_rescale(image.rescale, frame),
        **asdict(read_presentation(image.ds, frame)),
    }
    return packet.pack(meaning, stored)


def _for_browsers(stored: NDArray[np.generic]) -> NDArray[np.generic]:
    """Give whole numbers of 64 bits as doubles: they are the numbers of JavaScript, exact up to 2^53."""
    is_long = stored.dtype.kind in "ui" and stored.dtype.itemsize == 8
    return stored.astype(np.float64) if is_long else stored


def _rescale(rescale: Rescale, frame: int) -> dict[str, object]:
    """Say how a stored value becomes one in the modality's unit."""
    table = rescale.table
    return {
        "slope": rescale.slope[frame],
        "intercept": rescale.intercept[frame],
        "modality_table": None
        if table is None
        else {"first": table.first, "entries": [int(entry) for entry in table.entries]},
    }


def _open(path: Path) -> Image:
    try:
        return open_image(files.open_object(path))
    except InputError as error:
        # Its words begin with the file's place, which is nobody's business who looks at images.
        words = str(error).removeprefix(f"{path}: ").replace(str(path), "The object's file")
        raise type(error)(words) from error
