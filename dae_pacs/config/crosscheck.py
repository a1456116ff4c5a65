"""What must hold between settings: rules name peers that exist, and no two rules share a name.

It looks at the raw values, so that these errors are reported together with those of single values.
"""

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from dae_pacs.config.fields import fault

Whole = TypeVar("Whole")
Found = tuple[tuple[str | int, ...], object, PydanticCustomError]


def validate_whole(data: Any, handler: Callable[[Any], Whole]) -> Whole:  # Any: pydantic's raw input
    """Validate the settings one by one and against each other, and report both kinds of error at once.

    Raises:
        ValidationError: with every error that was found.
    """
    across = [InitErrorDetails(type=error, loc=loc, input=value) for loc, value, error in _problems(data)]
    try:
        whole = handler(data)
    except ValidationError as error:
        raise ValidationError.from_exception_data("Settings", [*_details(error), *across]) from error
    if across:
        raise ValidationError.from_exception_data("Settings", across)
    return whole


def _details(error: ValidationError) -> list[InitErrorDetails]:
    """Turn reported errors back into the form that a new report is made from."""
    details = []
    for found in error.errors(include_url=False):
        context = found.get("ctx", {})
        # Braces of the message are not a template's here.
        kind = PydanticCustomError(found["type"], "{text}", {**context, "text": found["msg"]})
        details.append(InitErrorDetails(type=kind, loc=found["loc"], input=found["input"]))
    return details


def _problems(data: object) -> Iterator[Found]:
    settings = _table(data)
    peers = list(_table(settings.get("peers")))
    rules = settings.get("rules", ())
    if not isinstance(rules, Sequence) or isinstance(rules, str):
        return
    seen: dict[object, int] = {}
    for index, rule in enumerate(map(_table, rules)):
        name = rule.get("name")
        if isinstance(name, str) and seen.setdefault(name, index) != index:
            yield (
                ("rules", index, "name"),
                name,
                fault(f"is also the name of rules[{seen[name]}]", "give each rule a name of its own"),
            )
        yield from _destinations(rule, index, peers)


def _destinations(rule: Mapping[str, object], index: int, peers: Sequence[str]) -> Iterator[Found]:
    loc = ("rules", index, "destinations")
    value = rule.get("destinations", ())
    names = (value,) if isinstance(value, str) else value
    if not isinstance(names, Sequence):
        return
    action = rule.get("action", "denoise")
    if action in {"denoise", "forward"} and not names:
        right = (
            f"name one or more of the peers ({_listed(peers)})"
            if peers
            else "add a table [peers.NAME] and name it"
        )
        yield loc, list(names), fault(f"is empty, but the rule's action is {action}", right)
    if action == "keep" and (names or rule.get("forward_original") is True):
        yield (
            ("rules", index, "action"),
            action,
            fault(
                "delivers nothing, but the rule has something to deliver",
                'write action = "forward" or drop the rest',
            ),
        )
    for place, name in enumerate(names):
        if isinstance(name, str) and name not in peers:
            yield (*loc, place), name, fault("is not the name of a peer", _peer_proposal(name, peers))


def _peer_proposal(name: str, peers: Sequence[str]) -> str:
    close = difflib.get_close_matches(name.casefold(), peers, n=1)
    if close:
        return f"did you mean {close[0]}?"
    return f"add a table [peers.{name}], or use one of: {_listed(peers)}"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) or "(there are none)"


def _table(value: object) -> Mapping[str, object]:
    if isinstance(value, BaseModel):
        return value.model_dump()
    return value if isinstance(value, Mapping) else {}
