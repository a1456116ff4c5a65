"""Move overlays out of the unused bits of pixel cells, where stored values are about to be written.

They may carry a side marker or a measurement, so they are kept, as Overlay Data of their own (PS3.3 C.9.2).
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag

from dae_pacs.image.elements import raw
from dae_pacs.image.layout import Layout
from dae_pacs.image.stored import embedded_overlays, open_cells

_BITS_ALLOCATED, _BIT_POSITION, _DATA = 0x0100, 0x0102, 0x3000
_FRAMES_IN_OVERLAY, _FRAME_ORIGIN = 0x0015, 0x0051


def move_overlays(target: Dataset, source: Dataset, layout: Layout) -> None:
    """Give each overlay that lies in the source's pixel cells its own data in the derived object."""
    groups = [group for group in embedded_overlays(source) if _bit_position(source, group) is not None]
    if not groups or layout.is_float:
        return
    read_cells = open_cells(source, layout)
    for group in groups:
        position = _bit_position(source, group) or 0
        if not _lies_outside(position, layout):
            continue
        _put(target, group, _BITS_ALLOCATED, (1).to_bytes(2, "little"))
        _put(target, group, _BIT_POSITION, (0).to_bytes(2, "little"))
        if layout.frames > 1:
            tag = BaseTag(group << 16 | _FRAMES_IN_OVERLAY)
            target._dict[tag] = raw(tag, "IS", str(layout.frames).encode("ascii"))
            _put(target, group, _FRAME_ORIGIN, (1).to_bytes(2, "little"))
        data = pack_bits((read_cells(first, stop) for first, stop in layout.runs()), position)
        target[BaseTag(group << 16 | _DATA)] = DataElement(group << 16 | _DATA, "OW", data)


def pack_bits(runs: Iterable[NDArray[np.generic]], position: int) -> bytes:
    """Pack one bit of each cell, first pixel into the lowest bit (PS3.5 section 8.1.2), to an even length."""
    packed, left = bytearray(), np.empty(0, dtype=np.uint8)
    for cells in runs:
        plane = np.right_shift(cells, np.array(position, cells.dtype)).astype(np.uint8) & 1
        bits = np.concatenate([left, plane.ravel()])
        # Frames follow each other bit by bit, so a run may end within a byte.
        whole = bits.size - bits.size % 8
        packed += np.packbits(bits[:whole], bitorder="little").tobytes()
        left = bits[whole:]
    packed += np.packbits(left, bitorder="little").tobytes()
    return bytes(packed) + b"\0" * (len(packed) % 2)


def _lies_outside(position: int, layout: Layout) -> bool:
    """Say whether a bit is unused; a lying header must not turn image bits into an overlay."""
    is_used = layout.high_bit - layout.bits_stored < position <= layout.high_bit
    return not is_used and position < layout.bits_allocated


def _bit_position(ds: Dataset, group: int) -> int | None:
    elem = ds.get_item(BaseTag(group << 16 | _BIT_POSITION), keep_deferred=True)
    if elem is None or elem.value in (None, b""):
        return None
    if isinstance(elem.value, bytes):
        return int.from_bytes(elem.value[:2], "little" if getattr(elem, "is_little_endian", True) else "big")
    return int(elem.value)


def _put(target: Dataset, group: int, number: int, value: bytes) -> None:
    tag = BaseTag(group << 16 | number)
    target._dict[tag] = raw(tag, "US", value)
