"""Read what the node needs to know of an object before its pixels are touched."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ImplicitVRLittleEndian

from dae_pacs.errors import InputError
from dae_pacs.image import peek
from dae_pacs.image.own import is_own
from dae_pacs.image.parse import PIXEL_TAGS, parse
from dae_pacs.image.scan import scan
from dae_pacs.image.stored import transfer_syntax
from dae_pacs.image.support import reason_not_denoised
from dae_pacs.image.walk import Identity
from dae_pacs.part10 import FileMeta


@dataclass(frozen=True)
class Summary:
    """An object in a few words. Texts are "" where the element is missing or empty."""

    SOPClassUID: str
    SOPInstanceUID: str
    StudyInstanceUID: str
    SeriesInstanceUID: str
    PatientID: str
    AccessionNumber: str
    StudyDate: str
    Modality: str
    SeriesDescription: str
    SeriesNumber: int | None
    transfer_syntax_uid: str
    expected_count: int | None
    """How many instances its series will have, where the sender says so."""
    is_own: bool
    reason: str | None
    """Why it can't or needn't be denoised; None where it can."""


def read_header(file: BinaryIO) -> Dataset:
    """Read a Part 10 file, or a bare data set, up to and without its pixel data.

    That the pixel data are there to their last byte is checked without reading them.

    Raises:
        NotDicomError: no DICOM object, or one cut off.
    """
    return parse(file, with_pixels=False)


def header_of(data: bytes, transfer_syntax_uid: str, *, otherwise: Callable[[], Dataset]) -> Dataset:
    """Make the header of a data set that `walk.identify` found plain, its sequences still bytes.

    Args:
        data: the data set's first bytes, up to its pixel data at least.
        transfer_syntax_uid: how it is written.
        otherwise: reads the header where there are no pixel data to end it.
    """
    found = scan(
        data,
        is_implicit=transfer_syntax_uid == ImplicitVRLittleEndian,
        start=0,
        stop=PIXEL_TAGS.__contains__,
    )
    if found is None:
        return otherwise()
    ds = found[0]
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = UID(transfer_syntax_uid)
    return ds


def identity_of(ds: Dataset) -> Identity:
    """Say what a header says it is the header of."""
    return Identity(peek.string(ds, "SOPClassUID"), peek.string(ds, "SOPInstanceUID"))


def nothing_of(meta: FileMeta) -> Summary:
    """Sum up an object of which only the file meta information can be read."""
    return Summary(
        SOPClassUID=meta.SOPClassUID,
        SOPInstanceUID=meta.SOPInstanceUID,
        StudyInstanceUID="",
        SeriesInstanceUID="",
        PatientID="",
        AccessionNumber="",
        StudyDate="",
        Modality="",
        SeriesDescription="",
        SeriesNumber=None,
        transfer_syntax_uid=meta.transfer_syntax_uid,
        expected_count=None,
        is_own=False,
        reason="its header can't be read",
    )


def summarise(ds: Dataset) -> Summary:
    """Sum an object up, leaving its elements as they stand."""
    return Summary(
        SOPClassUID=peek.string(ds, "SOPClassUID"),
        SOPInstanceUID=peek.string(ds, "SOPInstanceUID"),
        StudyInstanceUID=peek.string(ds, "StudyInstanceUID"),
        SeriesInstanceUID=peek.string(ds, "SeriesInstanceUID"),
        PatientID=peek.string(ds, "PatientID"),
        AccessionNumber=peek.string(ds, "AccessionNumber"),
        StudyDate=peek.string(ds, "StudyDate"),
        Modality=peek.string(ds, "Modality"),
        SeriesDescription=peek.string(ds, "SeriesDescription"),
        SeriesNumber=_integer_or_none(ds, "SeriesNumber"),
        transfer_syntax_uid=transfer_syntax(ds),
        expected_count=_expected_count(ds),
        is_own=is_own(ds),
        reason=reason_not_denoised(ds),
    )


def _expected_count(ds: Dataset) -> int | None:
    """Prefer what an archive counts (PS3.4 C.6.1.1.4) to what the modality planned (PS3.3 C.7.6.1)."""
    for keyword in ("NumberOfSeriesRelatedInstances", "ImagesInAcquisition"):
        count = _integer_or_none(ds, keyword)
        if count is not None and count > 0:
            return count
    return None


def _integer_or_none(ds: Dataset, keyword: str) -> int | None:
    """Read a number that only helps: a broken one counts as none."""
    try:
        return peek.integer(ds, keyword)
    except InputError:
        return None
