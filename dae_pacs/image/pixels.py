"""Pixels are physics: decode to float32 in the modality's unit, and encode back exactly.

`encode(decode(ds).values, decode(ds))` gives the stored values back bit for bit, whatever the stored type.
Training and serving come through here; nothing else reads a pixel. An object with many frames is opened, and
its frames are decoded a run at a time, so that memory does not depend on their number.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from dae_pacs.errors import PixelError
from dae_pacs.image.keep import Padding, find_keep, read_padding
from dae_pacs.image.layout import Layout, read_layout
from dae_pacs.image.rescale import Rescale, read_rescale, read_unit
from dae_pacs.image.stored import CellReader, extract, open_cells

# Every whole number of fewer bits is a float64.
_EXACT_BITS = 53
# A quarter of a megabyte in float64: what is made on the way to stored values stays in a cache.
_PIXELS_AT_ONCE = 1 << 15


@dataclass(frozen=True, eq=False)
class Image:
    """An object whose frames are decoded as they are asked for."""

    ds: Dataset
    layout: Layout
    rescale: Rescale
    padding: Padding | None
    unit: str
    read_cells: CellReader


@dataclass(frozen=True)
class Decoded:
    """A run of an image's frames, and all that is needed to store them again."""

    values: NDArray[np.float32]
    """(frames, rows, columns) float32 in the modality's unit. MONOCHROME1 is not inverted."""
    stored: NDArray[np.generic]
    """The same shape as stored: integers, or floats for (Double) Float Pixel Data. May be read-only."""
    keep: NDArray[np.bool_]
    """The same shape, True where the pixel must come back untouched."""
    unit: str
    layout: Layout
    """Of an image of these frames alone."""
    rescale: Rescale
    padding: Padding | None


def open_image(ds: Dataset) -> Image:
    """Hold an object's header against its pixel data, and make ready to decode frames.

    Raises:
        UnsupportedImageError: colour, palette, packed bits, or a transfer syntax without a codec.
        PixelError: the pixel data contradict the header.
    """
    layout = read_layout(ds)
    # First, since memory is spent on what Number of Frames says as soon as it is believed.
    read_cells = open_cells(ds, layout)
    return Image(
        ds,
        layout,
        rescale=read_rescale(ds, layout),
        padding=read_padding(ds, layout),
        unit=read_unit(ds),
        read_cells=read_cells,
    )


def decode_run(image: Image, first: int, stop: int) -> Decoded:
    """Decode the frames from `first` up to, not with, `stop`.

    Raises:
        PixelError: they do not decode.
    """
    layout = replace(image.layout, frames=stop - first)
    rescale = image.rescale.part(first, stop)
    stored = extract(image.read_cells(first, stop), layout)
    values = np.empty(layout.shape, dtype=np.float32)
    keep = np.empty(layout.shape, dtype=np.bool_)
    for index, frame in enumerate(stored):
        rescale.put_values(frame, index, values[index])
        keep[index] = find_keep(frame, layout, image.padding)
    return Decoded(values, stored, keep, image.unit, layout, rescale, image.padding)


def read_stored(image: Image, frame: int) -> NDArray[np.generic]:
    """Decode one frame and leave its values as they are stored, (rows, columns); it may be read-only.

    Raises:
        PixelError: it does not decode.
    """
    stored: NDArray[np.generic] = extract(image.read_cells(frame, frame + 1), image.layout)[0]
    return stored


def decode(ds: Dataset) -> Decoded:
    """Decode all frames of an object at once; raises what `open_image` and `decode_run` do."""
    image = open_image(ds)
    return decode_run(image, 0, image.layout.frames)


def encode(values: NDArray[np.float32], decoded: Decoded) -> NDArray[np.generic]:
    """Turn values back into stored values.

    Where a value is the decoded one (bit for bit) or the pixel is to be kept, the stored value comes back as
    it was; elsewhere it is rounded to the nearest, kept within the bits stored, and never becomes padding.

    Args:
        values: (frames, rows, columns) float32, in `decoded.unit`.
        decoded: what `decode` gave for the image.

    Returns:
        The shape and dtype of `decoded.stored`.

    Raises:
        PixelError: another shape or type, or a changed value that is not finite.
    """
    if values.shape != decoded.values.shape or values.dtype != np.float32:
        raise PixelError(
            f"The processed image is {values.shape} {values.dtype}, "
            f"{decoded.values.shape} float32 was expected"
        )
    stored = np.array(decoded.stored, dtype=decoded.layout.dtype)
    for index, frame in enumerate(values):
        # Bits are compared, not numbers: a NaN that came in must be recognised when it comes back.
        changed = np.ascontiguousarray(frame).view(np.uint32) != decoded.values[index].view(np.uint32)
        changed &= ~decoded.keep[index]
        # A table is searched for a whole frame at once, since it must be sorted for that.
        step = len(frame) if decoded.rescale.table is not None else max(1, _PIXELS_AT_ONCE // frame.shape[1])
        for first in range(0, len(frame), step):
            part = slice(first, first + step)
            if changed[part].any():
                before, target = decoded.stored[index, part], stored[index, part]
                _encode_rows(frame[part], changed[part], before, target, decoded=decoded, index=index)
    return stored


def _encode_rows(
    values: NDArray[np.float32],
    changed: NDArray[np.bool_],
    before: NDArray[np.generic],
    target: NDArray[np.generic],
    *,
    decoded: Decoded,
    index: int,
) -> None:
    """Write the changed values of some rows of a frame into `target`, (rows, columns) of the stored type."""
    if not (np.isfinite(values) | ~changed).all():
        raise PixelError("The processed image holds values that are not finite; it is not stored")
    back = decoded.rescale.to_stored(values, index)
    layout = decoded.layout
    if layout.is_float:
        np.copyto(target, back, where=changed, casting="same_kind")
        return
    np.rint(back, out=back)
    np.clip(back, layout.lowest, layout.highest, out=back)
    numbers = _to_integers(back, layout)
    if decoded.padding is not None:
        _leave_padding(numbers, before, changed, decoded.padding, layout)
    np.copyto(target, numbers, where=changed)


def _to_integers(numbers: NDArray[np.float64], layout: Layout) -> NDArray[np.generic]:
    """Convert whole float64 numbers within the stored range to the stored type."""
    if layout.bits_stored < _EXACT_BITS:
        return numbers.astype(layout.dtype)
    # The highest stored value is no float64; what was clipped to it lies just above.
    with np.errstate(invalid="ignore"):
        converted = numbers.astype(layout.dtype)
    converted[numbers >= float(layout.highest)] = layout.highest
    return converted


def _leave_padding(
    numbers: NDArray[Any],
    before: NDArray[Any],
    changed: NDArray[np.bool_],
    padding: Padding,
    layout: Layout,
) -> None:
    """Move changed pixels off the padding values, to the side where the pixel was before.

    Any: the image's own integer type, which numpy's types can't compare with a number unless they know it.
    """
    hit = padding.covers(numbers)
    hit &= changed
    if not hit.any():
        return
    above, below = int(padding.high) + 1, int(padding.low) - 1
    was_above = before[hit] > padding.high
    # A pixel that was image lies on one side, so that this side exists; rounding never crosses to the other.
    numbers[hit] = np.where(was_above, min(above, layout.highest), max(below, layout.lowest))
