import io
from pathlib import Path

import pydicom
import pytest
from pydicom.data import get_testdata_file

from dae_pacs import identity, part10
from dae_pacs.errors import NotDicomError

META = part10.FileMeta("1.2.840.10008.5.1.4.1.1.2", "1.2.3.45", "1.2.840.10008.1.2.1")


def test_written_meta_reads_back_in_pydicom() -> None:
    ds = pydicom.dcmread(
        io.BytesIO(part10.encode(META, calling_ae="SCANNER") + b"\x08\x00\x60\x00CS\x02\x00CT")
    )
    meta = ds.file_meta
    assert meta.MediaStorageSOPClassUID == META.SOPClassUID
    assert meta.MediaStorageSOPInstanceUID == META.SOPInstanceUID
    assert meta.TransferSyntaxUID == META.transfer_syntax_uid
    assert meta.SourceApplicationEntityTitle == "SCANNER"
    assert meta.FileMetaInformationVersion == b"\x00\x01"
    assert ds.Modality == "CT"


def test_written_meta_reads_back_and_leaves_the_file_at_the_data_set() -> None:
    file = io.BytesIO(part10.encode(META) + b"\x08\x00data")
    assert part10.read(file) == META
    assert file.read() == b"\x08\x00data"


def test_implementation_version_name_fits_its_vr() -> None:
    assert len(identity.IMPLEMENTATION_VERSION_NAME) <= 16
    assert pydicom.uid.UID(identity.IMPLEMENTATION_CLASS_UID).is_valid


def test_meta_without_its_group_length_is_read() -> None:
    encoded = part10.encode(META)
    file = io.BytesIO(encoded[:132] + encoded[144:] + b"\x08\x00")
    assert part10.read(file) == META
    assert file.read() == b"\x08\x00"


@pytest.mark.parametrize("name", ["CT_small.dcm", "JPEG2000.dcm", "MR_small_bigendian.dcm", "image_dfl.dcm"])
def test_real_files_are_split_where_pydicom_splits_them(name: str) -> None:
    path = Path(str(get_testdata_file(name)))
    ds = pydicom.dcmread(path)
    with path.open("rb") as file:
        meta = part10.read(file)
        rest = file.read()
    assert meta.SOPInstanceUID == ds.file_meta.MediaStorageSOPInstanceUID
    assert meta.transfer_syntax_uid == ds.file_meta.TransferSyntaxUID
    assert path.read_bytes().endswith(rest)
    assert len(path.read_bytes()) - len(rest) == 144 + ds.file_meta.FileMetaInformationGroupLength


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not DICOM at all",
        bytes(200),
        part10.encode(META)[:150],
        part10.encode(META)[:-3],
        part10.PREAMBLE,
        part10.PREAMBLE + b"\x02\x00\x01\x00OB\x00\x00\xff\xff\xff\xff",
    ],
)
def test_what_is_no_part_10_file_is_refused(content: bytes) -> None:
    with pytest.raises(NotDicomError):
        part10.read(io.BytesIO(content))
