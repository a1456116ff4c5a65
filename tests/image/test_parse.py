import io
import random
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from dae_pacs.errors import InputError, NotDicomError
from dae_pacs.image import files, parse, pixels
from dae_pacs.image.elements import encode
from dae_pacs.image.header import summarise
from dae_pacs.image.parse import parse as parse_file

CT = Path(str(get_testdata_file("CT_small.dcm")))
J2K = Path(str(get_testdata_file("MR_small_jp2klossless.dcm")))


def header_of(data: bytes) -> Dataset:
    return parse_file(io.BytesIO(data), with_pixels=False)


@pytest.mark.parametrize("path", [CT, J2K], ids=["native", "compressed"])
def test_a_file_cut_anywhere_is_refused(path: Path) -> None:
    data = path.read_bytes()
    header_of(data)
    step = len(data) // 60
    for end in [*range(1, len(data) - 200, step), len(data) - 160]:
        with pytest.raises(NotDicomError):
            header_of(data[:end])
        with pytest.raises(NotDicomError):
            parse_file(io.BytesIO(data[:end]), with_pixels=True)


def test_a_truncated_file_says_so() -> None:
    path = Path(str(get_testdata_file("MR_truncated.dcm")))
    with pytest.raises(NotDicomError, match="cut off"):
        files.read(path)


def test_no_dicom_says_so(tmp_path: Path) -> None:
    for name, data in {
        "empty": b"",
        "text": b"hello world, this is no image" * 20,
        "zeros": b"\0" * 4096,
    }.items():
        path = tmp_path / name
        path.write_bytes(data)
        with pytest.raises(NotDicomError, match=name):
            files.read(path)


def test_a_lying_length_costs_no_memory() -> None:
    element = struct.pack("<HH2sHL", 0x0009, 0x0010, b"OB", 0, 0xFFFFFFF0)
    data = CT.read_bytes()
    start = data.index(b"\x08\x00\x05\x00CS")
    tracemalloc.start()
    with pytest.raises(NotDicomError, match="cut off"):
        header_of(data[:start] + element + data[start:])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 5_000_000


def test_header_of_a_large_object_does_not_read_its_pixels(
    grey_image: Callable[..., Dataset], tmp_path: Path
) -> None:
    path = tmp_path / "large.dcm"
    files.write(grey_image(np.zeros((4000, 4000), np.uint16)), path)
    tracemalloc.start()
    with path.open("rb") as file:
        ds = parse_file(file, with_pixels=False)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2_000_000
    assert "PixelData" not in ds


@pytest.mark.parametrize("undefined", [True, False], ids=["undefined length", "defined length"])
def test_sequences_nested_beyond_reason_are_refused(undefined: bool) -> None:
    body = b""
    for _ in range(3000 if undefined else 60):
        if undefined:
            head = struct.pack("<HH2sHL", 0x0008, 0x1140, b"SQ", 0, 0xFFFFFFFF)
            body = head + struct.pack("<HHL", 0xFFFE, 0xE000, 0xFFFFFFFF) + body
        else:
            item = struct.pack("<HHL", 0xFFFE, 0xE000, len(body)) + body
            body = struct.pack("<HH2sHL", 0x0008, 0x1140, b"SQ", 0, len(item)) + item
    data = CT.read_bytes()
    start = data.index(b"\x08\x00\x05\x00CS")
    with pytest.raises(NotDicomError, match="nested"):
        header_of(data[:start] + body + data[start:])


def test_an_inflation_bomb_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parse, "LARGEST_INFLATED_BYTES", 1000)
    path = Path(str(get_testdata_file("image_dfl.dcm")))
    with pytest.raises(NotDicomError, match="deflated"):
        files.read(path)


@pytest.mark.parametrize(
    "name",
    ["image_dfl.dcm", "ExplVR_BigEnd.dcm", "ExplVR_LitEndNoMeta.dcm", "MR_small_bigendian.dcm", "rtplan.dcm"],
)
def test_every_way_of_writing_a_data_set_is_read(name: str) -> None:
    ds = files.read(Path(str(get_testdata_file(name))))
    assert ds.SOPClassUID
    assert ds.file_meta.TransferSyntaxUID


def test_a_bare_data_set_is_read() -> None:
    ds = header_of(CT.read_bytes()[132:])
    assert ds.Modality == "CT"
    no_meta = CT.read_bytes()
    no_meta = no_meta[no_meta.index(b"\x08\x00\x05\x00CS") :]
    assert header_of(no_meta).Modality == "CT"


def test_sequences_are_opened_and_their_elements_stay_bytes() -> None:
    ds = files.read(Path(str(get_testdata_file("rtplan.dcm"))))
    beams = ds._dict[parse.BaseTag(0x300A00B0)].value
    assert isinstance(beams, Sequence)
    assert beams[0].get_item(0x300A00C0).is_raw


def test_header_and_whole_agree_on_every_file(all_dicom_files: list[Path]) -> None:
    for path in all_dicom_files[:80]:
        outcomes = []
        for with_pixels in (False, True):
            try:
                with path.open("rb") as file:
                    parse_file(file, with_pixels=with_pixels)
                outcomes.append("read")
            except NotDicomError:
                outcomes.append("refused")
        assert outcomes[0] == outcomes[1], path


@pytest.mark.parametrize("name", ["CT_small.dcm", "MR_small_implicit.dcm", "MR_small_RLE.dcm", "rtplan.dcm"])
def test_a_mutated_file_is_read_or_refused_in_words(name: str, derive_now: Callable[..., Dataset]) -> None:
    rng = random.Random(name)
    original = Path(str(get_testdata_file(name))).read_bytes()
    for _ in range(150):
        data = bytearray(original)
        for _ in range(rng.randrange(1, 5)):
            place = rng.randrange(132, min(3000, len(data)))
            if rng.random() < 0.7:
                data[place] = rng.choice([0, 255, rng.randrange(256)])
            else:
                del data[place : place + rng.randrange(1, 12)]
        try:
            ds = parse_file(io.BytesIO(bytes(data)), with_pixels=True)
            summarise(ds)
            decoded = pixels.decode(ds)
            again = pixels.encode(decoded.values, decoded)
            assert np.array_equal(again, decoded.stored)
            assert b"".join(encode(derive_now(ds, again)))
        except InputError as error:
            assert len(str(error).split()) > 4  # noqa: PT017 (either outcome is right; a refusal has words)
