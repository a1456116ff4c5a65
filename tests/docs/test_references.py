"""References that are written by hand name what the code has."""

from snippets import ROOT

from dae_pacs.audit import codes
from dae_pacs.audit.codes import Code


def test_every_audit_event_is_told() -> None:
    told = (ROOT / "docs" / "audit.md").read_text()
    events = [code for code in vars(codes).values() if isinstance(code, Code) and code.scheme == "DCM"]
    events = [code for code in events if 110100 <= int(code.value) < 110150]
    assert events
    assert not [code for code in events if code.value not in told]
