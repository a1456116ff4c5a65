"""Broken data sets for the fuzzer: a tree of elements, valid at first, changed where it means something.

A mutation moves a length by one, repeats an element, nests a sequence two hundred deep: what flipping bits
alone would hardly find. The same seed gives the same bytes for ever.
"""

import random
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass

LONG_VRS = frozenset(
    (b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV")
)
VRS = (
    b"AE",
    b"AS",
    b"AT",
    b"CS",
    b"DA",
    b"DS",
    b"DT",
    b"FL",
    b"FD",
    b"IS",
    b"LO",
    b"LT",
    b"PN",
    b"SH",
    b"SL",
)
VRS += (b"SS", b"ST", b"TM", b"UI", b"UL", b"US", *sorted(LONG_VRS))
UNDEFINED = 0xFFFFFFFF
LENGTHS = (0, 1, 2, 3, 7, 8, 0x7FFF, 0xFFFE, 0xFFFF, 0x10000, 0x7FFFFFFF, 0xFFFFFFFD, 0xFFFFFFFE, UNDEFINED)
TAGS = (0x00000000, 0x00020010, 0x00080005, 0x00080016, 0x00080018, 0x00100010, 0x00280002, 0x00280008)
TAGS += (0x00280010, 0x00280100, 0x00281050, 0x00400275, 0x7FE00001, 0x7FE00010, 0xFFFEE000, 0xFFFEE00D)
TAGS += (0xFFFEE0DD, 0xFFFFFFFF, 0x00090010, 0x00091001, 0x52009229, 0x52009230)
TEXTS = (
    b"",
    b" ",
    b"\\",
    b"\\" * 5000,
    b"\0" * 8,
    b"../../../etc/passwd",
    b"1e999",
    b"-0",
    b"NaN",
    b"9" * 400,
)
TEXTS += (
    b"1.2.840.10008.1.2.1",
    b"1" * 65,
    b"1..2",
    b"ISO_IR 192",
    b"ISO 2022 IR 87\\ISO 2022 IR 159",
    b"\\ISO_IR 6",
)
TEXTS += (
    b"\x1b$B\x1b(B" * 50,
    b"\xff\xfe\xfd",
    b"a" * 70000,
    b"DERIVED\\SECONDARY",
    b"'; DROP TABLE jobs; --",
    b"%s%n{0}",
)


@dataclass
class Element:
    """A data element; `items` for a sequence, else `value`."""

    tag: int
    vr: bytes
    value: bytes = b""
    items: list[list["Element"]] | None = None
    length: int | None = None
    """What the header says instead of the truth."""
    is_undefined: bool = False
    raw: bytes = b""
    """Instead of everything else."""

    def encode(self, *, is_implicit: bool) -> bytes:
        if self.raw:
            return self.raw
        body = self.value if self.items is None else self._items(is_implicit=is_implicit)
        length = len(body) if self.length is None else self.length
        if self.items is not None and self.is_undefined and self.length is None:
            length = UNDEFINED
        head = struct.pack("<HH", self.tag >> 16, self.tag & 0xFFFF)
        if is_implicit:
            head += struct.pack("<I", length & UNDEFINED)
        elif self.vr in LONG_VRS:
            head += self.vr + b"\0\0" + struct.pack("<I", length & UNDEFINED)
        else:
            head += self.vr[:2].ljust(2, b" ") + struct.pack("<H", length & 0xFFFF)
        return head + body

    def _items(self, *, is_implicit: bool) -> bytes:
        parts = []
        for elements in self.items or ():
            body = b"".join(element.encode(is_implicit=is_implicit) for element in elements)
            if self.is_undefined:
                parts.append(struct.pack("<HHI", 0xFFFE, 0xE000, UNDEFINED) + body)
                parts.append(struct.pack("<HHI", 0xFFFE, 0xE00D, 0))
            else:
                parts.append(struct.pack("<HHI", 0xFFFE, 0xE000, len(body)) + body)
        if self.is_undefined:
            parts.append(struct.pack("<HHI", 0xFFFE, 0xE0DD, 0))
        return b"".join(parts)


def elements_of(data_set: bytes) -> list[Element]:
    """Read a valid data set in explicit VR little endian, sequences of defined length, into a tree."""
    found, position = [], 0
    while position < len(data_set):
        group, number = struct.unpack_from("<HH", data_set, position)
        vr = data_set[position + 4 : position + 6]
        if vr in LONG_VRS:
            (length,) = struct.unpack_from("<I", data_set, position + 8)
            position += 12
        else:
            (length,) = struct.unpack_from("<H", data_set, position + 6)
            position += 8
        if length == UNDEFINED:
            length = len(data_set) - position  # encapsulated pixels, the last element
            found.append(Element(group << 16 | number, vr, data_set[position:], length=UNDEFINED))
            break
        body = data_set[position : position + length]
        position += length
        items = _items_of(body) if vr == b"SQ" else None
        found.append(Element(group << 16 | number, vr, b"" if items else body, items))
    return found


def _items_of(body: bytes) -> list[list[Element]]:
    items, position = [], 0
    while position < len(body):
        (length,) = struct.unpack_from("<I", body, position + 4)
        items.append(elements_of(body[position + 8 : position + 8 + length]))
        position += 8 + length
    return items


Mutation = Callable[[random.Random, list[Element]], None]


def _drop(chance: random.Random, elements: list[Element]) -> None:
    elements.pop(chance.randrange(len(elements)))


def _repeat(chance: random.Random, elements: list[Element]) -> None:
    elements.insert(chance.randrange(len(elements)), chance.choice(elements))


def _swap(chance: random.Random, elements: list[Element]) -> None:
    a, b = chance.randrange(len(elements)), chance.randrange(len(elements))
    elements[a], elements[b] = elements[b], elements[a]


def _lie_about_length(chance: random.Random, elements: list[Element]) -> None:
    element = chance.choice(elements)
    true = len(element.value)
    element.length = chance.choice((*LENGTHS, true + 1, true + 2, max(0, true - 1), true * 2))


def _change_vr(chance: random.Random, elements: list[Element]) -> None:
    chance.choice(elements).vr = chance.choice((*VRS, b"??", b"\0\0", chance.randbytes(2)))


def _change_tag(chance: random.Random, elements: list[Element]) -> None:
    chance.choice(elements).tag = chance.choice((*TAGS, chance.getrandbits(32)))


def _change_value(chance: random.Random, elements: list[Element]) -> None:
    element = chance.choice(elements)
    element.value = chance.choice((*TEXTS, chance.randbytes(chance.randrange(64)), element.value[:-1]))


def _insert(chance: random.Random, elements: list[Element]) -> None:
    new = Element(chance.choice(TAGS), chance.choice(VRS), chance.choice(TEXTS))
    elements.insert(chance.randrange(len(elements) + 1), new)


def _nest(chance: random.Random, elements: list[Element]) -> None:
    inner = [chance.choice(elements)]
    is_undefined = chance.random() < 0.5
    for _ in range(chance.choice((1, 3, 30))):
        inner = [Element(0x00400275, b"SQ", items=[inner], is_undefined=is_undefined)]
    elements.append(inner[0])


def _nest_deep(chance: random.Random, elements: list[Element]) -> None:
    """Open many sequences in one another, and close them or not."""
    depth = chance.choice((60, 500, 5000))
    head = chance.choice((b"SQ\0\0", b"UN\0\0", b""))  # the last: implicit VR
    level = struct.pack("<HH", 0x0040, 0x0275) + head + struct.pack("<I", UNDEFINED)
    level += struct.pack("<HHI", 0xFFFE, 0xE000, UNDEFINED)
    ends = struct.pack("<HHIHHI", 0xFFFE, 0xE00D, 0, 0xFFFE, 0xE0DD, 0)
    elements.append(Element(0, b"", raw=level * depth + ends * chance.choice((depth, 0))))


def _many_items(chance: random.Random, elements: list[Element]) -> None:
    count = chance.choice((0, 1, 1000))
    elements.append(
        Element(0x00082112, b"SQ", items=[[] for _ in range(count)], is_undefined=chance.random() < 0.5)
    )


def _fragments(chance: random.Random, elements: list[Element]) -> None:
    """Make the pixels encapsulated, more or less (PS3.5 A.4)."""
    fragment = struct.pack(
        "<HHI", 0xFFFE, 0xE000, chance.choice((0, 4, 5, 100, UNDEFINED))
    ) + chance.randbytes(4)
    end = chance.choice((struct.pack("<HHI", 0xFFFE, 0xE0DD, 0), b""))
    body = fragment * chance.choice((0, 1, 2, 500)) + end
    elements[-1] = Element(0x7FE00010, chance.choice((b"OB", b"OW")), body, length=UNDEFINED)


ON_ELEMENTS: Sequence[Mutation] = (
    _drop,
    _repeat,
    _swap,
    _lie_about_length,
    _lie_about_length,
    _change_vr,
    _change_tag,
    _change_value,
    _change_value,
    _insert,
    _nest,
    _nest_deep,
    _many_items,
    _fragments,
)


def break_elements(chance: random.Random, elements: list[Element]) -> None:
    """Change a tree in one to three places, at any depth."""
    for _ in range(chance.randint(1, 3)):
        level = elements
        while level and chance.random() < 0.3:
            inside = [element.items for element in level if element.items]
            if not inside:
                break
            level = chance.choice(chance.choice(inside))
        if level:
            chance.choice(ON_ELEMENTS)(chance, level)


def break_bytes(chance: random.Random, data: bytes) -> bytes:
    """Change bytes that know nothing of what they mean."""
    if not data:
        return chance.randbytes(chance.randrange(8))
    broken = bytearray(data)
    at = chance.randrange(len(broken))
    match chance.randrange(5):
        case 0:
            broken[at] ^= 1 << chance.randrange(8)
        case 1:
            del broken[at:]
        case 2:
            del broken[at : at + chance.randrange(1, 9)]
        case 3:
            broken[at:at] = chance.randbytes(chance.randrange(1, 9))
        case _:
            broken[at : at + 4] = struct.pack(chance.choice(("<I", ">I")), chance.choice(LENGTHS))
    return bytes(broken)


def data_set(chance: random.Random, seeds: Sequence[bytes], uid: str, *, is_implicit: bool) -> bytes:
    """Make a data set out of a valid one; one in eight stays valid."""
    elements = elements_of(chance.choice(seeds))
    for element in elements:
        if element.tag == 0x00080018:
            element.value = uid.encode() + bytes(len(uid) % 2)
    fate = chance.randrange(8)
    if fate > 1:
        break_elements(chance, elements)
    encoded = b"".join(element.encode(is_implicit=is_implicit) for element in elements)
    return break_bytes(chance, encoded) if fate == 1 or chance.random() < 0.1 else encoded
