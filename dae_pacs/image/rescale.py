"""From stored values to the modality's unit and back (Modality LUT, PS3.3 C.11.1 and C.7.6.16.2.9)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset

from dae_pacs.errors import PixelError
from dae_pacs.image import peek
from dae_pacs.image.layout import Layout

_SIXTEEN_BITS = 1 << 16
_EXACT_IN_FLOAT32 = 1 << 23


@dataclass(frozen=True)
class Table:
    """A Modality LUT: output values for consecutive stored values; beyond its ends the end values hold."""

    first: int
    entries: NDArray[np.float32]


@dataclass(frozen=True)
class Rescale:
    """The modality transform of each frame."""

    slope: tuple[float, ...]
    intercept: tuple[float, ...]
    table: Table | None = None

    def part(self, first: int, stop: int) -> "Rescale":
        """Return the transform of some of the frames."""
        return Rescale(self.slope[first:stop], self.intercept[first:stop], self.table)

    def to_values(self, stored: NDArray[np.generic], index: int) -> NDArray[np.float32]:
        """Map one frame, (rows, columns) as stored, to float32 in the modality's unit."""
        values = np.empty(stored.shape, dtype=np.float32)
        self.put_values(stored, index, values)
        return values

    def put_values(self, stored: NDArray[np.generic], index: int, into: NDArray[np.float32]) -> None:
        """Do as `to_values` does, into an array that is there."""
        slope, intercept = self.slope[index], self.intercept[index]
        is_short = stored.dtype.kind in "ui" and stored.dtype.itemsize <= 2
        if self.table is not None:
            last = len(self.table.entries) - 1
            places = np.clip(stored.astype(np.int64) - self.table.first, 0, last)
            into[:] = self.table.entries[places]
        elif slope == 1.0 and intercept == 0.0:
            into[:] = stored
        elif is_short and slope == 1.0 and intercept.is_integer() and abs(intercept) < _EXACT_IN_FLOAT32:
            # Whole numbers this small add up exactly in float32.
            into[:] = stored
            into += np.float32(intercept)
        elif is_short:
            into[:] = _all_values(stored.dtype, slope, intercept)[stored.view(f"u{stored.dtype.itemsize}")]
        else:
            into[:] = stored.astype(np.float64) * slope + intercept

    def to_stored(self, values: NDArray[np.float32], index: int) -> NDArray[np.float64]:
        """Map one frame back: float64, neither rounded nor clipped, but for a table, which gives integers."""
        if self.table is not None:
            return _nearest_places(values, self.table)
        back = values.astype(np.float64)
        back -= self.intercept[index]
        back /= self.slope[index]
        return back


def _all_values(dtype: np.dtype[np.generic], slope: float, intercept: float) -> NDArray[np.float32]:
    """Tabulate the transform over every cell: exact in float64, rounded once, and quick to look up."""
    patterns = np.arange(1 << (8 * dtype.itemsize), dtype=f"u{dtype.itemsize}").view(dtype)
    return (patterns.astype(np.float64) * slope + intercept).astype(np.float32)


def _nearest_places(values: NDArray[np.float32], table: Table) -> NDArray[np.float64]:
    """Find the stored value whose table entry lies nearest."""
    order = np.argsort(table.entries, kind="stable")
    entries = table.entries[order]
    right = np.clip(np.searchsorted(entries, values), 1, max(1, len(entries) - 1))
    right = np.minimum(right, len(entries) - 1)
    left = np.maximum(right - 1, 0)
    nearer_left = np.abs(values - entries[left]) <= np.abs(entries[right] - values)
    return (order[np.where(nearer_left, left, right)] + table.first).astype(np.float64)


def read_rescale(ds: Dataset, layout: Layout) -> Rescale:
    """Read the modality transform of every frame.

    Raises:
        PixelError: a slope of zero, a number that is none, a table shorter than it says.
    """
    # An item with an empty descriptor says nothing; such files exist, with a slope beside it or none.
    tables = [item for item in peek.items(ds, "ModalityLUTSequence") if peek.numbers(item, "LUTDescriptor")]
    if tables:
        ones = (1.0,) * layout.frames
        return Rescale(slope=ones, intercept=(0.0,) * layout.frames, table=_read_table(tables[0], layout))
    described_by = _per_frame(ds, layout.frames)
    # Thousands of frames may share one description.
    found = {key: _slope_and_intercept(item) for key, item in {id(one): one for one in described_by}.items()}
    pairs = tuple(found[id(one)] for one in described_by)
    return Rescale(slope=tuple(pair[0] for pair in pairs), intercept=tuple(pair[1] for pair in pairs))


