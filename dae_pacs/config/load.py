"""Read the settings: once, from one TOML file and the environment, every error at once."""

import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_settings import SettingsError

from dae_pacs.config.model import NodeSettings, Settings
from dae_pacs.config.problems import explain, stray_variables
from dae_pacs.config.reference import reference
from dae_pacs.errors import ConfigError

__all__ = ["DEFAULT_FILE", "load", "reference", "sample"]

DEFAULT_FILE = Path("dae-pacs.toml")
"""Read from the working folder when no file is named and it is there."""

_PATHS = (
    ("node", "spool"),
    ("model", "folder"),
    ("log", "file"),
    *(("audit", key) for key in ("file", "syslog_authorities", "syslog_certificate", "syslog_key")),
    *(("tls", key) for key in ("certificate", "key", "key_password_file", "trust")),
    *(("web", key) for key in ("certificate", "key", "key_password_file")),
    *(("oidc", key) for key in ("client_secret_file", "authorities")),
    ("metrics", "token_file"),
)


def load(path: Path | None) -> Settings:
    """Read and check all settings.

    Relative paths, the default spool among them, count from the file's folder; those of the environment, and
    all of them when there is no file, from the working folder.

    Args:
        path: the file; None takes `dae-pacs.toml` of the working folder when it is there, else the defaults.

    Raises:
        ConfigError: the file can't be read, or settings are wrong; the message lists every one of them.
    """
    if path is None and DEFAULT_FILE.is_file():
        path = DEFAULT_FILE
    values = _anchored(_read(path), path.absolute().parent) if path else {}
    problems = list(stray_variables())
    try:
        settings = Settings(**values)
    except ValidationError as error:
        raise _refusal(path, [*problems, *explain(error, values)]) from error
    except SettingsError as error:
        raise _refusal(path, [*problems, f"environment: {error}; give JSON for a list or table"]) from error
    if problems:
        raise _refusal(path, problems)
    return settings


def sample() -> str:
    """Give the commented sample configuration."""
    return files("dae_pacs.config").joinpath("sample.toml").read_text(encoding="utf-8")


def _read(path: Path) -> dict[str, Any]:  # Any: what TOML holds is checked by the models
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(
            f"Configuration {path}: there is no such file. Make one with: dae-pacs config sample > {path}"
        ) from error
    except OSError as error:
        raise ConfigError(
            f"Configuration {path}: can't be read ({error.strerror}). Name a readable TOML file."
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"Configuration {path}: is not UTF-8 text. Save it as UTF-8.") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(
            f"Configuration {path}: is not TOML: {error}. Correct it there; text needs quotes."
        ) from error


def _anchored(values: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Make the file's relative paths absolute, from its folder; anything odd is left to the models."""
    node = values.setdefault("node", {})
    if isinstance(node, dict):
        node.setdefault("spool", str(NodeSettings.model_fields["spool"].default))
    for section, key in _PATHS:
        _anchor(values.get(section), key, folder)
    peers = values.get("peers")
    for peer in peers.values() if isinstance(peers, dict) else ():
        _anchor(peer, "tls_trust", folder)
    rules = values.get("rules")
    for table, key in [
        (values.get("model"), "name"),
        *((rule, "model") for rule in rules or () if isinstance(rules, list)),
    ]:
        if isinstance(table, dict) and "/" in str(table.get(key)):
            _anchor(table, key, folder)
    return values


def _anchor(table: object, key: str, folder: Path) -> None:
    if isinstance(table, dict) and isinstance(table.get(key), str):
        table[key] = str(folder / Path(table[key]).expanduser())


def _refusal(path: Path | None, problems: list[str]) -> ConfigError:
    where = f"Configuration {path}" if path else "Configuration (defaults and environment; no file was read)"
    count = "1 setting is" if len(problems) == 1 else f"{len(problems)} settings are"
    return ConfigError("\n".join([f"{where}: {count} wrong.", *(f"  {problem}" for problem in problems)]))
