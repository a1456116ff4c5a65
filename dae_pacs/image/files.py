"""Read and write whole DICOM objects."""

import hashlib
from pathlib import Path

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_file_meta_info
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian

from dae_pacs.durable import durable_file
from dae_pacs.errors import InputError, NotDicomError, UnsupportedImageError
from dae_pacs.image import peek
from dae_pacs.image.codecs import COMPRESSED
from dae_pacs.image.elements import encode
from dae_pacs.image.parse import parse
from dae_pacs.image.stored import transfer_syntax
from dae_pacs.image.uids import digest_uid

# Who wrote the file, PS3.10 table 7.1-1.
IMPLEMENTATION_CLASS_UID = UID(digest_uid("implementation", "dae-pacs"))
IMPLEMENTATION_VERSION_NAME = "DAE_PACS"
_CHUNK_BYTES = 1 << 20


def read(path: Path) -> Dataset:
    """Read a whole object; its elements stay the bytes that the file holds.

    Raises:
        NotDicomError: it can't be opened, is no DICOM object, or is cut off.
    """
    try:
        with path.open("rb") as file:
            return parse(file, with_pixels=True)
    except OSError as error:
        raise NotDicomError(f"{path} can't be read: {error.strerror or error}") from error
    except InputError as error:
        raise NotDicomError(f"{path}: {error}") from error


def write(ds: Dataset, path: Path) -> None:
    """Write an object as a Part 10 file onto stable storage.

    In explicit VR little endian, or compressed as it is.

    Raises:
        OSError: the disk refuses.
        UnsupportedImageError: its pixel data are big endian; `derive` makes little endian ones.
    """
    if transfer_syntax(ds) == ExplicitVRBigEndian:
        raise UnsupportedImageError("A big endian object is not written as it is; copy its file instead")
    with durable_file(path) as file:
        file.write(b"\0" * 128 + b"DICM" + _file_meta(ds))
        for part in encode(ds):
            file.write(part)


def _file_meta(ds: Dataset) -> bytes:
    """Encode the file meta information, PS3.10 section 7.1."""
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\0\1"
    meta.MediaStorageSOPClassUID = UID(peek.string(ds, "SOPClassUID"))
    meta.MediaStorageSOPInstanceUID = UID(peek.string(ds, "SOPInstanceUID"))
    syntax = transfer_syntax(ds)
    meta.TransferSyntaxUID = UID(syntax) if syntax in COMPRESSED else ExplicitVRLittleEndian
    meta.ImplementationClassUID = IMPLEMENTATION_CLASS_UID
    meta.ImplementationVersionName = IMPLEMENTATION_VERSION_NAME
    buffer = DicomBytesIO()
    write_file_meta_info(buffer, meta)
    return buffer.getvalue()


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal.

    Raises:
        NotDicomError: it can't be read.
    """
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
    except OSError as error:
        raise NotDicomError(f"{path} can't be read: {error.strerror or error}") from error
    return digest.hexdigest()
