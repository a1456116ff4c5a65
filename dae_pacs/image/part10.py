"""What stands in a file before its data set: preamble and file meta information (PS3.10 section 7.1)."""

import struct

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.tag import Tag
from pydicom.uid import UID, ExplicitVRLittleEndian

from dae_pacs.identity import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from dae_pacs.image import peek
from dae_pacs.image.codecs import COMPRESSED
from dae_pacs.image.elements import encode, raw, raw_uid
from dae_pacs.image.stored import transfer_syntax


def file_start(ds: Dataset) -> bytes:
    """Encode all that precedes the data set: compressed as it is, otherwise explicit VR little endian."""
    syntax = transfer_syntax(ds)
    elements = (
        raw(Tag("FileMetaInformationVersion"), "OB", b"\0\1"),
        raw_uid("MediaStorageSOPClassUID", peek.string(ds, "SOPClassUID")),
        raw_uid("MediaStorageSOPInstanceUID", peek.string(ds, "SOPInstanceUID")),
        raw_uid("TransferSyntaxUID", syntax if syntax in COMPRESSED else ExplicitVRLittleEndian),
        raw_uid("ImplementationClassUID", IMPLEMENTATION_CLASS_UID),
        raw(Tag("ImplementationVersionName"), "SH", IMPLEMENTATION_VERSION_NAME.encode("ascii")),
    )
    meta = Dataset()
    meta._dict.update({element.tag: element for element in elements})
    body = b"".join(encode(meta))
    return b"\0" * 128 + b"DICM" + struct.pack("<HH2sHL", 2, 0, b"UL", 4, len(body)) + body


def file_meta(ds: Dataset, transfer_syntax_uid: str) -> FileMetaDataset:
    """Make the file meta information of an object in memory, its UIDs byte for byte those of the data set."""
    meta = FileMetaDataset()
    for keyword in ("SOPClassUID", "SOPInstanceUID"):
        element = raw_uid(f"MediaStorage{keyword}", peek.string(ds, keyword))
        meta._dict[element.tag] = element
    meta.TransferSyntaxUID = UID(transfer_syntax_uid)
    return meta
