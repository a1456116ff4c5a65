"""What a Search request asks for: its parameters read, and items held against them (PS3.18 10.6, 8.3.4)."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from pydicom.datadict import dictionary_VR, keyword_for_tag, tag_for_keyword

from dae_pacs.dicomweb.json_model import Json, texts
from dae_pacs.errors import RequestError

Level = Literal["studies", "series", "instances"]

_TAG: Final = re.compile(r"[0-9A-Fa-f]{8}")
_DATE: Final = re.compile(r"[0-9]{8}")
_RANGE: Final = re.compile(r"([0-9.+]*)-([0-9.+]*)")
_RANGED: Final = frozenset({"DA", "TM", "DT"})
_NUMBERS: Final = frozenset({"IS", "DS", "US", "SS", "UL", "SL", "FL", "FD", "UV", "SV"})
_LONGEST: Final = 4096
_DEEPEST: Final = 4


@dataclass(frozen=True)
class Query:
    """What a Search request asks for."""

    match: Mapping[str, str] = field(default_factory=dict)
    """By the path of an element, tags joined by dots, what its value must match."""
    fields: frozenset[str] = frozenset()
    """Tags to tell beside the usual ones."""
    has_all_fields: bool = False
    limit: int | None = None
    offset: int = 0
    wants_fuzzy: bool = False


def parse(parameters: Iterable[tuple[str, str]]) -> Query:
    """Read a Search request's query parameters.

    Raises:
        RequestError: one is not known, or its value makes no sense.
    """
    match: dict[str, str] = {}
    fields: set[str] = set()
    limit, offset, has_all, wants_fuzzy = None, 0, False, False
    for name, value in parameters:
        if len(value) > _LONGEST:
            raise RequestError(f"a query parameter is longer than {_LONGEST} characters")
        match name.lower():
            case "limit":
                limit = _number(name, value)
            case "offset":
                offset = _number(name, value)
            case "fuzzymatching":
                wants_fuzzy = value.lower() == "true"
            case "includefield":
                names = [one.strip() for one in value.split(",") if one.strip()]
                has_all = has_all or "all" in names
                fields.update(tag_path(one).rpartition(".")[2] for one in names if one != "all")
            case _:
                path = tag_path(name)
                if path in match:
                    raise RequestError("a query parameter is given twice; give each attribute once")
                match[path] = value.strip()
    return Query(
        {path: v for path, v in match.items() if v}, frozenset(fields), has_all, limit, offset, wants_fuzzy
    )


def tag_path(name: str) -> str:
    """Give the tags of an attribute's name: a keyword or a tag, or several of them joined by dots.

    Raises:
        RequestError: it names no attribute.
    """
    steps = name.split(".")
    if len(steps) > _DEEPEST:
        raise RequestError("a query parameter names an attribute too deep in sequences")
    return ".".join(map(_tag, steps))


def _tag(name: str) -> str:
    if _TAG.fullmatch(name):
        return name.upper()
    tag = tag_for_keyword(name)
    if tag is None:
        raise RequestError(
            "a query parameter names no attribute; give a keyword such as PatientID, its tag in eight "
            "hexadecimal digits, or limit, offset, includefield, fuzzymatching"
        )
    return f"{tag:08X}"


def _number(name: str, value: str) -> int:
    if not value.isdecimal() or len(value) > 9:
        raise RequestError(f"{name} is no whole number from 0 on")
    return int(value)


def keyword_of(path: str) -> str:
    """Give the keyword of a top-level element; "" where it has none, or lies in a sequence."""
    return "" if "." in path else keyword_for_tag(int(path, 16))


def choices_of(path: str, value: str) -> tuple[str, ...]:
    """Split a value into those of which one must match: UIDs may be a list (PS3.4 C.2.2.2.2)."""
    if _vr(path) == "UI":
        return tuple(one for one in re.split(r"[,\\]", value) if one)
    return tuple(one for one in value.split("\\") if one) or ("",)


def date_range(value: str) -> tuple[str, str] | None:
    """Read a date or a range, YYYYMMDD-YYYYMMDD with either end left out; None where it is neither."""
    if _DATE.fullmatch(value):
        return value, value
    first, dash, last = value.partition("-")
    if not dash or not (first or last):
        return None
    return (first, last) if all(not end or _DATE.fullmatch(end) for end in (first, last)) else None


def matches(item: Json, match: Mapping[str, str]) -> bool:
    """Tell whether a data set meets conditions, each by its element's kind (PS3.4 C.2.2.2)."""
    return all(_meets([item], path.split("."), value) for path, value in match.items())


def _meets(items: Sequence[Json], path: Sequence[str], value: str) -> bool:
    tag = path[0]
    if len(path) > 1:
        inner = [
            one for item in items for one in (item.get(tag) or {}).get("Value", ()) if isinstance(one, dict)
        ]
        return bool(inner) and _meets(inner, path[1:], value)
    wanted = choices_of(tag, value)
    return any(_fits(found, one, _vr(tag)) for item in items for found in texts(item, tag) for one in wanted)


def _fits(found: str, wanted: str, vr: str) -> bool:
    if vr in _RANGED and "-" in wanted:
        bounds = _RANGE.fullmatch(wanted)
        if bounds is None:
            return False
        first, last = bounds[1], bounds[2]
        # By the precision of the bound: 0930 as the last time takes in 093059.
        return (not first or found >= first) and (not last or found[: len(last)] <= last)
    if vr in _NUMBERS:
        try:
            return float(found) == float(wanted)
        except ValueError:
            return False
    if vr == "PN":
        found, wanted = found.casefold().rstrip("^"), wanted.casefold().rstrip("^")
    return _is_like(found, wanted)


def _is_like(found: str, pattern: str) -> bool:
    """Match wildcards in steps: at worst the product of both lengths, whoever made the pattern."""
    place = at = back = 0
    star = -1
    while at < len(found):
        if place < len(pattern) and pattern[place] == "*":
            star, back = place, at
            place += 1
        elif place < len(pattern) and pattern[place] in ("?", found[at]):
            place, at = place + 1, at + 1
        elif star >= 0:
            back += 1
            place, at = star + 1, back
        else:
            return False
    return not pattern[place:].strip("*")


def _vr(path: str) -> str:
    try:
        return str(dictionary_VR(int(path.rpartition(".")[2], 16)))
    except KeyError:
        return "UN"
