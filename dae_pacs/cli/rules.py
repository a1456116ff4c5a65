"""`dae-pacs rules try`: say which rule a file meets, and why."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from dae_pacs.cli.failures import FAILED, OK, say_error
from dae_pacs.cli.objects import files_of
from dae_pacs.config.load import load
from dae_pacs.config.model import Settings
from dae_pacs.errors import InputError
from dae_pacs.image.header import read_header, summarise
from dae_pacs.node.routing import decide


def run(files: Sequence[Path], *, calling_ae: str, called_ae: str | None, config: Path | None) -> int:
    """Print, for each file, every rule that was tried and what comes of it.

    Raises:
        ConfigError: settings are wrong.
    """
    settings = load(config)
    called_ae = settings.node.ae_title if called_ae is None else called_ae
    console = Console(soft_wrap=True, highlight=False)
    if not settings.rules:
        console.print("The configuration has no rules: everything is kept. See: dae-pacs config sample")
    found = files_of(files)
    for problem in found.problems:
        say_error(problem)
    failed = bool(found.problems)
    for file in found.files:
        try:
            lines = _explain(file, settings, calling_ae=calling_ae, called_ae=called_ae)
        except InputError as error:
            say_error(f"{file}: {error}")
            failed = True
            continue
        console.print(f"{file}", style="bold", markup=False)
        for line in lines:
            console.print(f"  {line}", markup=False)
    return FAILED if failed else OK


def _explain(file: Path, settings: Settings, *, calling_ae: str, called_ae: str) -> tuple[str, ...]:
    with file.open("rb") as opened:
        ds = read_header(opened)
    decision = decide(
        ds,
        summarise(ds),
        calling_ae=calling_ae,
        called_ae=called_ae,
        rules=settings.rules,
        model=settings.model,
    )
    return decision.explanation