def _per_frame(ds: Dataset, frames: int) -> tuple[Dataset, ...]:
    """Return the data set that carries each frame's slope: its own group, the shared one, or the root."""
    shared = next((_transform_of(item) for item in peek.items(ds, "SharedFunctionalGroupsSequence")), None)
    default = shared if shared is not None else ds
    own = peek.items(ds, "PerFrameFunctionalGroupsSequence")
    if own and len(own) != frames:
        raise PixelError(
            f"Number of Frames says {frames}, the functional groups describe {len(own)} frames; "
            "the header is wrong"
        )
    transforms = (_transform_of(item) for item in own)
    return tuple(default if found is None else found for found in transforms) if own else (default,) * frames


def _transform_of(group: Dataset) -> Dataset | None:
    return next(iter(peek.items(group, "PixelValueTransformationSequence")), None)


def _slope_and_intercept(ds: Dataset) -> tuple[float, float]:
    slope, intercept = peek.number(ds, "RescaleSlope"), peek.number(ds, "RescaleIntercept")
    slope, intercept = 1.0 if slope is None else slope, 0.0 if intercept is None else intercept
    if not (np.isfinite(slope) and np.isfinite(intercept)) or slope == 0.0:
        raise PixelError(
            f"Rescale Slope {slope} with Intercept {intercept} maps nothing back; correct the header"
        )
    return slope, intercept


def _read_table(item: Dataset, layout: Layout) -> Table:
    """Read a LUT Descriptor and its data, PS3.3 section C.11.1.1."""
    descriptor = [int(value) for value in peek.numbers(item, "LUTDescriptor")]
    if len(descriptor) != 3 or layout.is_float:
        raise PixelError(f"The Modality LUT's descriptor is {descriptor}, three integers were expected")
    # Zero entries mean 2^16; the first value mapped has the sign of the pixels.
    count = descriptor[0] % _SIXTEEN_BITS or _SIXTEEN_BITS
    first = descriptor[1]
    if layout.is_signed and first >= _SIXTEEN_BITS // 2:
        first -= _SIXTEEN_BITS
    elem = peek.element(item, "LUTData")
    order = ">" if isinstance(elem, RawDataElement) and not elem.is_little_endian else "<"
    data: object = (elem.value if elem is not None else None) or b""
    if not isinstance(data, bytes):
        entries = np.asarray(data, dtype=np.float32).ravel()
    elif descriptor[2] <= 8 and len(data) in (count, count + count % 2):
        entries = np.frombuffer(data, dtype="u1", count=count).astype(np.float32)
    else:
        entries = np.frombuffer(data[: len(data) // 2 * 2], dtype=f"{order}u2").astype(np.float32)
    if len(entries) < count:
        raise PixelError(
            f"The Modality LUT promises {count} entries and holds {len(entries)}; correct the header"
        )
    return Table(first=first, entries=entries[:count])


def read_unit(ds: Dataset) -> str:
    """Return the unit: "HU", "US" (unspecified), PET's units, or "grey" where nothing is said."""
    groups = (
        *peek.items(ds, "SharedFunctionalGroupsSequence"),
        *peek.items(ds, "PerFrameFunctionalGroupsSequence")[:1],
    )
    transform = next((found for group in groups if (found := _transform_of(group)) is not None), ds)
    lut_type = next(
        (peek.string(item, "ModalityLUTType") for item in peek.items(ds, "ModalityLUTSequence")), ""
    )
    if said := lut_type or peek.string(transform, "RescaleType"):
        return said
    modality = peek.string(ds, "Modality")
    if modality == "CT" and peek.number(ds, "RescaleIntercept") is not None:
        return "HU"
    return (modality == "PT" and peek.string(ds, "Units")) or "grey"
