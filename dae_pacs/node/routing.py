"""Decide what happens to an object: the first rule whose every condition holds."""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.uid import UID

from dae_pacs.config.keywords import CALLED_AE_TITLE, CALLING_AE_TITLE
from dae_pacs.config.model import ModelSettings, Rule
from dae_pacs.image import peek
from dae_pacs.image.header import Summary
from dae_pacs.spool.records import Plan
from dae_pacs.spool.states import Action

NO_RULE = "no rule matches"
OWN_RESULT = "made by dae-pacs itself"

_FILE_META_GROUP = 0x0002
_BINARY_NUMBERS = frozenset({"US", "SS", "UL", "SL", "UV", "SV", "FL", "FD", "US or SS"})
"""Value representations whose bytes are no text (PS3.5 6.2)."""


@dataclass(frozen=True)
class Decision:
    """What happens to an object, and why."""

    plan: Plan
    explanation: tuple[str, ...]
    """One line for each rule that was tried, and one for what came of it."""


def decide(
    ds: Dataset,
    summary: Summary,
    *,
    calling_ae: str,
    called_ae: str,
    rules: Sequence[Rule],
    model: ModelSettings,
) -> Decision:
    """Find the first rule that fits an object, and plan what it says.

    Args:
        ds: the object's header; pixel data are not looked at.
        summary: what `summarise` made of the same header.
        calling_ae: the sender's AE title.
        called_ae: the AE title that the sender asked for.
        rules: in the order in which they are tried.
        model: the model and strength of rules that name none.
    """
    if summary.is_own:
        return Decision(Plan("own", reason=OWN_RESULT), (f"is {OWN_RESULT}: recorded, no rule tried",))
    titles = {CALLING_AE_TITLE: calling_ae, CALLED_AE_TITLE: called_ae}
    lines: list[str] = []
    for place, rule in enumerate(rules, start=1):
        failed, held = _try(rule, ds, titles, summary.transfer_syntax_uid)
        name = f'rule {place} "{rule.name}"'
        if failed:
            lines.append(f"{name} does not match: {failed}")
            continue
        lines.append(f"{name} matches: {', '.join(held) or 'it has no conditions'}")
        plan = _plan_of(rule, summary.reason, model)
        return Decision(plan, (*lines, _outcome(plan)))
    plan = Plan("keep", reason=NO_RULE)
    return Decision(plan, (*lines, _outcome(plan)))


def in_words(rule: Rule, model: ModelSettings) -> tuple[tuple[str, ...], str]:
    """Say a rule in words: its conditions, each of which must hold, and what then happens."""
    conditions = tuple(f"{keyword} is {_either(patterns)}" for keyword, patterns in rule.when.items())
    return conditions, _outcome(_plan_of(rule, None, model))


def _try(
    rule: Rule, ds: Dataset, titles: dict[str, str], transfer_syntax_uid: str
) -> tuple[str | None, list[str]]:
    """Try a rule's conditions in order: the words for the first that fails, and for those that hold."""
    held: list[str] = []
    for keyword, patterns in rule.when.items():
        values: Sequence[str]
        if keyword in titles:
            values = (titles[keyword],)
        elif keyword == "TransferSyntaxUID":
            values = _with_name(transfer_syntax_uid)
        else:
            values = _values(ds, keyword)
        match = _match(values, patterns)
        if match is None:
            return f"{keyword} is {_shown(values)}, not {_either(patterns)}", held
        held.append(f"{keyword} is {_quoted(match[0])}, as {_quoted(match[1])} asks")
    return None, held


def _match(values: Sequence[str], patterns: Sequence[str]) -> tuple[str, str] | None:
    """Find a value and the pattern that it matches; an absent or empty element matches only ""."""
    if not any(values):
        return ("", "") if "" in patterns else None
    for value in values:
        for pattern in patterns:
            if value and fnmatchcase(value.casefold(), pattern.casefold()):
                return value, pattern
    return None


def _values(ds: Dataset, keyword: str) -> tuple[str, ...]:
    """Give an element's values as text, leaving the element as it stands; nothing when it is absent."""
    is_meta = (tag_for_keyword(keyword) or 0) >> 16 == _FILE_META_GROUP
    holder = getattr(ds, "file_meta", None) if is_meta else ds
    element = peek.element(holder, keyword) if holder is not None else None
    if holder is None or element is None:
        return ()
    vr = peek.value_representation(element)
    if vr in _BINARY_NUMBERS:
        return tuple(f"{number:.15g}" for number in peek.numbers(holder, keyword))
    texts = peek.strings(holder, keyword)
    return tuple(name for text in texts for name in _with_name(text)) if vr == "UI" else texts


def _with_name(uid: str) -> tuple[str, ...]:
    """Give a UID and, where PS3.6 has one, its name."""
    name = UID(uid).name if uid else ""
    return (uid, name) if name and name != uid else (uid,)


def _plan_of(rule: Rule, reason: str | None, model: ModelSettings) -> Plan:
    if rule.action == "denoise":
        action: Action = "pass_over" if reason else "denoise"
    else:
        action, reason = rule.action, None
    return Plan(
        action,
        rule=rule.name,
        reason=reason,
        model=rule.model or model.name,
        strength=model.strength if rule.strength is None else rule.strength,
        destinations=rule.destinations,
        forward_original=rule.forward_original or action == "forward",
        description=rule.description,
        priority=rule.priority,
        strengths=rule.strengths,
        removed=rule.removed,
        compression=rule.compression,
    )


def _outcome(plan: Plan) -> str:
    where = ", ".join(plan.destinations)
    original = f"; the original is delivered to {where}" if plan.forward_original else ""
    match plan.action:
        case "denoise":
            strength = "the model's own strength" if plan.strength is None else f"strength {plan.strength:g}"
            more = "".join(f", once more at strength {value:g}" for value in plan.strengths)
            more += ", what was removed as a series of its own" if plan.removed else ""
            return f"denoised with {plan.model} at {strength}{more}, delivered to {where}{original}"
        case "pass_over":
            return f"passed over: {plan.reason}{original}"
        case "forward":
            return f"forwarded as it is to {where}"
        case _:
            return f"kept in the spool, nothing is delivered{f': {plan.reason}' if plan.reason else ''}"


def _shown(values: Sequence[str]) -> str:
    if not values:
        return "absent"
    return " and ".join(map(_quoted, values)) if any(values) else "empty"


def _either(patterns: Sequence[str]) -> str:
    return " or ".join(map(_quoted, patterns)) or "anything, for the list of patterns is empty"


def _quoted(text: str) -> str:
    return '"' + text.translate(dict.fromkeys(range(32), "?")) + '"'
