"""Every stored type, transform and padding at once, through decode, encode and derive."""

from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from dae_pacs.image import pixels

SHAPE = (2, 9, 7)
QUICK = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@dataclass(frozen=True)
class Made:
    """An image, and what is true of it."""

    ds: Dataset
    truth: np.ndarray
    """(frames, rows, columns) stored values."""
    padding: tuple[int, int] | None
    low: int
    high: int


@st.composite
def images(draw: st.DrawFn, judging: ModuleType) -> Made:
    """Draw an image of 8, 10, 12, 14, 16 or 32 bits in cells of 8 to 32, with all that may lie beside it."""
    allocated = draw(st.sampled_from([8, 16, 16, 32]))
    stored = draw(st.sampled_from([bits for bits in (7, 8, 10, 12, 14, 16, 24, 32) if bits <= allocated]))
    is_signed = draw(st.booleans())
    shift = draw(st.integers(0, allocated - stored))
    low, high = (-(1 << (stored - 1)), (1 << (stored - 1)) - 1) if is_signed else (0, (1 << stored) - 1)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    truth = rng.integers(low, high, SHAPE, endpoint=True)
    ds = judging.synthetic("7.3", "OT", ("ORIGINAL", "PRIMARY"))
    ds.NumberOfFrames, ds.Rows, ds.Columns = SHAPE
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = allocated, stored, shift + stored - 1
    ds.PixelRepresentation = int(is_signed)
    ds.PhotometricInterpretation = draw(st.sampled_from(["MONOCHROME1", "MONOCHROME2"]))
    padding = draw_padding(draw, ds, truth) if stored <= 16 else None
    draw_transform(draw, ds, low=low, stored=stored)
    mask = ((1 << stored) - 1) << shift
    garbage = rng.integers(0, (1 << allocated) - 1, SHAPE, endpoint=True)
    cells = ((truth << shift) & mask | garbage & ~mask).astype(f"u{allocated // 8}")
    big = draw(st.booleans())
    ds.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.2" if big else "1.2.840.10008.1.2.1"
    width = allocated // 8
    data = cells.astype(f"{'>' if big else '<'}u{width}").tobytes()
    vr = "OB" if allocated == 8 else "OW"
    ds._dict[Tag("PixelData")] = RawDataElement(
        Tag("PixelData"), vr, len(data), data, 0, is_implicit_VR=False, is_little_endian=not big
    )
    return Made(ds, truth, padding, low, high)


def draw_padding(draw: st.DrawFn, ds: Dataset, truth: np.ndarray) -> tuple[int, int] | None:
    kind = draw(st.sampled_from(["none", "value", "range"]))
    event(f"padding {kind}")
    if kind == "none":
        return None
    vr = "SS" if ds.PixelRepresentation else "US"
    ends = [int(truth[0, 0, 0])]
    ds.add_new("PixelPaddingValue", vr, ends[0])
    if kind == "range":
        ends.append(int(truth[0, 0, 1]))
        ds.add_new("PixelPaddingRangeLimit", vr, ends[1])
    return min(ends), max(ends)


def draw_transform(draw: st.DrawFn, ds: Dataset, *, low: int, stored: int) -> None:
    kind = draw(st.sampled_from(["none", "slope", "table"] if stored <= 12 else ["none", "slope"]))
    event(f"transform {kind}")
    if kind == "slope":
        ds.RescaleSlope = draw(st.sampled_from(["1", "2", "-1", "-0.25", "0.0375", "13.7", "1e-4"]))
        ds.RescaleIntercept = draw(st.sampled_from(["0", "-1024", "0.5", "100000"]))
    elif kind == "table":
        item = Dataset()
        entries = np.cumsum(np.random.default_rng(0).integers(0, 9, 1 << stored)).astype("<u2")
        item.add_new("LUTDescriptor", "SS" if low < 0 else "US", [len(entries), low, 16])
        item.ModalityLUTType = "OD"
        item.add_new("LUTData", "OW", entries.tobytes())
        ds.ModalityLUTSequence = [item]


def expected_values(made: Made) -> np.ndarray:
    """What the modality meant, by the standard's own formula, in float64."""
    if "ModalityLUTSequence" in made.ds:
        entries = np.frombuffer(made.ds.ModalityLUTSequence[0].LUTData, "<u2")
        return entries[made.truth - made.low].astype(np.float64)
    slope, intercept = float(made.ds.get("RescaleSlope", 1)), float(made.ds.get("RescaleIntercept", 0))
    return made.truth * slope + intercept


@QUICK
@given(data=st.data())
def test_strength_0_gives_every_stored_value_back(data: st.DataObject, judging: ModuleType) -> None:
    made = data.draw(images(judging))
    decoded = pixels.decode(made.ds)
    assert np.array_equal(decoded.stored, made.truth)
    assert np.array_equal(decoded.values, expected_values(made).astype(np.float32))
    if made.padding is not None:
        low, high = made.padding
        assert decoded.keep[(made.truth >= low) & (made.truth <= high)].all()
    assert np.array_equal(pixels.encode(decoded.values.copy(), decoded), decoded.stored)
    derived = judging.derive_unchanged(made.ds)
    again = pixels.decode(derived)
    assert np.array_equal(again.stored, made.truth)
    assert np.array_equal(again.values, decoded.values)
    assert np.array_equal(again.keep, decoded.keep)
    assert derived.HighBit == derived.BitsStored - 1
    assert derived.PhotometricInterpretation == made.ds.PhotometricInterpretation


@QUICK
@given(data=st.data())
def test_a_changed_value_is_stored_as_the_nearest_that_is_no_padding(
    data: st.DataObject, judging: ModuleType
) -> None:
    made = data.draw(images(judging))
    decoded = pixels.decode(made.ds)
    span = float(np.ptp(expected_values(made))) or 1.0
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    changed = decoded.values + rng.normal(0, 0.05 * span, SHAPE).astype(np.float32)
    stored: Any = pixels.encode(changed, decoded)
    assert stored.dtype == decoded.stored.dtype
    assert int(stored.min()) >= made.low
    assert int(stored.max()) <= made.high
    assert np.array_equal(stored[decoded.keep], decoded.stored[decoded.keep])
    at_edge = np.zeros(SHAPE, bool)
    if made.padding is not None:
        low, high = made.padding
        assert not ((stored >= low) & (stored <= high) & ~decoded.keep).any()
        at_edge = (stored == low - 1) | (stored == high + 1)
    free = ~decoded.keep & ~at_edge
    back = Made(made.ds, stored.astype(np.int64), made.padding, made.low, made.high)
    misses = np.abs(expected_values(back) - changed.astype(np.float64))[free]
    # No neighbour is nearer; where float32 is coarser than the stored values, neither can be told from it.
    slack = np.spacing(np.abs(changed).max())
    for step in (-1, 1):
        neighbour = np.clip(stored.astype(np.int64) + step, made.low, made.high)
        other = Made(made.ds, neighbour, made.padding, made.low, made.high)
        assert np.all(misses <= np.abs(expected_values(other) - changed.astype(np.float64))[free] + slack)
