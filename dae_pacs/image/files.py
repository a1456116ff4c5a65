"""Read and write whole DICOM objects."""

import hashlib
import struct
from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from dae_pacs.durable import durable_file
from dae_pacs.errors import InputError, NotDicomError, UnsupportedImageError
from dae_pacs.identity import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from dae_pacs.image import peek
from dae_pacs.image.codecs import COMPRESSED
from dae_pacs.image.elements import encode, exact_copy, raw, raw_uid
from dae_pacs.image.parse import parse
from dae_pacs.image.stored import transfer_syntax

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
    is_implicit = transfer_syntax(ds) == ImplicitVRLittleEndian
    explicit = exact_copy(ds, lambda _ds, _tag: True) if is_implicit else ds
    with durable_file(path) as file:
        file.write(b"\0" * 128 + b"DICM" + _file_meta(ds))
        for part in encode(explicit):
            file.write(part)


def _file_meta(ds: Dataset) -> bytes:
    """Encode the file meta information, PS3.10 section 7.1."""
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
    return struct.pack("<HH2sHL", 2, 0, b"UL", 4, len(body)) + body


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
