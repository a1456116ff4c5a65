"""Messages of several parts, read and written as streams (RFC 2046 5.1, RFC 2387, PS3.18 8.6.1.2).

However the bytes are cut into chunks, the parts are the same, and no more than a delimiter's length, or a
part's headers, is ever held back.
"""

import re
import secrets
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final

from dae_pacs.dicomweb.media import RELATED, MediaType
from dae_pacs.errors import RequestError

_BOUNDARY: Final = re.compile(r"[ -~]{0,199}[!-~]")
"""RFC 2046 5.1.1 has 70 characters at most; Orthanc's plug-in sends 73."""
_PADDING: Final = b" \t"
_LONGEST_PADDING: Final = 128


@dataclass(frozen=True)
class Limits:
    """What a message may take; beyond it, it is refused."""

    header_bytes: int = 16384
    """Of one part's headers."""
    preamble_bytes: int = 65536
    """Before the first part; it means nothing."""
    parts: int = 100_000


@dataclass(frozen=True)
class PartBegin:
    """A part begins."""

    headers: Mapping[str, str]
    """By their names in lower case."""


@dataclass(frozen=True)
class PartData:
    """The next bytes of the part."""

    data: bytes


@dataclass(frozen=True)
class PartEnd:
    """The part is over, and was whole."""


Event = PartBegin | PartData | PartEnd


class _State(Enum):
    PREAMBLE = auto()
    DELIMITED = auto()
    """Behind a delimiter: a part follows, or nothing."""
    HEADERS = auto()
    BODY = auto()
    EPILOGUE = auto()


class Parser:
    """Takes a message's bytes as they come; gives what they mean."""

    def __init__(self, boundary: str, limits: Limits | None = None) -> None:
        """Begin.

        Args:
            boundary: the parameter of the message's Content-Type.
            limits: what it may take.

        Raises:
            RequestError: it is no boundary.
        """
        if not _BOUNDARY.fullmatch(boundary):
            raise RequestError(
                "the multipart message's Content-Type has no valid boundary; "
                "give 1 to 70 printable ASCII characters (RFC 2046 5.1.1)"
            )
        self._limits = limits or Limits()
        self._delimiter = b"\r\n--" + boundary.encode("ascii")
        # The first delimiter may stand at the very beginning: as if a line had ended before.
        self._buffer = bytearray(b"\r\n")
        self._state = _State.PREAMBLE
        self._passed = 0
        """Bytes of the preamble so far."""
        self._at_start = False
        """Whether the body's buffer still begins with the line end that closed the headers: where nothing
        stands between, that is the next delimiter's, too."""
        self._from = _State.PREAMBLE
        self._parts = 0

    @property
    def is_over(self) -> bool:
        """Whether the closing delimiter was seen."""
        return self._state is _State.EPILOGUE

    def feed(self, data: bytes | memoryview) -> Iterator[Event]:
        """Take the next bytes; consume what this gives before the next call.

        Raises:
            RequestError: the message is broken, or beyond its limits.
        """
        self._buffer += data
        before = None
        while self._state is not before:
            before = self._state
            yield from self._step()

    def close(self) -> None:
        """Hear that no more bytes come.

        Raises:
            RequestError: the message has not ended.
        """
        if not self.is_over:
            raise RequestError(
                "the multipart message ends without its closing delimiter; it was cut off, or its boundary "
                "is not the one of Content-Type. Send it again"
            )

    def _step(self) -> Iterator[Event]:
        match self._state:
            case _State.PREAMBLE:
                self._pass_preamble()
            case _State.DELIMITED:
                yield from self._after_delimiter()
            case _State.HEADERS:
                yield from self._read_headers()
            case _State.BODY:
                yield from self._read_body()
            case _State.EPILOGUE:
                self._buffer.clear()

    def _pass_preamble(self) -> None:
        place = self._buffer.find(self._delimiter)
        done = place if place >= 0 else max(0, len(self._buffer) - len(self._delimiter) + 1)
        self._passed += done
        if self._passed > self._limits.preamble_bytes:
            raise RequestError(
                f"no part begins within {self._limits.preamble_bytes} bytes of the multipart message; "
                "its boundary is not the one of Content-Type"
            )
        del self._buffer[:done]
        if place >= 0:
            self._from, self._state = _State.PREAMBLE, _State.DELIMITED

    def _after_delimiter(self) -> Iterator[Event]:
        """Tell what the line of a delimiter is; it stands at the buffer's beginning."""
        size = len(self._delimiter)
        rest = bytes(self._buffer[size : size + _LONGEST_PADDING + 2])
        if len(rest) < 2:
            return
        if rest[:2] == b"--":
            yield from self._end_part()
            self._state = _State.EPILOGUE
            return
        line = rest.lstrip(_PADDING)
        if len(line) < 2 and len(rest) < _LONGEST_PADDING + 2 and b"\r".startswith(line):
            return
        if line[:2] != b"\r\n":
            yield from self._no_delimiter()
            return
        yield from self._end_part()
        # The line's end stays: a part without headers has its empty line at once.
        del self._buffer[: size + len(rest) - len(line)]
        self._state = _State.HEADERS

    def _no_delimiter(self) -> Iterator[Event]:
        """Go on with what only began like a delimiter."""
        if self._from is _State.BODY:
            skipped = 2 if self._at_start else 0
            yield PartData(bytes(self._buffer[skipped : len(self._delimiter)]))
            self._at_start = False
        else:
            self._passed += len(self._delimiter)
        del self._buffer[: len(self._delimiter)]
        self._state = self._from

    def _end_part(self) -> Iterator[Event]:
        if self._from is _State.BODY:
            self._at_start = False
            yield PartEnd()

    def _read_headers(self) -> Iterator[Event]:
        end = self._buffer.find(b"\r\n\r\n")
        if (end if end >= 0 else len(self._buffer) - 3) > self._limits.header_bytes:
            raise RequestError(f"a part's headers are longer than {self._limits.header_bytes} bytes")
        if end < 0:
            return
        self._parts += 1
        if self._parts > self._limits.parts:
            raise RequestError(f"the message has more than {self._limits.parts} parts; send fewer at a time")
        headers = _headers(bytes(self._buffer[2:end]) if end else b"")
        del self._buffer[: end + 2]
        self._state, self._at_start = _State.BODY, True
        yield PartBegin(headers)

    def _read_body(self) -> Iterator[Event]:
        place = self._buffer.find(self._delimiter)
        done = place if place >= 0 else len(self._buffer) - len(self._delimiter) + 1
        skipped = 2 if self._at_start else 0
        if place >= 0:
            self._from, self._state = _State.BODY, _State.DELIMITED
        if done >= max(skipped, 1):
            data = bytes(memoryview(self._buffer)[skipped:done])
            del self._buffer[:done]
            self._at_start = False
            if data:
                yield PartData(data)


