from pathlib import Path

from dae_pacs.config.model import NodeSettings, Peer, Rule
from dae_pacs.config.reference import reference

DOCUMENT = Path(__file__).parents[2] / "docs" / "configuration.md"


def test_the_document_is_what_the_models_say() -> None:
    assert DOCUMENT.read_text(encoding="utf-8") == reference(), (
        "stale: dae-pacs config reference > docs/configuration.md"
    )


def test_every_setting_is_described() -> None:
    for model in (NodeSettings, Peer, Rule):
        for name, field in model.model_fields.items():
            assert f"| `{name}` |" in reference()
            assert field.description
