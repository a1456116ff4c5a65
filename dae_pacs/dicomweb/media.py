"""Media types with their parameters, and what an Accept header asks for (RFC 9110 8.3.1 and 12.5.1)."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from dae_pacs.errors import RequestError

DICOM: Final = "application/dicom"
JSON: Final = "application/dicom+json"
PLAIN_JSON: Final = "application/json"
OCTETS: Final = "application/octet-stream"
RELATED: Final = "multipart/related"

_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_TYPE: Final = re.compile(r"\s*([!#$%&'*+.^_`|~0-9A-Za-z-]+/[!#$%&'*+.^_`|~0-9A-Za-z-]+)\s*")
_QUOTED: Final = re.compile(r'"((?:[^"\\]|\\.)*)"')
_LONGEST: Final = 8192
"""Characters of a header value; real ones have a few hundred."""


@dataclass(frozen=True)
class MediaType:
    """One media type: `multipart/related; type="application/dicom"`."""

    name: str
    """In lower case."""
    parameters: Mapping[str, str] = field(default_factory=dict)
    """By their names in lower case, without quotation marks."""

    def get(self, parameter: str) -> str:
        """Give a parameter's value; "" where it is not there."""
        return self.parameters.get(parameter, "")

    @property
    def root(self) -> str:
        """What it is in the end: of a multipart/related, the type of its parts."""
        return self.get("type").lower() if self.name == RELATED else self.name

    def covers(self, name: str) -> bool:
        """Tell whether this, as a range of an Accept header, takes in a media type."""
        return self.name in ("*/*", name, name.partition("/")[0] + "/*")


def parse(value: str) -> MediaType:
    """Read a Content-Type header's value.

    Raises:
        RequestError: it is no media type.
    """
    found, position = _next(value, 0)
    if position != len(value):
        raise RequestError("Content-Type holds more than one media type; send one")
    return found


def accepted(value: str) -> tuple[MediaType, ...]:
    """Read an Accept header's value: what is wanted, the most wanted first; nothing said is anything.

    Raises:
        RequestError: it is no list of media types.
    """
    found: list[tuple[float, MediaType]] = []
    position = 0
    while position < len(value):
        one, position = _next(value, position)
        quality = _quality(one)
        if quality > 0:
            found.append((quality, one))
        position += 1  # the comma
    if not value.strip():
        return (MediaType("*/*"),)
    return tuple(one for _, one in sorted(found, key=lambda pair: -pair[0]))


def offered(wanted: Iterable[MediaType], names: Iterable[str]) -> str | None:
    """Choose among what we have, the best first; None where nothing of it is wanted."""
    have = tuple(names)
    for one in wanted:
        for name in have:
            if one.covers(name):
                return name
    return None


def _quality(one: MediaType) -> float:
    try:
        return min(1.0, max(0.0, float(one.get("q") or 1)))
    except ValueError:
        return 1.0


def _next(value: str, position: int) -> tuple[MediaType, int]:
    """Read one media type; gives where it ends: at a comma, or at the end."""
    if len(value) > _LONGEST:
        raise RequestError(f"a header is longer than {_LONGEST} characters; send a shorter one")
    found = _TYPE.match(value, position)
    if not found:
        raise RequestError('a header holds no media type; write it as in multipart/related; type="..."')
    parameters: dict[str, str] = {}
    position = found.end()
    while position < len(value) and value[position] == ";":
        position = _skip(value, position + 1)
        if position >= len(value) or value[position] in ";,":
            continue  # an empty parameter, as after a last semicolon
        position = _parameter(value, position, parameters)
    if position < len(value) and value[position] != ",":
        raise RequestError("a media type's parameters are broken; write them as name=value, with semicolons")
    return MediaType(found[1].lower(), parameters), position


def _parameter(value: str, position: int, parameters: dict[str, str]) -> int:
    name = _TOKEN.match(value, position)
    position = _skip(value, name.end()) if name else position
    if not name or value[position : position + 1] != "=":
        raise RequestError("a media type's parameters are broken; write them as name=value, with semicolons")
    position = _skip(value, position + 1)
    quoted = _QUOTED.match(value, position)
    if quoted:
        text, end = re.sub(r"\\(.)", r"\1", quoted[1]), quoted.end()
    else:
        # More than a token has: type=application/dicom, without its quotation marks, is often sent.
        end = min(e for e in (value.find(";", position), value.find(",", position), len(value)) if e >= 0)
        text = value[position:end].strip()
        if '"' in text:
            raise RequestError("a media type's parameter has a quotation mark that is not closed")
    parameters.setdefault(name[0].lower(), text)
    return _skip(value, end)


def _skip(value: str, position: int) -> int:
    while position < len(value) and value[position] in " \t":
        position += 1
    return position
