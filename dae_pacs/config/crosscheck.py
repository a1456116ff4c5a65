"""What must hold between settings: rules name peers that exist, and no two rules share a name.

It looks at the raw values, so that these errors are reported together with those of single values.
"""

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from dae_pacs.config import crosscheck_pulls, crosscheck_tls, crosscheck_web, web_peers
from dae_pacs.config.fields import DEFAULT_DESCRIPTION, fault

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
    peers = [*_table(settings.get("peers")), *_table(settings.get("web_peers"))]
    named = {name: _table(peer) for name, peer in _table(settings.get("peers")).items()}
    yield from crosscheck_tls.problems(_table(settings.get("tls")), named, _table(settings.get("node")))
    yield from crosscheck_web.problems(_table(settings.get("web")), _table(settings.get("oidc")))
    web = {name: _table(peer) for name, peer in _table(settings.get("web_peers")).items()}
    yield from web_peers.problems(web, others=named)
    pulls = settings.get("pulls", ())
    if isinstance(pulls, Sequence) and not isinstance(pulls, str):
        yield from crosscheck_pulls.problems(
            list(map(_table, pulls)), named, _table(settings.get("web_peers")), propose=_peer_proposal
        )
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
        yield from _outputs(rule, index, _table(settings.get("model")).get("strength"))


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


def _outputs(rule: Mapping[str, object], index: int, models_strength: object) -> Iterator[Found]:
    """Check that a rule's derived series differ, from each other and in what they are called."""
    extra = rule.get("strengths", ())
    if rule.get("action", "denoise") != "denoise":
        for name in ("strengths", "removed"):
            if rule.get(name):
                wrong = f"asks for a derived series, but the rule's action is {rule['action']}"
                yield ("rules", index, name), rule[name], fault(wrong, 'write action = "denoise" or drop it')
        return
    if not extra or not isinstance(extra, Sequence) or not all(map(_is_number, extra)):
        return  # none, or wrong one by one, which is told elsewhere
    own = rule.get("strength") if rule.get("strength") is not None else models_strength
    loc = ("rules", index, "strengths")
    if not _is_number(own):
        right = "give strength, too, so that no two of the series can be the same"
        yield loc, extra, fault("goes with a strength that is not said here", right)
        return
    named = [f"{value:.6g}" for value in (own, *extra)]
    if len(set(named)) < len(named):
        right = "name each strength once, and not the rule's own"
        yield loc, extra, fault("would make the same series twice", right)
    elif not _are_told_apart(rule.get("description"), [own, *extra]):
        right = "write {strength:.2f} into description"
        yield loc, extra, fault("would make series of the same description", right)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _are_told_apart(template: object, strengths: Sequence[object]) -> bool:
    """Tell whether a template, or the default one, gives each strength another text."""
    text = template if isinstance(template, str) else DEFAULT_DESCRIPTION
    try:
        texts = {text.format(source="", strength=value, model="") for value in strengths}
    except (ValueError, KeyError, IndexError):
        return True  # no template: told with the description itself
    return len(texts) == len(strengths)


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
