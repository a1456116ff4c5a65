"""Split encapsulated pixel data into frames, PS3.5 section A.4."""

import struct
from dataclasses import dataclass

from pydicom.dataset import Dataset

from dae_pacs.errors import PixelError
from dae_pacs.image import peek

_ITEM, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE0DD
# A frame's first bytes: JPEG and JPEG-LS start of image; a JPEG 2000 codestream; a JP2 file's first box.
_FRAME_STARTS = (b"\xff\xd8\xff", b"\xff\x4f\xff\x51", b"\x00\x00\x00\x0cjP  ")


@dataclass(frozen=True)
class _Fragment:
    offset: int
    """Of its item tag, from the first fragment's item tag on, as offset tables count."""
    data: bytes


def split_frames(ds: Dataset, data: bytes, *, count: int) -> tuple[bytes, ...]:
    """Split the value of an encapsulated Pixel Data element into `count` compressed frames.

    Raises:
        PixelError: broken items, or a number of frames that the header contradicts.
    """
    table, fragments = _read_items(data)
    if not fragments:
        raise PixelError("The compressed pixel data hold no frame; the object must be sent again")
    if count == 1:
        return (b"".join(fragment.data for fragment in fragments),)
    if len(fragments) == count:
        return tuple(fragment.data for fragment in fragments)
    if len(fragments) < count:
        raise PixelError(
            f"Number of Frames says {count}, the compressed pixel data hold {len(fragments)} fragments; "
            "the header is wrong or the object is incomplete"
        )
    offsets = _extended_offsets(ds) or struct.unpack(f"<{len(table) // 4}L", table[: len(table) // 4 * 4])
    starts = set(offsets) or {part.offset for part in fragments if part.data.startswith(_FRAME_STARTS)}
    frames: list[list[bytes]] = []
    for fragment in fragments:
        if fragment.offset in starts or not frames:
            frames.append([])
        frames[-1].append(fragment.data)
    if len(frames) != count:
        raise PixelError(
            f"Number of Frames says {count}, the compressed pixel data hold {len(frames)} frames; "
            "the header is wrong or the object is incomplete"
        )
    return tuple(b"".join(parts) for parts in frames)


def _read_items(data: bytes) -> tuple[bytes, list[_Fragment]]:
    """Return the Basic Offset Table's bytes and the fragments."""
    items: list[_Fragment] = []
    position, first = 0, 0
    while position + 8 <= len(data):
        group, number, length = struct.unpack_from("<HHL", data, position)
        tag = group << 16 | number
        if tag == _SEQUENCE_END:
            break
        if tag != _ITEM or position + 8 + length > len(data):
            raise PixelError("The compressed pixel data are cut off or broken; the object must be sent again")
        if len(items) == 1:
            first = position
        items.append(_Fragment(position - first, data[position + 8 : position + 8 + length]))
        position += 8 + length
    return (items[0].data if items else b""), items[1:]


def _extended_offsets(ds: Dataset) -> tuple[int, ...]:
    elem = peek.element(ds, "ExtendedOffsetTable")
    value = elem.value if elem is not None else None
    if not isinstance(value, bytes) or len(value) % 8:
        return ()
    return struct.unpack(f"<{len(value) // 8}Q", value)
