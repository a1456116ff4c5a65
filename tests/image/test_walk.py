"""The quick look at a data set agrees with the full one, or leaves it the word."""

import io
import struct
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from dae_pacs.demo.phantoms import Study, ct_series
from dae_pacs.image import walk
from dae_pacs.image.header import header_of, read_header, summarise

EXPLICIT, IMPLICIT = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2"
FILES = [
    "CT_small.dcm",
    "MR_small.dcm",
    "MR_small_implicit.dcm",
    "MR_small_bigendian.dcm",
    "JPEG2000.dcm",
    "image_dfl.dcm",
    "rtplan.dcm",
    "rtdose.dcm",
    "reportsi.dcm",
    "liver_1frame.dcm",
    "nested_priv_SQ.dcm",
    "SC_rgb.dcm",
    "waveform_ecg.dcm",
]


def data_set_of(path):
    whole = path.read_bytes()
    return whole[144 + int.from_bytes(whole[140:144], "little") :]


def look(data, syntax):
    return walk.identify(data[: walk.MOST_BYTES], len(data), transfer_syntax_uid=syntax)


@pytest.mark.parametrize("name", FILES)
def test_real_files_are_what_pydicom_says_and_never_whole_when_cut(name):
    path = Path(str(get_testdata_file(name)))
    ds, data = dcmread(path), data_set_of(path)
    syntax = str(ds.file_meta.TransferSyntaxUID)
    found = look(data, syntax)
    if found is not None:
        assert (found.SOPClassUID, found.SOPInstanceUID) == (ds.SOPClassUID, ds.SOPInstanceUID)
    for size in range(0, len(data) - 1, max(1, len(data) // 300)):
        cut = look(data[:size], syntax)
        if cut is not None:  # it ends between two elements, before any pixels: the full look must agree
            head = path.read_bytes()[: -len(data)]
            assert read_header(io.BytesIO(head + data[:size])).SOPInstanceUID == ds.SOPInstanceUID


@pytest.mark.parametrize("name", ["CT_small.dcm", "MR_small_implicit.dcm", "rtplan.dcm", "MR_small.dcm"])
def test_header_made_from_the_first_bytes_is_summed_up_as_the_parsed_one(name):
    path = Path(str(get_testdata_file(name)))
    with path.open("rb") as file:
        parsed = read_header(file)
    syntax = str(parsed.file_meta.TransferSyntaxUID)
    made = header_of(data_set_of(path)[: walk.MOST_BYTES], syntax, otherwise=lambda: parsed)
    assert summarise(made) == summarise(parsed)


@pytest.fixture
def ds() -> Dataset:
    return ct_series(Study(), slices=1, size=32)[0]


def encoded(ds, tmp_path):
    path = tmp_path / "whole.dcm"
    ds.save_as(path, enforce_file_format=True)
    return data_set_of(path)


@pytest.mark.parametrize("is_open", [False, True])
def test_sequences_are_walked_down_into(ds, tmp_path, is_open):
    inner, item = Dataset(), Dataset()
    inner.CodeValue = "1"
    item.PurposeOfReferenceCodeSequence = Sequence([inner, Dataset()])
    ds.SourceImageSequence = Sequence([item])
    for element in (ds["SourceImageSequence"], item["PurposeOfReferenceCodeSequence"]):
        element.is_undefined_length = is_open
    item.is_undefined_length_sequence_item = is_open
    data = encoded(ds, tmp_path)
    assert look(data, EXPLICIT) == walk.Identity(str(ds.SOPClassUID), str(ds.SOPInstanceUID))
    at = data.index(b"\x08\x00\x12\x21SQ")
    broken = bytearray(data)
    struct.pack_into("<I", broken, at + 16, 7)  # the first item's length
    assert look(bytes(broken), EXPLICIT) is None


def test_deep_nesting_and_unknown_representations_are_left_to_the_parser(ds, tmp_path):
    data = encoded(ds, tmp_path)
    assert look(data.replace(b"\x08\x00\x60\x00CS", b"\x08\x00\x60\x00QQ"), EXPLICIT) is None
    nested = b""
    for _ in range(40):
        item = b"\xfe\xff\x00\xe0" + len(nested).to_bytes(4, "little") + nested
        nested = b"\x08\x00\x40\x11SQ\x00\x00" + len(item).to_bytes(4, "little") + item
    at = data.index(b"\x08\x00\x60\x00")
    assert look(data[:at] + nested + data[at:], EXPLICIT) is None
    assert look(data + b"\0", EXPLICIT) is None
    assert look(b"", EXPLICIT) is None
    assert look(data, IMPLICIT) is None
