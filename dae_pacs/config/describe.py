"""Say in words which values a setting takes: for the messages about wrong ones, and for the reference."""

import json
import types
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel
from pydantic.fields import FieldInfo

_KINDS: dict[object, str] = {
    int: "a whole number",
    float: "a number",
    str: "text",
    bool: "true or false",
    Path: "a path",
}


def expectation(field: FieldInfo) -> str:
    """Say which values a setting takes, with an example: "a whole number from 0 to 65535, such as 11112"."""
    words = kind(field)
    example = _example(field)
    return f"{words}, such as {example}" if example else words


def kind(field: FieldInfo) -> str:
    """Say which kind of value a setting takes, with its limits: "a whole number from 0 to 65535"."""
    _, metadata = _bare(field.annotation)
    limits = _limits([*field.metadata, *metadata])
    return f"{bare_kind(field)} {limits}" if limits else bare_kind(field)


def bare_kind(field: FieldInfo) -> str:
    """Say which kind of value a setting takes, whatever its limits: "a whole number"."""
    return _kind_of(_bare(field.annotation)[0])


def models_inside(annotation: object) -> Iterator[type[BaseModel]]:
    """Find the models that a setting is made of: itself, or the entries of its table or list."""
    if isinstance(annotation, type) and not get_args(annotation) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from models_inside(argument)


def toml(value: object) -> str:
    """Write a value as TOML writes it; whatever TOML has no word for, as Python does."""
    match value:
        case bool():
            return str(value).lower()
        case str() | Path():
            return json.dumps(str(value), ensure_ascii=False)
        case dict():
            return (
                "{ " + ", ".join(f"{key} = {toml(entry)}" for key, entry in value.items()) + " }"
                if value
                else "{}"
            )
        case list() | tuple():
            return "[" + ", ".join(map(toml, value)) + "]"
        case _:
            return repr(value)


def _example(field: FieldInfo) -> str | None:
    if field.examples:
        return toml(field.examples[0])
    if field.is_required() or field.default is None or field.default in ((), {}):
        return None
    return toml(field.default)


def _bare(annotation: object) -> tuple[object, Sequence[Any]]:
    """Strip `| None` and `Annotated` off an annotation, and give back what `Annotated` said."""
    arguments = [argument for argument in get_args(annotation) if argument is not types.NoneType]
    if get_origin(annotation) in {Union, types.UnionType} and len(arguments) == 1:
        return _bare(arguments[0])
    if get_origin(annotation) is Annotated:
        first, *metadata = get_args(annotation)
        flat = [
            entry for item in metadata for entry in (item.metadata if isinstance(item, FieldInfo) else [item])
        ]
        inner, more = _bare(first)
        return inner, [*flat, *more]
    return annotation, []


def _kind_of(annotation: object) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return "one of " + ", ".join(map(toml, arguments))
    if origin is tuple:
        return _list_of(arguments[0])
    if origin is dict:
        return "a table"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "a table"
    return _KINDS.get(annotation, "text")


def _list_of(annotation: object) -> str:
    inner, metadata = _bare(annotation)
    if inner is str:
        return "text, or a list of texts"
    if inner is float:
        return f"a list of numbers {_limits(metadata)}".rstrip()
    return "a list of tables"


def _limits(metadata: Sequence[Any]) -> str:
    words = {"ge": "from {}", "gt": "above {}", "le": "to {}", "lt": "below {}"}
    found = [
        phrase.format(getattr(limit, name))
        for name, phrase in words.items()
        for limit in metadata
        if isinstance(limit, Ge | Gt | Le | Lt) and hasattr(limit, name)
    ]
    return " ".join(found)
