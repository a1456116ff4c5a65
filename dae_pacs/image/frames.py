"""Find the frames in encapsulated pixel data, PS3.5 section A.4."""

import struct
from dataclasses import dataclass

from pydicom.dataset import Dataset

from dae_pacs.errors import PixelError
from dae_pacs.image import peek
from dae_pacs.image.span import Span

_ITEM, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE0DD
# A frame's first bytes: JPEG and JPEG-LS start of image; a JPEG 2000 codestream; a JP2 file's first box.
_FRAME_STARTS = (b"\xff\xd8\xff", b"\xff\x4f\xff\x51", b"\x00\x00\x00\x0cjP  ")
_LONGEST_START = 8


@dataclass(frozen=True)
class _Fragment:
    offset: int
    """Of its item tag, from the first fragment's item tag on, as offset tables count."""
    place: int
    """Of its first byte, from the beginning of the pixel data on."""
    size_bytes: int


@dataclass(frozen=True)
class Frames:
    """Compressed frames, each read when it is asked for."""

    span: Span
    fragments: tuple[tuple[_Fragment, ...], ...]
    """Of each frame."""

    def read(self, index: int) -> bytes:
        """Return the compressed bytes of one frame."""
        with self.span.reader() as read:
            return b"".join(read(part.place, part.size_bytes) for part in self.fragments[index])


def find_frames(ds: Dataset, span: Span, *, count: int) -> Frames:
    """Find the `count` compressed frames of an encapsulated Pixel Data element.

    Raises:
        PixelError: broken items, or a number of frames that the header contradicts.
    """
    table, fragments = _read_items(span)
    if not fragments:
        raise PixelError("The compressed pixel data hold no frame; the object must be sent again")
    if count == 1:
        return Frames(span, (tuple(fragments),))
    if len(fragments) == count:
        return Frames(span, tuple((fragment,) for fragment in fragments))
    if len(fragments) < count:
        raise PixelError(
            f"Number of Frames says {count}, the compressed pixel data hold {len(fragments)} fragments; "
            "the header is wrong or the object is incomplete"
        )
    offsets = _extended_offsets(ds) or struct.unpack(f"<{len(table) // 4}L", table[: len(table) // 4 * 4])
    starts = set(offsets) or _starts_by_content(span, fragments)
    frames: list[list[_Fragment]] = []
    for fragment in fragments:
        if fragment.offset in starts or not frames:
            frames.append([])
        frames[-1].append(fragment)
    if len(frames) != count:
        raise PixelError(
            f"Number of Frames says {count}, the compressed pixel data hold {len(frames)} frames; "
            "the header is wrong or the object is incomplete"
        )
    return Frames(span, tuple(tuple(parts) for parts in frames))


def _read_items(span: Span) -> tuple[bytes, list[_Fragment]]:
    """Return the Basic Offset Table's bytes and the fragments' places."""
    items: list[_Fragment] = []
    position, first = 0, 0
    with span.reader() as read:
        while position + 8 <= span.size_bytes:
            group, number, length = struct.unpack("<HHL", read(position, 8))
            tag = group << 16 | number
            if tag == _SEQUENCE_END:
                break
            if tag != _ITEM or position + 8 + length > span.size_bytes:
                raise PixelError(
                    "The compressed pixel data are cut off or broken; the object must be sent again"
                )
            if len(items) == 1:
                first = position
            items.append(_Fragment(position - first, position + 8, length))
            position += 8 + length
        return (read(items[0].place, items[0].size_bytes) if items else b""), items[1:]


def _starts_by_content(span: Span, fragments: list[_Fragment]) -> set[int]:
    with span.reader() as read:
        return {
            part.offset
            for part in fragments
            if read(part.place, min(_LONGEST_START, part.size_bytes)).startswith(_FRAME_STARTS)
        }


def _extended_offsets(ds: Dataset) -> tuple[int, ...]:
    elem = peek.element(ds, "ExtendedOffsetTable")
    value = elem.value if elem is not None else None
    if not isinstance(value, bytes) or len(value) % 8:
        return ()
    return struct.unpack(f"<{len(value) // 8}Q", value)
