"""`dae-pacs models`: bundles from outside, in and out of the site's folder."""

# torch is imported when a bundle is read, not for `--help`.
# ruff: noqa: PLC0415

from pathlib import Path
from typing import Annotated

import typer

from dae_pacs.cli.parameters import Config
from dae_pacs.errors import BundleError, ConfigError

models_app = typer.Typer(
    help="Bring models in, look at them, take them out: bundles, which are data and never run.",
    no_args_is_help=True,
)
Name = Annotated[str, typer.Argument(metavar="NAME", help="A bundle's name.", show_default=False)]


@models_app.command("add")
def add(
    source: Annotated[
        Path, typer.Argument(metavar="FILE", help="A zip archive, or a bundle's folder.", show_default=False)
    ],
    *,
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="What to call it here; its own name.")
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace a model of that name.")] = False,
    config: Config = None,
) -> None:
    """Check a bundle from outside, and put it where the node and all commands find it."""
    from dae_pacs.audit.codes import SOFTWARE_CONFIGURATION
    from dae_pacs.cli.auditing import tell
    from dae_pacs.config.load import load
    from dae_pacs.denoise import shelf
    from dae_pacs.denoise.package import open_package
    from dae_pacs.resources import is_bundle_name, models_folder, site_folder

    settings = load(config)
    with open_package(source) as package:
        chosen = name or package.name
        if settings.model.folder is None and is_bundle_name(chosen) and (models_folder() / chosen).is_dir():
            raise BundleError(
                f"{chosen} is a model that came with dae-pacs, and is found before this site's own. Give "
                "another --name, or set model.folder, whose models come first."
            )
        bundle = shelf.put(package, site_folder(settings.model.folder), name=name, replace=replace)
    identity = bundle.identity
    tell(settings, SOFTWARE_CONFIGURATION, f"dae-pacs models add {identity.name}: SHA-256 {identity.digest}")
    _say(f"{identity.name} {identity.version} is in {bundle.folder} (SHA-256 {identity.digest[:12]}...).")
    _say("A rule takes it by this name (model = ...). A node that runs keeps the models it has: restart it.")


@models_app.command("list")
def list_models(*, config: Config = None) -> None:
    """List the models there are, those of the site and the shipped ones, and whether they are whole."""
    from rich.console import Console
    from rich.table import Table

    from dae_pacs.cli.status import PIPE_COLUMNS
    from dae_pacs.config.load import load
    from dae_pacs.denoise.bundle import load_bundle
    from dae_pacs.resources import bundle_places

    table = Table("Name", "Version", "Strength", "SHA-256", "From", "State", box=None)
    for place in bundle_places(load(config).model.folder):
        origin = "dae-pacs" if place.is_shipped else "this site"
        try:
            identity = load_bundle(place.folder).identity
        except BundleError as error:
            table.add_row(place.name, "", "", "", origin, f"broken: {_plain(str(error))}")
            continue
        strength, digest = f"{identity.default_strength:g}", identity.digest[:12]
        table.add_row(place.name, _plain(identity.version), strength, digest, origin, "whole")
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = max(console.width, PIPE_COLUMNS)
    console.print(table)


@models_app.command("show")
def show(name: Name, *, config: Config = None) -> None:
    """Say what a model is: its version, digest, network, files, and where it lies."""
    from dae_pacs.config.load import load
    from dae_pacs.denoise.bundle import load_bundle
    from dae_pacs.denoise.manifest import entries_of, read_file
    from dae_pacs.resources import find_bundle

    bundle = load_bundle(find_bundle(name, load(config).model.folder))
    facts: dict[str, object] = {
        "Name": bundle.identity.name,
        "Version": bundle.identity.version,
        "SHA-256": bundle.identity.digest,
        "Folder": bundle.folder,
        "About": bundle.metadata.get("description", ""),
        "Intended use": bundle.metadata.get("intended_use", ""),
        "Default strength": bundle.identity.default_strength,
        "Largest change": f"{bundle.clamp_sigma:g} standard deviations of the noise",
        "Network": ", ".join(f"{key}={value}" for key, value in bundle.network_config.items()),
        "Weights": sum(tensor.numel() for tensor in bundle.weights.values()),
    }
    for label, value in facts.items():
        _say(f"{label + ':':<18}{_plain(str(value))}")
    listed = entries_of(lambda file, most_bytes: read_file(bundle.folder, file, most_bytes))
    for file, (size_bytes, digest) in sorted(listed.items()):
        _say(f"{'':<18}{file}  {size_bytes} bytes, SHA-256 {_plain(digest[:12])}...")


@models_app.command("remove")
def remove(name: Name, *, config: Config = None) -> None:
    """Delete a model of this site; those that came with dae-pacs stay."""
    from dae_pacs.audit.codes import SOFTWARE_CONFIGURATION
    from dae_pacs.cli.auditing import tell
    from dae_pacs.config.load import load
    from dae_pacs.denoise import shelf
    from dae_pacs.resources import site_folder

    settings = load(config)
    users = ["model.name"] if settings.model.name == name else []
    users += [f'the rule "{rule.name}"' for rule in settings.rules if rule.model == name]
    if users:
        raise ConfigError(
            f"Model {name}: {', '.join(users)} uses it, and a node would not start without it. "
            "Change the configuration first."
        )
    shelf.take(site_folder(settings.model.folder), name)
    tell(settings, SOFTWARE_CONFIGURATION, f"dae-pacs models remove {name}")
    _say(f"{name} is gone.")


def _say(text: str) -> None:
    from rich.console import Console

    Console(soft_wrap=True, highlight=False).print(text, markup=False)


def _plain(text: str) -> str:
    """Show what came from outside without control characters or markup."""
    return "".join(mark if mark.isprintable() else "?" for mark in text).replace("[", "\\[")
