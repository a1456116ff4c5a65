"""What a header says about its pixel cells, checked before any memory is spent on them (PS3.3 C.7.6.3)."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from pydicom.dataset import Dataset

from dae_pacs.errors import PixelError, UnsupportedImageError
from dae_pacs.image import peek

GREY = frozenset({"MONOCHROME1", "MONOCHROME2"})
PIXEL_KEYWORDS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
_FLOAT_TYPES = {"FloatPixelData": "f4", "DoubleFloatPixelData": "f8"}
# A compressed object doesn't say how large it becomes; more than this is refused before decoding it.
LARGEST_DECODED_BYTES = 4 << 30
# Nor how large a frame: a blank one of any size compresses to a few bytes. The largest detectors have 2^26.
LARGEST_FRAME_PIXELS = 1 << 28
# Frames are worked on in runs of so many pixels: enough for a full pass of the network on a CPU several times
# over, few enough that memory does not depend on the number of frames.
RUN_PIXELS = 1 << 22


@dataclass(frozen=True)
class Layout:
    """How the cells of an image are laid out."""

    keyword: str
    """Which of the three pixel data elements holds them."""
    frames: int
    rows: int
    columns: int
    bits_allocated: int
    bits_stored: int
    high_bit: int
    is_signed: bool

    @property
    def shape(self) -> tuple[int, int, int]:
        """Frames, rows, columns."""
        return (self.frames, self.rows, self.columns)

    @property
    def size_bytes(self) -> int:
        """What the cells take, uncompressed."""
        return self.frames * self.rows * self.columns * self.bits_allocated // 8

    def runs(self) -> Iterator[tuple[int, int]]:
        """Yield runs of whole frames, as first frame and the one behind the last, of bounded size."""
        step = max(1, RUN_PIXELS // (self.rows * self.columns))
        for first in range(0, self.frames, step):
            yield first, min(first + step, self.frames)

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """The type of a stored value."""
        if self.keyword in _FLOAT_TYPES:
            return np.dtype(_FLOAT_TYPES[self.keyword])
        return np.dtype(f"{'i' if self.is_signed else 'u'}{self.bits_allocated // 8}")

    @property
    def is_float(self) -> bool:
        """Whether the values are stored as floating point numbers."""
        return self.keyword in _FLOAT_TYPES

    @property
    def lowest(self) -> int:
        """The smallest value that fits into the bits stored."""
        return -(1 << (self.bits_stored - 1)) if self.is_signed else 0

    @property
    def highest(self) -> int:
        """The largest value that fits into the bits stored."""
        return (1 << (self.bits_stored - (1 if self.is_signed else 0))) - 1


def read_layout(ds: Dataset) -> Layout:
    """Read and check the Image Pixel module.

    Raises:
        UnsupportedImageError: colour, palette, packed bits: well formed, but not ours.
        PixelError: values missing or contradicting each other.
    """
    samples = peek.integer(ds, "SamplesPerPixel")
    photometric = peek.string(ds, "PhotometricInterpretation")
    if (samples or 1) != 1 or photometric not in GREY:
        raise UnsupportedImageError(
            f"photometric interpretation {photometric or 'missing'} with {samples or 1} samples: only grey"
        )
    keyword = next((name for name in PIXEL_KEYWORDS if peek.element(ds, name) is not None), None)
    if keyword is None:
        raise PixelError("The object has no pixel data; nothing can be denoised in it")
    frames = peek.integer(ds, "NumberOfFrames")
    bits_allocated = _required(ds, "BitsAllocated")
    if keyword in _FLOAT_TYPES:
        bits_allocated = 8 * np.dtype(_FLOAT_TYPES[keyword]).itemsize
    bits_stored = bits_allocated if keyword in _FLOAT_TYPES else _required(ds, "BitsStored")
    high_bit = peek.integer(ds, "HighBit")
    layout = Layout(
        keyword=keyword,
        frames=1 if frames is None else frames,
        rows=_required(ds, "Rows"),
        columns=_required(ds, "Columns"),
        bits_allocated=bits_allocated,
        bits_stored=bits_stored,
        high_bit=bits_stored - 1 if high_bit is None else high_bit,
        is_signed=peek.integer(ds, "PixelRepresentation") == 1,
    )
    _check(layout)
    return layout


def _required(ds: Dataset, keyword: str) -> int:
    value = peek.integer(ds, keyword)
    if value is None:
        raise PixelError(f"{keyword} is missing; without it the pixel data can't be read")
    return value


def _check(layout: Layout) -> None:
    if layout.frames < 1 or layout.rows < 1 or layout.columns < 1:
        raise PixelError(
            f"The header says {layout.frames} frames of {layout.rows} x {layout.columns}: no image"
        )
    if layout.bits_allocated not in (8, 16, 32, 64):
        raise UnsupportedImageError(f"Bits Allocated {layout.bits_allocated}: only 8, 16, 32 and 64 bits")
    if not layout.is_float and not layout.bits_stored - 1 <= layout.high_bit < layout.bits_allocated:
        raise PixelError(
            f"Bits Allocated {layout.bits_allocated}, Bits Stored {layout.bits_stored} and "
            f"High Bit {layout.high_bit} contradict each other; correct the header"
        )
