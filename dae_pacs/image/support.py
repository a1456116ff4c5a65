"""Say why an object can't, or needn't, be denoised. The answer is what the ledger keeps of it."""

from pydicom.dataset import Dataset

from dae_pacs.errors import InputError
from dae_pacs.image import peek
from dae_pacs.image.codecs import COMPRESSED, NATIVE
from dae_pacs.image.layout import GREY
from dae_pacs.image.own import is_own
from dae_pacs.image.stored import transfer_syntax

# SOP classes by the roots of their UIDs (PS3.4 table B.5-1, PS3.6 table A-1): they carry no image, or one
# whose numbers are not an acquisition's.
_OTHER_OBJECTS = (
    ("1.2.840.10008.5.1.4.1.1.88.", "structured report"),
    ("1.2.840.10008.5.1.4.1.1.11.", "presentation state"),
    ("1.2.840.10008.5.1.4.1.1.9.", "waveform"),
    ("1.2.840.10008.5.1.4.1.1.104.", "encapsulated document"),
    ("1.2.840.10008.5.1.4.1.1.481.", "radiotherapy object"),
    ("1.2.840.10008.5.1.4.1.1.66", "segmentation, registration or fiducials"),
    ("1.2.840.10008.5.1.4.1.1.67", "real world value mapping"),
    ("1.2.840.10008.5.1.4.1.1.68.", "surface scan"),
    ("1.2.840.10008.5.1.4.1.1.30", "parametric map"),
    ("1.2.840.10008.5.1.4.1.1.4.2", "spectroscopy"),
    ("1.2.840.10008.5.1.4.1.1.90.", "content assessment"),
    ("1.2.840.10008.5.1.4.1.1.131", "protocol or plan"),
    ("1.2.840.10008.5.1.4.1.1.200.", "protocol or plan"),
    ("1.2.840.10008.5.1.4.1.1.77.1.5.3", "stereometric relationship"),
    ("1.2.840.10008.5.1.4.1.1.78.", "ophthalmic measurement"),
    ("1.2.840.10008.5.1.4.1.1.79.", "ophthalmic measurement"),
    ("1.2.840.10008.5.1.4.1.1.80.", "ophthalmic measurement"),
    ("1.2.840.10008.5.1.4.34.", "worklist or radiotherapy object"),
    ("1.2.840.10008.1.3.10", "media directory"),
)
_ONE_BIT = 1
_WIDTHS = (8, 16, 32, 64)


def reason_not_denoised(ds: Dataset) -> str | None:
    """Return why an object is passed over, or None where it can be denoised.

    Args:
        ds: a header, with or without its pixel data.
    """
    try:
        return _reason_by_class(ds) or _reason_by_pixels(ds)
    except InputError as error:
        return f"its header is broken: {error}"


def _reason_by_class(ds: Dataset) -> str | None:
    sop_class = peek.string(ds, "SOPClassUID") or _media_class(ds)
    if is_own(ds):
        return "our own result: it has been denoised already"
    for root, what in _OTHER_OBJECTS:
        if sop_class == root.rstrip(".") or sop_class.startswith(root.rstrip(".") + "."):
            return f"{what} ({peek.uid_name(sop_class)}): no image to denoise"
    missing = [
        keyword
        for keyword in ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID")
        if not peek.string(ds, keyword)
    ]
    if missing:
        return f"it has no {' and no '.join(missing)}: a derived object could not name its source"
    return None


def _media_class(ds: Dataset) -> str:
    """Return the class that the file meta information names: a DICOMDIR has no other."""
    meta = getattr(ds, "file_meta", None)
    return peek.string(meta, "MediaStorageSOPClassUID") if meta is not None else ""


def _reason_by_pixels(ds: Dataset) -> str | None:
    rows, columns = peek.integer(ds, "Rows"), peek.integer(ds, "Columns")
    if not rows or not columns:
        return "no Rows and Columns: no image to denoise"
    photometric = peek.string(ds, "PhotometricInterpretation")
    samples = peek.integer(ds, "SamplesPerPixel") or 1
    if samples != 1 or photometric not in GREY:
        return f"colour or palette ({photometric or 'nothing said'}, {samples} samples): only grey"
    bits = peek.integer(ds, "BitsAllocated")
    if bits == _ONE_BIT:
        return "one bit a pixel: a mask, no image to denoise"
    if bits not in _WIDTHS:
        return f"Bits Allocated {bits}: only 8, 16, 32 and 64"
    syntax = transfer_syntax(ds)
    if syntax not in NATIVE and syntax not in COMPRESSED:
        return f"transfer syntax {peek.uid_name(syntax)} can't be decoded here"
    return None
