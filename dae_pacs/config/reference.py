"""Write the reference of all settings from their models: `docs/configuration.md`."""

from collections.abc import Iterator

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from dae_pacs.config.describe import kind, models_inside, toml
from dae_pacs.config.model import ENV_PREFIX, Settings

_HEAD = f"""# Configuration

<!-- Generated from dae_pacs/config/model.py by `dae-pacs config reference`; a test fails when stale. -->

One TOML file: `dae-pacs.toml` of the working folder, or the one that `--config` names.
`dae-pacs config sample` prints one to begin with, `dae-pacs config check` names every error in it, and
`dae-pacs config show` prints what is in force.

- Relative paths, the default spool among them, count from the file's folder; without a file, and for those of
  the environment, from the working folder. `~` is the home folder.
- An environment variable wins over the file: `{ENV_PREFIX}NODE__PORT=11113` sets `node.port`,
  `{ENV_PREFIX}PEERS__ORTHANC__HOST=pacs` the host of the peer `orthanc`. Lists and tables are given as JSON:
  `{ENV_PREFIX}RULES='[{{"name": "all", "action": "keep"}}]'`.
- Nothing is read again while the node runs: restart it after a change.
"""

_TITLES = {
    "peers": "[peers.NAME]",
    "web_peers": "[web_peers.NAME]",
    "senders": "[senders.NAME]",
    "rules": "[[rules]]",
    "pulls": "[[pulls]]",
}


def reference() -> str:
    """Give the reference as Markdown."""
    sections = [_section(name, field) for name, field in Settings.model_fields.items()]
    return "\n".join([_HEAD, *sections])


def _section(name: str, field: FieldInfo) -> str:
    (model,) = models_inside(field.annotation)
    return "\n".join([f"## `{_TITLES.get(name, f'[{name}]')}`", "", _paragraph(model), "", *_rows(model), ""])


def _paragraph(model: type[BaseModel]) -> str:
    return " ".join((model.__doc__ or "").split())


def _rows(model: type[BaseModel]) -> Iterator[str]:
    yield "| Setting | Values | Default | What it does |"
    yield "|---|---|---|---|"
    for name, field in model.model_fields.items():
        cells = (f"`{name}`", kind(field), _default(field), field.description or "")
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    return "none" if field.default is None else f"`{toml(field.default)}`"
