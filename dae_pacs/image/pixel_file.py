"""Write an object whose frames come a run at a time, so that memory does not depend on their number.

What depends on all frames (their extremes, the offsets of compressed ones) has a place of fixed size at the
front, which is filled in when the last frame is written; where all frames come in one run, their extremes are
known before, and the front is written once. The file appears under its name after that.
"""

import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

from dae_pacs.durable import durable_file
from dae_pacs.errors import PixelError
from dae_pacs.image import peek
from dae_pacs.image.codecs import COMPRESSED
from dae_pacs.image.compress import encode_frame
from dae_pacs.image.elements import SEQUENCE_END, element_header, encode, raw
from dae_pacs.image.layout import Layout, read_layout
from dae_pacs.image.part10 import file_start
from dae_pacs.image.rules import put_extremes
from dae_pacs.image.stored import pack, transfer_syntax

# Offsets in a Basic Offset Table and lengths of elements have 32 bits (PS3.5 sections 7.1.1 and A.4).
LARGEST_OFFSET = 0xFFFFFFFF
_UNDEFINED_LENGTH = 0xFFFFFFFF
# No lossless coding here makes the noisiest frame a quarter larger than it was.
_WORST_GROWTH = 1.25
_FRAME_OVERHEAD_BYTES = 1024
_ITEM = struct.Struct("<HHL")

AddFrames = Callable[[NDArray[np.generic]], None]
"""Takes the next frames, (frames, rows, columns) in the type of `Layout.dtype`."""


def empty_pixels(source: Dataset, layout: Layout) -> DataElement:
    """Make the pixel data element that holds the place for the frames of an object like `source`."""
    elem = peek.element(source, layout.keyword)
    vr = {"FloatPixelData": "OF", "DoubleFloatPixelData": "OD"}.get(layout.keyword, "OW")
    if layout.bits_allocated == 8 and elem is not None and str(elem.VR) == "OB":
        # Bytes may be told as bytes or as words (PS3.5 annex A.2); the source's choice stays.
        vr = "OB"
    pixels = DataElement(peek.tag_of(layout.keyword), vr, b"", already_converted=True)
    pixels.is_undefined_length = False
    return pixels


@contextmanager
def pixel_file(path: Path, header: Dataset, *, with_extremes: bool) -> Iterator[AddFrames]:
    """Open a file for the frames of an object; it appears, flushed, when all of them were added.

    Args:
        path: of the file.
        header: with `empty_pixels`; its transfer syntax says whether the frames are compressed.
        with_extremes: whether the header's Smallest and Largest Image Pixel Value are told anew.

    Raises:
        OSError: the disk refuses.
        PixelError: too few or too many frames, or a file that no DICOM length can describe.
    """
    with durable_file(path) as file:
        pixels = _Pixels(file, header, with_extremes=with_extremes)
        yield pixels.add
        pixels.finish()


