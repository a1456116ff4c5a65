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
# pydicom's name for ISO IR 58, and the sequence that puts it into G1 (PS3.3 table C.12-4).
_CHINESE = "iso_ir_58"
_TO_CHINESE = b"\x1b$)A"
# pydicom's name for ISO IR 6 (PS3.3 section C.12.1.1.2), and the last character that it would give to it.
_DEFAULT_REPERTOIRE = "iso8859"
_LAST_OF_LATIN_1 = "\xff"


def encode_text(text: str, ds: Dataset) -> bytes:
    """Encode text in a data set's character set; what it can't hold is spelled in ASCII."""
    if text.isascii():
        return text.encode("ascii")
    if _DEFAULT_REPERTOIRE in peek.encodings(ds):
        # The default repertoire is ISO IR 6, that is ASCII; pydicom would write Latin 1 in its place.
        text = "".join(_spelled(letter) if letter <= _LAST_OF_LATIN_1 else letter for letter in text)
    return _encoded(text, ds)


def _encoded(text: str, ds: Dataset) -> bytes:
    encodings = peek.encodings(ds)
    with warnings.catch_warnings():
        # pydicom warns where it had to replace a character; the comparison below sees that by itself.
        warnings.simplefilter("ignore")
        try:
            data = bytes(charset.encode_string(text, encodings))
            if _CHINESE in encodings[1:] and peek.decode_text(data, ds) != text:
                # pydicom 3.0.2 forgets to announce this one (PS3.5 annex K).
                data = _TO_CHINESE + text.encode(_CHINESE)
        except (UnicodeError, ValueError, LookupError):
            data = b""
    return data if peek.decode_text(data, ds) == text else _spelled(text).encode("ascii")


def _spelled(text: str) -> str:
    return unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode("ascii")


def compose(ds: Dataset, keyword: str, text: str, *, longest: int) -> bytes:
    """Put an inherited text, byte for byte, into a new one.

    Args:
        ds: the data set with the inherited element.
        keyword: of that element.
        text: the new text, with `INHERITED` where the old one goes.
        longest: characters that the VR allows; the inherited text is shortened to fit.
    """
    inherited, readable = _inherited(ds, keyword)
    pieces = [encode_text(piece, ds) for piece in text.split(INHERITED)]
    ours = [peek.decode_text(piece, ds) for piece in pieces]
    expected = readable.join(ours)
    if len(expected) <= longest:
        data = inherited.join(pieces).strip(b" ")
        if peek.decode_text(data, ds) == expected.strip(" "):
            return data
    length = sum(map(len, ours))
    if length >= longest:
        return encode_text("".join(ours)[:longest].strip(" "), ds)
    room = (longest - length) // max(1, len(pieces) - 1)
    # What is not ASCII after this is as long as it was; what is can be cut between any two bytes.
    shortened = _encoded(readable[:room].rstrip(), ds)
    if shortened.isascii() and _ESCAPE not in shortened:
        shortened = shortened[:room]
    return shortened.join(pieces).strip(b" ")


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
