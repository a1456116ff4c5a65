"""References that are written by hand name what the code has."""

from markdown_it import MarkdownIt
from snippets import ROOT, documents

from dae_pacs.audit import codes
from dae_pacs.audit.codes import Code


def test_every_audit_event_is_told() -> None:
    told = (ROOT / "docs" / "audit.md").read_text()
    events = [code for code in vars(codes).values() if isinstance(code, Code) and code.scheme == "DCM"]
    events = [code for code in events if 110100 <= int(code.value) < 110150]
    assert events
    assert not [code for code in events if code.value not in told]


def test_no_row_of_a_table_stands_apart_from_it() -> None:
    apart = []
    for document in documents():
        tokens = MarkdownIt().enable("table").parse(document.read_text())
        paragraphs = [token for token in tokens if token.type == "inline" and token.content.startswith("| ")]
        apart += [f"{document.name}:{(token.map or [0])[0] + 1}" for token in paragraphs]
    assert not apart
