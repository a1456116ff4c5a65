"""`dae-pacs config check` and `config show`."""

from pathlib import Path

from rich.console import Console

from dae_pacs.cli.failures import FAILED, OK, say_error
from dae_pacs.config.load import DEFAULT_FILE, load
from dae_pacs.config.model import Settings
from dae_pacs.config.written import as_toml
from dae_pacs.errors import BundleError
from dae_pacs.resources import find_bundle


def check(config: Path | None) -> int:
    """Check the settings and the models that they name.

    Raises:
        ConfigError: settings are wrong; the message lists them all.
    """
    settings = load(config)
    missing = list(_missing_models(settings))
    for words in missing:
        say_error(words)
    if missing:
        return FAILED
    source = config or (DEFAULT_FILE if DEFAULT_FILE.is_file() else None)
    console = Console(soft_wrap=True, highlight=False)
    console.print(f"{source or 'The defaults'}: every setting is right.", markup=False)
    node = settings.node
    console.print(
        f"{node.ae_title} at {node.bind}:{node.port}, spool {node.spool}, "
        f"peers: {', '.join(settings.peers) or 'none'}, rules: {len(settings.rules)}.",
        markup=False,
    )
    if not settings.rules:
        console.print(
            "There are no rules: whatever comes in is kept and goes nowhere. See: dae-pacs config sample"
        )
    return OK


def show(config: Path | None) -> int:
    """Print the settings in force as TOML.

    Raises:
        ConfigError: settings are wrong; the message lists them all.
    """
    Console(soft_wrap=True, highlight=False).print(as_toml(load(config)), markup=False, end="")
    return OK


def _missing_models(settings: Settings) -> list[str]:
    named = {settings.model.name: "model.name"}
    for index, rule in enumerate(settings.rules):
        if rule.action == "denoise" and rule.model:
            named.setdefault(rule.model, f"rules[{index}].model")
    problems = []
    for name, key in named.items():
        try:
            find_bundle(name, settings.model.folder)
        except BundleError as error:
            problems.append(f"{key}: {error}")
    return problems
