"""What stands in a file before its data set: preamble and file meta information (PS3.10 section 7.1)."""

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from dae_pacs import part10
from dae_pacs.image import peek
from dae_pacs.image.codecs import COMPRESSED
from dae_pacs.image.elements import raw_uid
from dae_pacs.image.stored import transfer_syntax


def file_start(ds: Dataset) -> bytes:
    """Encode all that precedes the data set: compressed as it is, otherwise explicit VR little endian."""
    syntax = transfer_syntax(ds)
    return part10.encode(
        part10.FileMeta(
            SOPClassUID=peek.string(ds, "SOPClassUID"),
            SOPInstanceUID=peek.string(ds, "SOPInstanceUID"),
            transfer_syntax_uid=syntax if syntax in COMPRESSED else str(ExplicitVRLittleEndian),
        )
    )


def file_meta(ds: Dataset, transfer_syntax_uid: str) -> FileMetaDataset:
    """Make the file meta information of an object in memory, its UIDs byte for byte those of the data set."""
    meta = FileMetaDataset()
    for keyword, value in (
        ("MediaStorageSOPClassUID", peek.string(ds, "SOPClassUID")),
        ("MediaStorageSOPInstanceUID", peek.string(ds, "SOPInstanceUID")),
        ("TransferSyntaxUID", transfer_syntax_uid),
    ):
        element = raw_uid(keyword, value)
        meta._dict[element.tag] = element
    return meta
