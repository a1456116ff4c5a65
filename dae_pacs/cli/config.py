"""`dae-pacs config check` and `config show`."""

from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

from dae_pacs.cli.failures import FAILED, OK, say_error
from dae_pacs.config.load import DEFAULT_FILE, load
from dae_pacs.config.model import Settings
from dae_pacs.config.written import as_toml
from dae_pacs.dimse.tls_client import ANY_NAME
from dae_pacs.errors import BundleError
from dae_pacs.node.doors import is_loopback
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
        f"{node.ae_title} at {_where(settings)}, spool {node.spool}, "
        f"peers: {', '.join(settings.destinations) or 'none'}, rules: {len(settings.rules)}.",
        markup=False,
    )
    for words in warnings(settings):
        console.print(f"Warning: {words}", style="yellow", markup=False)
    if not settings.rules:
        console.print(
            "There are no rules: whatever comes in is kept and goes nowhere. See: dae-pacs config sample"
        )
    return OK


def _where(settings: Settings) -> str:
    node, tls = settings.node, settings.tls
    if tls.port is None:
        return f"{node.bind}:{node.port}"
    plain = f" and {node.bind}:{node.port} without" if tls.also_plain else ""
    return f"{node.bind}:{tls.port} with TLS{plain}"


def warnings(settings: Settings) -> Iterator[str]:
    """Say what stands open, or shut, and may not be meant so."""
    node, tls = settings.node, settings.tls
    if node.accept == "anyone":
        where = "this machine" if is_loopback(node.bind) else "every machine that reaches its port"
        yield f'node.accept = "anyone": the node takes images from {where}, under any AE title.'
    elif not settings.peers and not settings.senders:
        yield "nobody but this machine itself may send: name peers, or senders, or write node.accept."
    if tls.port is not None and tls.also_plain:
        yield "tls.also_plain: what comes over node.port is neither encrypted nor authenticated."
    if tls.port is not None and tls.clients == "anyone":
        yield 'tls.clients = "anyone": callers prove nothing by TLS.'
    for name, peer in settings.peers.items():
        if peer.tls_name == ANY_NAME and peer.tls_trust is None:
            yield f'peers.{name}.tls_name = "any": every certificate of tls.trust passes for this peer.'


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