def _headers(block: bytes) -> dict[str, str]:
    """Read a part's headers (RFC 5322 2.2), folded lines unfolded."""
    lines: list[str] = []
    for line in block.decode("latin-1").split("\r\n"):
        if line[:1] in (" ", "\t") and lines:
            lines[-1] += " " + line.strip()
        elif line:
            lines.append(line)
    found: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name.strip():
            raise RequestError("a part's header is no header; write it as Content-Type: application/dicom")
        found.setdefault(name.strip().lower(), value.strip())
    return found


@dataclass
class ReceivedPart:
    """One part of a message that is read piece by piece; what is left of it is passed over."""

    headers: Mapping[str, str]
    chunks: Iterator[bytes]


def parts_of(chunks: Iterable[bytes], boundary: str, limits: Limits | None = None) -> Iterator[ReceivedPart]:
    """Read a message's parts one after the other, each to be read before the next is asked for.

    Raises:
        RequestError: the message is broken, cut off, or beyond its limits.
    """
    parser = Parser(boundary, limits)
    events = _events(parser, chunks)
    for event in events:
        if isinstance(event, PartBegin):
            data = _data_until_end(events)
            yield ReceivedPart(event.headers, data)
            for _ in data:
                pass


def _events(parser: Parser, chunks: Iterable[bytes]) -> Iterator[Event]:
    for chunk in chunks:
        yield from parser.feed(chunk)
    parser.close()


def _data_until_end(events: Iterator[Event]) -> Iterator[bytes]:
    for event in events:
        if isinstance(event, PartEnd):
            return
        if isinstance(event, PartData):
            yield event.data


@dataclass(frozen=True)
class Part:
    """One part to write."""

    content_type: str
    body: Iterable[bytes]
    size_bytes: int | None = None
    """Of the body, where it is known before."""
    headers: Mapping[str, str] = field(default_factory=dict)

    def head(self) -> bytes:
        """Give its headers, and the empty line behind them."""
        lines = [f"Content-Type: {self.content_type}", *(f"{k}: {v}" for k, v in self.headers.items())]
        return "\r\n".join([*lines, "", ""]).encode("latin-1")


def new_boundary() -> str:
    """Make up a delimiter that is in no object."""
    return secrets.token_hex(16)


def related(root: str, boundary: str) -> str:
    """Write the Content-Type of a message whose parts are of a media type."""
    return f'{RELATED}; type="{root}"; boundary={boundary}'


def write(parts: Iterable[Part], boundary: str) -> Iterator[bytes]:
    """Write a message, part by part; without one it is only its closing delimiter."""
    delimiter = b"\r\n--" + boundary.encode("ascii")
    for part in parts:
        yield delimiter + b"\r\n" + part.head()
        yield from part.body
    yield delimiter + b"--\r\n"


def size_of(parts: Iterable[Part], boundary: str) -> int:
    """Say how long a message is whose bodies' lengths are all known."""
    line = len(boundary) + 6  # CR LF -- boundary CR LF
    return sum(line + len(part.head()) + (part.size_bytes or 0) for part in parts) + line + 2


def boundary_of(content_type: MediaType) -> str:
    """Give the boundary of a multipart/related message.

    Raises:
        RequestError: it is another kind of message, or says no boundary.
    """
    if content_type.name != RELATED:
        raise RequestError(f"Content-Type is {content_type.name}; expected {RELATED}")
    if not content_type.get("boundary"):
        raise RequestError("the multipart message's Content-Type names no boundary; add boundary=...")
    return content_type.get("boundary")
