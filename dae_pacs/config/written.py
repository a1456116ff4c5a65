"""Write settings as TOML: what `load` would read back as the same settings."""

from collections.abc import Iterator, Mapping

from dae_pacs.config.describe import toml
from dae_pacs.config.model import Settings


def as_toml(settings: Settings) -> str:
    """Write every setting, the unset ones as comments."""
    sections: list[str] = []
    for name, value in settings.model_dump().items():
        if name in {"peers", "web_peers", "senders"}:
            sections += [_table(f"[{name}.{entry}]", values) for entry, values in value.items()]
        elif name in {"rules", "pulls"}:
            sections += [_table(f"[[{name}]]", entry) for entry in value]
        else:
            sections.append(_table(f"[{name}]", value))
    return "\n".join(sections)


def _table(head: str, values: Mapping[str, object]) -> str:
    return "\n".join([head, *_lines(values), ""])


def _lines(values: Mapping[str, object]) -> Iterator[str]:
    for key, value in values.items():
        yield f"# {key}: not set" if value is None else f"{key} = {toml(value)}"
