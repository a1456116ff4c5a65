"""Write text into an object in the object's own character set (PS3.3 section C.12.1.1.2)."""

import unicodedata
import warnings

from pydicom import charset
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset

from dae_pacs.image import peek

# Stands for the inherited text until its bytes take its place; it can't occur in any DICOM text.
INHERITED = "\0"
# Back to ASCII in G0, so that what follows a text in a code extension reads as ASCII (PS3.5 section 6.1.2.5).
_TO_ASCII = b"\x1b(B"
_ESCAPE = b"\x1b"


def encode_text(text: str, ds: Dataset) -> bytes:
    """Encode text in a data set's character set; what it can't hold is spelled in ASCII."""
    if text.isascii():
        return text.encode("ascii")
    with warnings.catch_warnings():
        # pydicom warns where it had to replace a character; the comparison below sees that by itself.
        warnings.simplefilter("ignore")
        try:
            data = bytes(charset.encode_string(text, peek.encodings(ds)))
        except (UnicodeError, ValueError, LookupError):
            data = b""
    if peek.decode_text(data, ds) == text:
        return data
    return unicodedata.normalize("NFKD", text).encode("ascii", "ignore")


def compose(ds: Dataset, keyword: str, text: str, *, longest: int) -> bytes:
    """Put an inherited text, byte for byte, into a new one.

    Args:
        ds: the data set with the inherited element.
        keyword: of that element.
        text: the new text, with `INHERITED` where the old one goes.
        longest: characters that the VR allows; the inherited text is shortened to fit.
    """
    inherited, readable = _inherited(ds, keyword)
    pieces = text.split(INHERITED)
    expected = readable.join(pieces)
    if len(expected) <= longest:
        data = inherited.join(encode_text(piece, ds) for piece in pieces).strip(b" ")
        if peek.decode_text(data, ds) == expected.strip(" ") or not _all_ascii(pieces):
            return data
    room = max(0, longest - sum(len(piece) for piece in pieces)) // max(1, len(pieces) - 1)
    shortened = (
        encode_text(readable[:room].rstrip(), ds).join(encode_text(piece, ds) for piece in pieces).strip(b" ")
    )
    while len(peek.decode_text(shortened, ds)) > longest:
        shortened = shortened[:-1]
    return shortened


def _inherited(ds: Dataset, keyword: str) -> tuple[bytes, str]:
    """Return an inherited text's bytes, ending in ASCII state, and how it reads."""
    elem = peek.element(ds, keyword)
    if isinstance(elem, RawDataElement):
        data = (elem.value or b"").rstrip(b" \0")
    else:
        data = encode_text("\\".join(peek.strings(ds, keyword)), ds)
    readable = peek.decode_text(data, ds)
    if _ESCAPE in data and peek.decode_text(data + b"x", ds) != readable + "x":
        data += _TO_ASCII
    return data, readable


def _all_ascii(pieces: list[str]) -> bool:
    return all(piece.isascii() for piece in pieces)
