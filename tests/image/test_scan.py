"""The quick way through a header finds what pydicom finds, or leaves it to pydicom."""

import io
import struct
from pathlib import Path

import pydicom.data
import pytest
from pydicom import dcmread
from pydicom.filereader import read_dataset

from dae_pacs.image.scan import scan

PIXELS = 0x7FE00010
FILES = sorted(
    path
    for path in (Path(pydicom.data.__file__).parent / "test_files").glob("*.dcm")
    if path.stat().st_size < 2_000_000
)
EXPLICIT, IMPLICIT = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2"


def ends(tag: int) -> bool:
    return tag == PIXELS


def plain_data_sets() -> list[tuple[str, bytes, bool]]:
    """Give each test file's data set that has a preamble and is little endian, with its name and kind."""
    found = []
    for path in FILES:
        content = path.read_bytes()
        if content[128:132] != b"DICM" or content[132:140] != b"\x02\x00\x00\x00UL\x04\x00":
            continue
        start = 144 + int.from_bytes(content[140:144], "little")
        syntax = dcmread(path, stop_before_pixels=True, force=True).file_meta.get("TransferSyntaxUID")
        if syntax in {EXPLICIT, IMPLICIT}:
            found.append((path.name, content[start:], syntax == IMPLICIT))
    return found


@pytest.mark.filterwarnings("ignore")  # pydicom's, about its own broken files
def test_elements_are_those_that_pydicom_reads():
    taken = 0
    for name, data, is_implicit in plain_data_sets():
        found = scan(data, is_implicit=is_implicit, start=0, stop=ends)
        if found is None:
            continue
        taken += 1
        file = io.BytesIO(data)
        expected = read_dataset(file, is_implicit, True, stop_when=lambda tag, _vr, _length: ends(tag))
        assert dict(found[0]._dict) == dict(expected._dict), name
        assert found[1] == file.tell(), name
        assert found[0].original_character_set == expected.original_character_set, name
        assert found[0].original_encoding == expected.original_encoding, name
    assert taken >= 10, "most files are plain"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x08\x00",
        struct.pack("<HH2sH", 8, 0x16, b"UI", 10) + b"1.2",
        struct.pack("<HH2sH", 8, 0x16, b"??", 2) + b"ab",
        struct.pack("<HH2sHI", 8, 0x1140, b"SQ", 0, 0xFFFFFFFF),
        struct.pack("<HH2sH", 8, 0x1140, b"SQ", 0),
        struct.pack("<HH2sH", 0xFFFE, 0xE00D, b"UL", 0),
        struct.pack("<HH2sH", 8, 0x16, b"UI", 4) + b"1.2\x00",
    ],
    ids=["nothing", "cut head", "cut value", "unknown VR", "undefined", "cut length", "an item", "no end"],
)
def test_what_is_not_plain_is_left_to_pydicom(data):
    assert scan(data, is_implicit=False, start=0, stop=ends) is None


def test_explicit_elements_under_an_implicit_syntax_are_left_to_pydicom():
    data = (
        struct.pack("<HH2sH", 8, 0x16, b"UI", 4)
        + b"1.2\x00"
        + struct.pack("<HH2sHI", 0x7FE0, 0x10, b"OW", 0, 0)
    )
    assert scan(data, is_implicit=True, start=0, stop=ends) is None
    assert scan(data, is_implicit=False, start=0, stop=ends) is not None
