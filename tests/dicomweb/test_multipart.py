"""Any way to cut a message into chunks gives the same parts; a broken one is refused in words."""

import re
from collections.abc import Iterable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dae_pacs.dicomweb import media, multipart
from dae_pacs.dicomweb.multipart import Limits, Parser, Part, PartBegin, PartData, PartEnd
from dae_pacs.errors import RequestError

BOUNDARY = "a.b_c"
TRICKY = st.lists(
    st.sampled_from(
        [b"\r", b"\n", b"\r\n", b"-", b"--", b"a.b_c", b"\r\n--a.b_", b"\r\n--a.b_cX", b"x", bytes(40)]
    ),
    max_size=8,
).map(b"".join)
"""Bodies that look like delimiters as far as a body may."""


def read(chunks: Iterable[bytes], limits: Limits | None = None) -> list[tuple[dict[str, str], bytes]]:
    parser = Parser(BOUNDARY, limits)
    found: list[tuple[dict[str, str], bytes]] = []
    for chunk in chunks:
        for event in parser.feed(chunk):
            match event:
                case PartBegin(headers):
                    found.append((dict(headers), b""))
                case PartData(data):
                    assert data
                    found[-1] = (found[-1][0], found[-1][1] + data)
                case PartEnd():
                    pass
    parser.close()
    return found


def message(bodies: Sequence[bytes], *, preamble: bytes = b"", epilogue: bytes = b"") -> bytes:
    parts = [
        Part("application/dicom", [body], len(body), {"X-Number": str(n)}) for n, body in enumerate(bodies)
    ]
    written = b"".join(multipart.write(parts, BOUNDARY))
    assert len(written) == multipart.size_of(parts, BOUNDARY)
    return preamble + written + epilogue


def cut(data: bytes, sizes: Sequence[int]) -> list[bytes]:
    chunks, start = [], 0
    for size in sizes:
        chunks.append(data[start : start + size])
        start += size
    return [*chunks, data[start:]]


def has_delimiter(body: bytes) -> bool:
    return re.search(rb"\r\n--a\.b_c(--|[ \t]*\r\n)", b"\r\n" + body + b"\r\n") is not None


@given(
    bodies=st.lists(TRICKY | st.binary(max_size=50), max_size=4),
    sizes=st.lists(st.integers(0, 30), max_size=60),
    epilogue=st.binary(max_size=20),
)
@settings(max_examples=300, deadline=None)
def test_any_chunks_give_the_same_parts(bodies: list[bytes], sizes: list[int], epilogue: bytes) -> None:
    bodies = [body for body in bodies if not has_delimiter(body)]
    data = message(bodies, preamble=b"some words", epilogue=epilogue)
    found = read(cut(data, sizes))
    assert [body for _, body in found] == bodies
    assert [headers["x-number"] for headers, _ in found] == [str(n) for n in range(len(bodies))]


@given(data=st.binary(max_size=300) | TRICKY, sizes=st.lists(st.integers(0, 20), max_size=40))
@settings(max_examples=200, deadline=None)
def test_rubbish_is_judged_alike_whatever_its_chunks(data: bytes, sizes: list[int]) -> None:
    data = b"--a.b_c\r\n\r\n" + data

    def judged(chunks: list[bytes]) -> object:
        try:
            return read(chunks)
        except RequestError as error:
            return str(error)

    assert judged([data]) == judged(cut(data, sizes)) == judged([data[n : n + 1] for n in range(len(data))])


def test_delimiter_may_be_padded_and_headers_folded() -> None:
    data = b'--a.b_c \t \r\nContent-Type: multipart/related;\r\n\ttype="x"\r\n\r\nbody\r\n--a.b_c--'
    assert read([data]) == [({"content-type": 'multipart/related; type="x"'}, b"body")]


def test_part_without_headers_or_body_is_a_part() -> None:
    assert read([b"--a.b_c\r\n\r\n\r\n--a.b_c\r\nA: b\r\n\r\n--a.b_c--"]) == [({}, b""), ({"a": "b"}, b"")]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "without its closing delimiter"),
        (b"--a.b_c\r\n\r\nbody", "cut off"),
        (b"--another\r\n\r\nbody\r\n--another--", "boundary"),
        (b"--a.b_c\r\nno header here\r\n\r\nbody\r\n--a.b_c--", "is no header"),
        (b"--a.b_c\r\nA: " + bytes(20000), "headers are longer"),
        (bytes(100_000), "no part begins"),
        (b"--a.b_c\r\n\r\n\r\n" * 4 + b"--a.b_c--", "more than 3 parts"),
    ],
)
def test_broken_message_is_refused_in_words(data: bytes, words: str) -> None:
    limits = Limits(parts=3)
    for chunks in ([data], [data[n : n + 7] for n in range(0, len(data), 7)]):
        with pytest.raises(RequestError, match=words):
            read(chunks, limits)


@pytest.mark.parametrize("boundary", ["", "x" * 201, "ends with space ", "ü", "a\r\nb"])
def test_boundary_that_is_none_is_refused(boundary: str) -> None:
    with pytest.raises(RequestError, match="boundary"):
        Parser(boundary)


def test_parts_are_read_one_after_the_other_and_the_rest_is_passed_over() -> None:
    data = message([b"first" * 100, b"second" * 100])
    parts = multipart.parts_of([data[n : n + 13] for n in range(0, len(data), 13)], BOUNDARY)
    seen = [(part.headers["content-type"], next(part.chunks)[:5]) for part in parts]
    assert seen == [("application/dicom", b"first"), ("application/dicom", b"secon")]


def test_boundary_of_a_message_is_asked_for() -> None:
    quoted = media.parse('Multipart/Related; type="application/dicom"; boundary="a b;c\\"d"')
    assert multipart.boundary_of(quoted) == 'a b;c"d'
    with pytest.raises(RequestError, match="names no boundary"):
        multipart.boundary_of(media.parse("multipart/related; type=application/dicom"))
    with pytest.raises(RequestError, match="expected multipart/related"):
        multipart.boundary_of(media.parse("application/json"))
