from pathlib import Path

import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from dae_pacs.image import files, peek
from dae_pacs.image.elements import encode, exact_copy, exact_element, raw


def isolated(source: Dataset) -> Dataset:
    return exact_copy(source, lambda _ds, _tag: True)


@pytest.mark.parametrize("name", ["CT_small.dcm", "rtplan.dcm", "reportsi.dcm", "test-SR.dcm"])
def test_reading_and_writing_again_is_stable(name: str, tmp_path: Path) -> None:
    first = isolated(files.read(Path(str(get_testdata_file(name)))))
    files.write(first, tmp_path / "once.dcm")
    files.write(isolated(files.read(tmp_path / "once.dcm")), tmp_path / "twice.dcm")
    assert (tmp_path / "once.dcm").read_bytes() == (tmp_path / "twice.dcm").read_bytes()


def test_an_explicit_little_endian_data_set_comes_back_byte_for_byte() -> None:
    path = Path(str(get_testdata_file("MR_small.dcm")))
    data = path.read_bytes()
    again = b"".join(encode(files.read(path)))
    # The retired group length that opens the data set is left out.
    assert data.endswith(again) or again in data


def test_a_value_too_long_for_its_vr_goes_under_un() -> None:
    ds = Dataset()
    tag = Tag("SeriesDescription")
    ds._dict[tag] = raw(tag, "LO", b"x" * 70000)
    assert b"".join(encode(ds))[4:6] == b"UN"


def test_an_odd_value_is_padded() -> None:
    assert raw(Tag("PatientID"), "LO", b"abc").value == b"abc "
    assert raw(Tag("SOPInstanceUID"), "UI", b"1.2").value == b"1.2\0"


def test_looking_at_an_empty_implicit_element_leaves_it_as_it_stands() -> None:
    ds = files.read(Path(str(get_testdata_file("MR_small_implicit.dcm"))))
    before = dict(ds._dict)
    list(peek.walk(ds))
    assert peek.string(ds, "SeriesDate") == ""
    assert peek.number(ds, "SeriesDate") is None
    assert all(ds._dict[tag] is elem for tag, elem in before.items())


@pytest.mark.parametrize(
    "name", ["CT_small.dcm", "MR_small_bigendian.dcm", "MR_small_implicit.dcm", "rtplan.dcm"]
)
def test_an_element_alone_is_copied_as_in_the_whole(name: str) -> None:
    source = files.read(Path(str(get_testdata_file(name))))
    whole, single = isolated(source), Dataset()
    for tag in whole._dict:
        single._dict[tag] = exact_element(source, tag)
    assert b"".join(encode(single)) == b"".join(encode(whole))


def test_a_copied_item_is_not_the_source_s() -> None:
    source = files.read(Path(str(get_testdata_file("rtplan.dcm"))))
    (before, *_), (after, *_) = (peek.items(ds, "BeamSequence") for ds in (source, isolated(source)))
    after.BeamName = "changed"
    assert peek.string(before, "BeamName") != "changed"
