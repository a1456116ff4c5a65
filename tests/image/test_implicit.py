"""Explicit VR written as implicit VR: the same elements, the same values."""

import struct
from pathlib import Path

import pytest
from pydicom import Dataset, Sequence, dcmread
from pydicom.data import get_testdata_file
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from dae_pacs.errors import InputError
from dae_pacs.image.implicit import implicit_copy

FILES = ["CT_small.dcm", "MR_small.dcm", "liver.dcm", "reportsi.dcm", "rtplan.dcm", "waveform_ecg.dcm"]


def _explicit(name: str, folder: Path) -> Path:
    """Write one of pydicom's files in explicit VR, whatever it came in."""
    ds = dcmread(str(get_testdata_file(name)))
    path = folder / "explicit.dcm"
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.save_as(path, enforce_file_format=True)
    return path


@pytest.mark.parametrize("name", FILES)
def test_every_element_keeps_its_value(name: str, tmp_path: Path) -> None:
    source, target = _explicit(name, tmp_path), tmp_path / "implicit.dcm"
    assert dcmread(source).file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    implicit_copy(source, target)
    before, after = dcmread(source), dcmread(target)
    assert after.file_meta.TransferSyntaxUID == ImplicitVRLittleEndian
    assert after.file_meta.MediaStorageSOPInstanceUID == before.SOPInstanceUID
    assert _values(after) == _values(before)


def _values(ds: Dataset) -> list[object]:
    """List tags and values; of a private element, whose VR implicit VR does not tell, its raw bytes."""
    found: list[object] = []
    for element in ds:
        if isinstance(element.value, Sequence):
            found.append((element.tag, [_values(item) for item in element.value]))
        elif not element.tag.is_private:
            found.append((element.tag, element.value))
        else:
            found.append(element.tag)
    return found


def test_a_sequence_of_unknown_vr_is_passed_on(tmp_path: Path) -> None:
    inner = struct.pack("<HHI", 0x0008, 0x0100, 4) + b"ABCD"
    item = struct.pack("<HHI", 0xFFFE, 0xE000, len(inner)) + inner
    end = struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
    unknown = struct.pack("<HH2sHI", 0x0009, 0x1010, b"UN", 0, 0xFFFFFFFF) + item + end
    source = _explicit("CT_small.dcm", tmp_path)
    content = source.read_bytes()
    start = 144 + int.from_bytes(content[140:144], "little")
    source.write_bytes(content[:start] + unknown)
    implicit_copy(source, tmp_path / "implicit.dcm")
    written = (tmp_path / "implicit.dcm").read_bytes()
    assert inner in written
    assert written.endswith(end)


@pytest.mark.parametrize("cut", [1, 100, 33_000])
def test_what_is_cut_off_is_refused(cut: int, tmp_path: Path) -> None:
    source = _explicit("CT_small.dcm", tmp_path)
    source.write_bytes(source.read_bytes()[:-cut])
    with pytest.raises(InputError):
        implicit_copy(source, tmp_path / "implicit.dcm")


def test_what_is_compressed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="explicit VR"):
        implicit_copy(Path(str(get_testdata_file("JPEG2000.dcm"))), tmp_path / "implicit.dcm")
