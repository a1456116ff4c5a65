import ast
from pathlib import Path

from dae_pacs.cli.conformance import conformance
from dae_pacs.cli.conformance_words import ANSWERS, CHANGES
from dae_pacs.dimse import contexts, statuses
from dae_pacs.image.removed import REMOVED_CHANGES
from dae_pacs.image.rules import HEADER_CHANGES

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "conformance.md"
ANSWERING = ("dimse/reception.py", "dimse/refusals.py", "node/receive.py")


def test_the_document_is_what_the_code_says() -> None:
    assert DOCUMENT.read_text(encoding="utf-8") == conformance(), (
        "stale: dae-pacs config conformance > docs/conformance.md"
    )


def test_the_command_prints_it(run) -> None:
    assert run("config", "conformance").out == conformance()


def test_every_sop_class_and_transfer_syntax_is_told_in_our_order() -> None:
    text = conformance()
    assert all(f"| {uid} |" in text for uid in contexts.STORAGE_SOP_CLASSES)
    places = [text.index(f"| {uid} |") for uid in contexts.TRANSFER_SYNTAXES]
    assert places == sorted(places)


def test_every_status_that_the_node_can_answer_is_told() -> None:
    names = {name for name, value in vars(statuses).items() if name.isupper() and isinstance(value, int)}
    used = set()
    for file in ANSWERING:
        tree = ast.parse((ROOT / "dae_pacs" / file).read_text(encoding="utf-8"))
        used |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)} & names
        used |= {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)} & names
    assert {getattr(statuses, name) for name in used} == set(ANSWERS)


def test_what_is_said_of_an_element_has_a_rule_and_what_is_not_said_is_dropped() -> None:
    rules = HEADER_CHANGES | REMOVED_CHANGES
    assert set(CHANGES) <= set(rules)
    silent = set(rules) - set(CHANGES)
    assert {rules[keyword].__name__ for keyword in silent} == {"_drop"}
    assert not {keyword for keyword in CHANGES if rules[keyword].__name__ == "_drop"}
