"""How a frame is meant to be seen: windows, tables, which end is white, and the size of a pixel (PS3.3)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset

from dae_pacs.errors import InputError
from dae_pacs.image import peek

FUNCTIONS: Final = ("LINEAR", "LINEAR_EXACT", "SIGMOID")
"""VOI LUT Function, C.11.2.1.3; LINEAR where nothing is said."""
_SIXTEEN_BITS: Final = 1 << 16
_SPACINGS: Final = {
    "PixelSpacing": "Pixel Spacing",
    "ImagerPixelSpacing": "Imager Pixel Spacing, at the detector",
    "NominalScannedPixelSpacing": "Nominal Scanned Pixel Spacing",
}


@dataclass(frozen=True)
class Window:
    """A window on the modality's values, C.11.2.1.2."""

    centre: float
    width: float
    function: str
    name: str
    """Its explanation, or ""."""


@dataclass(frozen=True)
class Table:
    """A VOI LUT, C.11.2.1.1: greys for consecutive values; beyond its ends the end greys hold."""

    first: int
    bits: int
    """Of an entry: the brightest is 2^bits - 1."""
    entries: tuple[int, ...]
    name: str


@dataclass(frozen=True)
class Presentation:
    """All that a viewer needs to know of one frame beside its values."""

    windows: tuple[Window, ...]
    tables: tuple[Table, ...]
    is_inverse: bool
    """Whether the lowest value is shown white: MONOCHROME1, unless Presentation LUT Shape says otherwise."""
    spacing_mm: tuple[float, float] | None
    """Between rows, between columns; None where nothing is said."""
    spacing_from: str
    """Which element says so, in words; "" where none does."""
    aspect: float
    """Height of a pixel over its width."""


def read_presentation(ds: Dataset, frame: int = 0) -> Presentation:
    """Read how one frame is meant to be seen; what is broken is left out, since it only helps.

    Args:
        ds: the object's header.
        frame: counted from 0.
    """
    sources = (*_functional_groups(ds, frame), ds)
    spacing_mm, spacing_from = _spacing(sources)
    return Presentation(
        windows=tuple(next(filter(None, map(_windows, sources)), ())),
        tables=tuple(table for item in peek.items(ds, "VOILUTSequence") for table in _table(item, ds)),
        is_inverse=_is_inverse(ds),
        spacing_mm=spacing_mm,
        spacing_from=spacing_from,
        aspect=_aspect(ds, spacing_mm),
    )


def _functional_groups(ds: Dataset, frame: int) -> Iterator[Dataset]:
    """Yield the items that may carry a frame's windows and spacing, its own before the shared ones."""
    own = peek.items(ds, "PerFrameFunctionalGroupsSequence")[frame : frame + 1]
    for group in (*own, *peek.items(ds, "SharedFunctionalGroupsSequence")):
        for keyword in ("FrameVOILUTSequence", "PixelMeasuresSequence"):
            yield from peek.items(group, keyword)


def _windows(ds: Dataset) -> list[Window]:
    centres, widths = _numbers(ds, "WindowCenter"), _numbers(ds, "WindowWidth")
    names = peek.strings(ds, "WindowCenterWidthExplanation")
    said = peek.string(ds, "VOILUTFunction").upper()
    function = said if said in FUNCTIONS else "LINEAR"
    return [
        Window(centre, width, function, names[index] if index < len(names) else "")
        for index, (centre, width) in enumerate(zip(centres, widths, strict=False))
        if np.isfinite([centre, width]).all() and _is_width(width, function)
    ]


def _is_width(width: float, function: str) -> bool:
    """LINEAR divides by width - 1, the others by width."""
    return width >= 1 if function == "LINEAR" else width > 0


def _table(item: Dataset, ds: Dataset) -> list[Table]:
    """Read one VOI LUT; none where it is not what its descriptor says."""
    descriptor = [int(value) for value in _numbers(item, "LUTDescriptor")]
    if len(descriptor) != 3 or not 1 <= descriptor[2] <= 16:
        return []
    count, first, bits = descriptor[0] % _SIXTEEN_BITS or _SIXTEEN_BITS, descriptor[1], descriptor[2]
    if first >= _SIXTEEN_BITS // 2 and _has_signed_input(ds):
        first -= _SIXTEEN_BITS
    entries = _entries(item, count, bits)
    if len(entries) < count:
        return []
    return [Table(first, bits, entries[:count], peek.string(item, "LUTExplanation"))]


def _entries(item: Dataset, count: int, bits: int) -> tuple[int, ...]:
    elem = peek.element(item, "LUTData")
    data: object = (elem.value if elem is not None else None) or b""
    if not isinstance(data, bytes):
        return tuple(np.asarray(data, dtype=np.int64).ravel().tolist())
    if bits <= 8 and len(data) in (count, count + count % 2):
        return tuple(data)
    order = ">" if isinstance(elem, RawDataElement) and not elem.is_little_endian else "<"
    return tuple(np.frombuffer(data[: len(data) // 2 * 2], dtype=f"{order}u2").tolist())


def _has_signed_input(ds: Dataset) -> bool:
    """Tell whether what goes into a VOI LUT can be below zero, which gives its first value a sign."""
    intercept = next(iter(_numbers(ds, "RescaleIntercept")), 0.0)
    return intercept < 0 or next(iter(_numbers(ds, "PixelRepresentation")), 0) == 1


def _is_inverse(ds: Dataset) -> bool:
    """Presentation LUT Shape has the last word (C.11.6); without it, the photometric interpretation."""
    shape = peek.string(ds, "PresentationLUTShape").upper()
    if shape in ("IDENTITY", "INVERSE"):
        return shape == "INVERSE"
    return peek.string(ds, "PhotometricInterpretation") == "MONOCHROME1"


def _spacing(sources: tuple[Dataset, ...]) -> tuple[tuple[float, float] | None, str]:
    for keyword, words in _SPACINGS.items():
        for ds in sources:
            pair = _pair(ds, keyword)
            if pair is not None:
                return pair, words
    return None, ""


def _aspect(ds: Dataset, spacing_mm: tuple[float, float] | None) -> float:
    """Pixel Aspect Ratio is a pair of integers, vertical then horizontal (C.7.6.3.1.7)."""
    pair = spacing_mm or _pair(ds, "PixelAspectRatio") or (1.0, 1.0)
    return pair[0] / pair[1]


def _pair(ds: Dataset, keyword: str) -> tuple[float, float] | None:
    numbers = _numbers(ds, keyword)
    if len(numbers) != 2 or not np.isfinite(numbers).all() or min(numbers) <= 0:
        return None
    return numbers[0], numbers[1]


def _numbers(ds: Dataset, keyword: str) -> tuple[float, ...]:
    try:
        return peek.numbers(ds, keyword)
    except InputError:
        return ()