class _Pixels:
    """The pixel data element in the making."""

    def __init__(self, file: BinaryIO, header: Dataset, *, with_extremes: bool) -> None:
        self._file, self._header = file, header
        self._layout = read_layout(header)
        self._tag = peek.tag_of(self._layout.keyword)
        self._place = int(self._tag)
        """The same as a plain number: tags compare with each other in Python."""
        self._with_extremes = with_extremes
        self._syntax = transfer_syntax(header)
        self._is_compressed = self._syntax in COMPRESSED
        self._is_extended = self._is_compressed and _may_exceed_offsets(self._layout)
        if not self._is_compressed and self._layout.size_bytes >= LARGEST_OFFSET:
            raise PixelError(
                f"{self._layout.size_bytes >> 20} MiB of uncompressed pixels are more than an element holds; "
                "let the rule compress"
            )
        self._offsets: list[int] = []
        self._lengths: list[int] = []
        self._frames = 0
        self._extremes: tuple[int, int] | None = None
        self._start: int | None = None
        """Of the first frame; None until the front is written."""
        self._is_front_final = False

    def add(self, stored: NDArray[np.generic]) -> None:
        """Write the next frames."""
        layout = self._layout
        if stored.shape[1:] != layout.shape[1:] or stored.dtype.newbyteorder("=") != layout.dtype:
            raise PixelError(
                f"The frames to write are {stored.shape[1:]} {stored.dtype}, "
                f"{layout.shape[1:]} {layout.dtype} were expected"
            )
        self._frames += len(stored)
        if not layout.is_float:
            lowest, highest = int(stored.min()), int(stored.max())
            known = self._extremes or (lowest, highest)
            self._extremes = (min(lowest, known[0]), max(highest, known[1]))
        if self._start is None:
            self._is_front_final = self._frames == layout.frames and not self._is_compressed
            if self._is_front_final:
                self._put_extremes()
            self._start = self._write_front()
        if self._is_compressed:
            for frame in stored:
                self._add_fragment(encode_frame(frame, layout, self._syntax), self._start)
        else:
            self._file.write(pack(stored, layout))

    def finish(self) -> None:
        """End the element, write what stands behind it, and fill in the front."""
        if self._frames != self._layout.frames:
            raise PixelError(
                f"{self._frames} frames were written where the header says {self._layout.frames}"
            )
        if self._is_compressed:
            self._file.write(SEQUENCE_END)
        else:
            self._file.write(b"\0" * (self._layout.size_bytes % 2))
        self._file.writelines(encode(self._header, lambda tag: int(tag) > self._place))
        if self._is_front_final:
            return
        self._put_extremes()
        if self._offsets and self._offsets[-1] > LARGEST_OFFSET and not self._is_extended:
            raise PixelError("The compressed frames grew beyond what their offset table holds")
        self._file.seek(0)
        if self._write_front() != self._start:
            raise PixelError("The header changed its size while the frames were written")

    def _put_extremes(self) -> None:
        if self._with_extremes and self._extremes is not None:
            put_extremes(self._header, self._layout, *self._extremes)

    def _add_fragment(self, data: bytes, start: int) -> None:
        self._offsets.append(self._file.tell() - start)
        self._lengths.append(len(data))
        self._file.write(_ITEM.pack(0xFFFE, 0xE000, len(data)))
        self._file.write(data)

    def _write_front(self) -> int:
        """Write everything before the first frame; return where that one starts."""
        header, layout, write, tag = self._header, self._layout, self._file.write, self._tag
        if self._is_extended:
            for keyword, numbers in (
                ("ExtendedOffsetTable", self._offsets),
                ("ExtendedOffsetTableLengths", self._lengths),
            ):
                header._dict[peek.tag_of(keyword)] = raw(
                    peek.tag_of(keyword), "OV", _table("Q", numbers, layout.frames)
                )
        write(file_start(header))
        self._file.writelines(encode(header, lambda other: int(other) < self._place))
        if self._is_compressed:
            table = b"" if self._is_extended else _table("L", self._offsets, layout.frames)
            write(element_header(tag, "OB", _UNDEFINED_LENGTH))
            write(_ITEM.pack(0xFFFE, 0xE000, len(table)) + table)
        else:
            vr = str(header.get_item(tag, keep_deferred=True).VR)
            write(element_header(tag, vr, layout.size_bytes + layout.size_bytes % 2))
        return self._file.tell()


def _table(kind: str, numbers: list[int], count: int) -> bytes:
    """Encode an offset table; zeros stand in it until the numbers are known."""
    return struct.pack(f"<{count}{kind}", *(numbers or [0] * count))


def _may_exceed_offsets(layout: Layout) -> bool:
    """Decide before the first frame is written, since the two kinds of table stand in different places."""
    worst = layout.size_bytes * _WORST_GROWTH + layout.frames * _FRAME_OVERHEAD_BYTES
    return worst > LARGEST_OFFSET
