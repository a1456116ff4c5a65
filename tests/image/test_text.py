import pytest
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from dae_pacs.image import peek
from dae_pacs.image.elements import raw
from dae_pacs.image.text import INHERITED, compose, encode_text

DESCRIPTION = Tag("SeriesDescription")


def described(data: bytes, *character_sets: str) -> Dataset:
    ds = Dataset()
    if character_sets:
        ds.SpecificCharacterSet = list(character_sets)
    ds._dict[DESCRIPTION] = raw(DESCRIPTION, "LO", data)
    return ds


CASES = [
    ((), b"CHEST PA"),
    (("ISO_IR 100",), "Thorax für Prüfung".encode("latin-1")),
    (("ISO_IR 144",), "Грудь".encode("iso8859-5")),
    (("ISO_IR 126",), "Θώρακας".encode("iso8859-7")),
    (("ISO_IR 127",), "صدر".encode("iso8859-6")),
    (("ISO_IR 138",), "חזה".encode("iso8859-8")),
    (("ISO_IR 192",), "胸部 Größe".encode()),
    (("GB18030",), "胸部".encode("gb18030")),
    (("", "ISO 2022 IR 87"), b"\x1b$B" + "胸部".encode("iso2022_jp")[3:-3] + b"\x1b(B"),
    (("", "ISO 2022 IR 87"), b"\x1b$B" + "胸部".encode("iso2022_jp")[3:-3]),
    (("", "ISO 2022 IR 149"), b"\x1b$)C" + "가슴".encode("euc_kr")),
]


@pytest.mark.parametrize(("character_sets", "data"), CASES)
def test_an_inherited_text_keeps_its_bytes_in_a_new_one(character_sets: tuple[str, ...], data: bytes) -> None:
    ds = described(data, *character_sets)
    # A text that forgets to return to ASCII reads as broken by itself, but not in front of our ASCII.
    readable = "胸部" if data.endswith(b"It") else peek.string(ds, "SeriesDescription")
    composed = compose(ds, "SeriesDescription", f"{INHERITED} denoised s=0.7", longest=64)
    assert composed.startswith(data.rstrip())
    assert composed.endswith(b" denoised s=0.7")
    assert peek.decode_text(composed, ds) == f"{readable} denoised s=0.7"


def test_a_text_too_long_is_shortened_at_its_end() -> None:
    ds = described("Ä".encode() * 60, "ISO_IR 192")
    composed = compose(ds, "SeriesDescription", f"{INHERITED} denoised s=0.7", longest=64)
    text = peek.decode_text(composed, ds)
    assert len(text) == 64
    assert text == "Ä" * 49 + " denoised s=0.7"


def test_a_long_japanese_text_is_shortened_between_characters() -> None:
    ds = described(b"\x1b$B" + ("胸部" * 40).encode("iso2022_jp")[3:-3] + b"\x1b(B", "", "ISO 2022 IR 87")
    composed = compose(ds, "SeriesDescription", f"{INHERITED} denoised", longest=64)
    text = peek.decode_text(composed, ds)
    assert len(text) <= 64
    assert text.startswith("胸部胸部")
    assert text.endswith(" denoised")


def test_no_inherited_text_leaves_no_leading_space() -> None:
    assert compose(Dataset(), "SeriesDescription", f"{INHERITED} denoised", longest=64) == b"denoised"


def test_what_a_character_set_can_not_hold_is_spelled_in_ascii() -> None:
    assert encode_text("Größe", described(b"", "ISO_IR 192")) == "Größe".encode()
    assert encode_text("Größe", described(b"", "ISO_IR 100")) == "Größe".encode("latin-1")
    assert encode_text("Thérèse", described(b"", "ISO_IR 144")) == b"Therese"
    assert encode_text("plain", described(b"", "ISO_IR 6")) == b"plain"
