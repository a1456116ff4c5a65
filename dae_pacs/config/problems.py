"""Put what pydantic found wrong into words: the key, its value, what is wrong, what would be right."""

import difflib
import os
from collections.abc import Iterator, Mapping, Sequence

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from dae_pacs import failpoints
from dae_pacs.config.describe import bare_kind, expectation, models_inside, toml
from dae_pacs.config.masking import is_secret, masked
from dae_pacs.config.model import ENV_DELIMITER, ENV_PREFIX, Settings

Loc = Sequence[int | str]

LONGEST_VALUE = 60
"""Characters of a wrong value that a message repeats."""


def explain(error: ValidationError, values: Mapping[str, object]) -> list[str]:
    """Put every error into one line each.

    Args:
        error: what pydantic found.
        values: the raw settings of the file, to name the rule that is wrong.
    """
    return [_line(found, values) for found in error.errors(include_url=False)]


def stray_variables() -> Iterator[str]:
    """Name the environment variables that look like settings but are none; pydantic passes over them."""
    for name in sorted(os.environ):
        if name in failpoints.VARIABLES:
            continue
        section = name.upper().removeprefix(ENV_PREFIX).split(ENV_DELIMITER)[0].lower()
        if name.upper().startswith(ENV_PREFIX) and section not in Settings.model_fields:
            close = difflib.get_close_matches(section, Settings.model_fields, n=1)
            known = [_variable((key,)) for key in close or Settings.model_fields]
            right = f"did you mean {known[0]}?" if close else f"they begin with {', '.join(known)}"
            yield f"environment variable {name}: is not a setting; {right}"


def _line(found: ErrorDetails, values: Mapping[str, object]) -> str:
    loc = [part for part in found["loc"] if part != "[key]"]
    wrong, right = _wrong_and_right(found, loc)
    # For a wrong key pydantic gives the key as the value, and for a missing one the table around it.
    value = _raw(values, loc) if found["loc"][-1:] == ("[key]",) else found["input"]
    may_be_shown = not any(is_secret(part) for part in loc)  # misplaced, perhaps: a log must not have it
    is_shown = found["type"] != "missing" and not isinstance(value, Mapping) and may_be_shown
    return f"{_key(loc)}{_origin(loc, values)}{f' = {_shown(value)}' if is_shown else ''}: {wrong}; {right}"


def _wrong_and_right(found: ErrorDetails, loc: Loc) -> tuple[str, str]:
    context = found.get("ctx", {})
    if "right" in context:
        return str(context["wrong"]), str(context["right"])
    field = _field_at(loc)
    if found["type"] == "extra_forbidden":
        return "is not a setting", _proposal(loc)
    if field is None:
        return "is of the wrong kind", found["msg"]
    if found["type"] == "missing":
        return "is missing", f"give {expectation(field)}"
    if not _models_at(loc[:-1]):  # an entry of a table or list that holds plain values
        return _wrong_entry(found["type"], field)
    return _wrong(found["type"], field), _right(field, loc)


def _wrong_entry(kind_of_error: str, field: FieldInfo) -> tuple[str, str]:
    if "numbers" not in bare_kind(field):
        return "is not text", 'give text in quotes, such as "CT", or a list of texts'
    is_beyond = kind_of_error.startswith(("greater_than", "less_than"))
    return "is out of range" if is_beyond else "is not a number", f"give {expectation(field)}"


def _wrong(kind_of_error: str, field: FieldInfo) -> str:
    if kind_of_error.startswith(("greater_than", "less_than", "finite_number")):
        return "is out of range"
    if kind_of_error == "literal_error":
        return "is not known here"
    if kind_of_error in {"string_too_short", "string_too_long"}:
        return "is too short" if kind_of_error.endswith("short") else "is too long"
    return f"is not {bare_kind(field)}"


def _right(field: FieldInfo, loc: Loc) -> str:
    if bare_kind(field) == "a table":
        return f"write [{_key(loc)}] and its settings below it"
    if bare_kind(field) == "a list of tables":
        return f"write [[{loc[0]}]] and its settings below it"
    return f"give {expectation(field)}"


def _proposal(loc: Loc) -> str:
    models = _models_at(loc[:-1])
    known = [name for model in models for name in model.model_fields]
    here = _key(loc[:-1]) or "the file"
    return _did_you_mean(str(loc[-1]), known) or f"{here} knows {', '.join(known)}"


def _did_you_mean(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {close[0]}?" if close else ""


def _models_at(loc: Loc) -> list[type[BaseModel]]:
    """Find the model that the settings at a place belong to."""
    if not loc:
        return [Settings]
    field = _field_at(loc)
    return list(models_inside(field.annotation)) if field else []


def _field_at(loc: Loc) -> FieldInfo | None:
    """Find the setting at a place; an entry of a table or list belongs to the setting that holds it."""
    model: type[BaseModel] | None = Settings
    field: FieldInfo | None = None
    for part in loc:
        if model is not None and part in model.model_fields:
            field = model.model_fields[str(part)]
            inside = list(models_inside(field.annotation))
            model = inside[0] if inside else None
        elif field is None:
            return None
    return field


def _key(loc: Loc) -> str:
    text = ""
    for part in loc:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.removeprefix(".")


def _variable(loc: Loc) -> str:
    return ENV_PREFIX + ENV_DELIMITER.join(map(str, loc)).upper()


def _origin(loc: Loc, values: Mapping[str, object]) -> str:
    """Say where a setting stands when its key alone does not: a rule's name, or the variable that set it."""
    given = {name.upper() for name in os.environ}
    for length in range(len(loc), 0, -1):
        if _variable(loc[:length]) in given:
            return f" (from {_variable(loc[:length])})"
    name = _raw(values, [*loc[:2], "name"]) if loc[:1] == ["rules"] and loc[-1] != "name" else None
    return f' (rule "{name}")' if isinstance(name, str) else ""


def _raw(values: object, loc: Loc) -> object:
    """Look up what the file says at a place; None where it says nothing."""
    for part in loc:
        try:
            values = values[part]  # type: ignore[index]
        except (TypeError, KeyError, IndexError):
            return None
    return values


def _shown(value: object) -> str:
    text = toml(masked(value))
    return text if len(text) <= LONGEST_VALUE else text[: LONGEST_VALUE - 3] + "..."
