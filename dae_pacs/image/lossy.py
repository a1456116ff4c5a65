"""Tell whether an object's present compression has lost something (PS3.3 section C.7.6.1.1.5)."""

from pydicom import uid
from pydicom.dataset import Dataset

from dae_pacs.errors import PixelError
from dae_pacs.image import peek
from dae_pacs.image.frames import find_frames
from dae_pacs.image.layout import Layout
from dae_pacs.image.span import span_of
from dae_pacs.image.stored import transfer_syntax
from dae_pacs.image.streams import codestream, read_stream

# Defined terms for what these transfer syntaxes may do, PS3.3 section C.7.6.1.1.5.1.
_METHODS: dict[str, str] = {
    uid.JPEGBaseline8Bit: "ISO_10918_1",
    uid.JPEGExtended12Bit: "ISO_10918_1",
    uid.JPEGLSNearLossless: "ISO_14495_1",
    uid.JPEG2000: "ISO_15444_1",
    uid.HTJ2K: "ISO_15444_15",
}


def lossy_method(ds: Dataset) -> str | None:
    """Return the method's term where the first frame's own stream says that it lost something."""
    method = _METHODS.get(transfer_syntax(ds))
    span = span_of(peek.element(ds, "PixelData"))
    if method is None or span is None:
        return None
    try:
        count = peek.integer(ds, "NumberOfFrames") or 1
        first = find_frames(ds, span, count=count).read(0)
        return method if read_stream(codestream(first)).is_lossy else None
    except PixelError:
        return method


def lossy_ratio(ds: Dataset, layout: Layout) -> float:
    """Return uncompressed over compressed size."""
    span = span_of(peek.element(ds, "PixelData"))
    return layout.size_bytes / max(1, span.size_bytes if span is not None else 1)
