"""The options of `dae-pacs fetch`; what it needs is imported when it runs."""

# Imports inside the command are what keeps the help fast.
# ruff: noqa: PLC0415

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from dae_pacs.cli.parameters import Config


class By(StrEnum):
    """How objects come."""

    MOVE = "move"
    GET = "get"
    WADO = "wado"


@dataclass(frozen=True)
class FetchOptions:
    """What is fetched, where to, and how politely."""

    patient: str
    name: str
    accession: str
    study: str
    date: str | None
    modality: tuple[str, ...]
    body_part: tuple[str, ...]
    description: tuple[str, ...]
    by: str | None
    to: Path | None
    limit: int
    per_minute: int | None
    hours: str | None
    exact: bool
    dry_run: bool
    is_sure: bool
    destination: str | None
    character_set: str
    config: Path | None


def fetch(  # noqa: PLR0913  # a command's options are its parameters
    peer: Annotated[
        str,
        typer.Argument(
            metavar="PEER",
            help="A peer's or a DICOMweb service's name in the configuration, or AE@host:port.",
            show_default=False,
        ),
    ],
    *,
    patient: Annotated[str, typer.Option(metavar="ID", help="Patient ID.")] = "",
    name: Annotated[str, typer.Option(metavar="NAME", help="Patient's name, as in 'Miller*'.")] = "",
    accession: Annotated[str, typer.Option(metavar="NUMBER", help="Accession Number.")] = "",
    study: Annotated[str, typer.Option(metavar="UID", help="Study Instance UID.")] = "",
    date: Annotated[
        str | None,
        typer.Option(metavar="DAYS", help="today, yesterday, 'last 3 days', 2026-01-05, or FIRST..LAST."),
    ] = None,
    modality: Annotated[
        list[str] | None, typer.Option(metavar="CT", help="Of the series; may be repeated.")
    ] = None,
    body_part: Annotated[
        list[str] | None, typer.Option(metavar="CHEST", help="Of the series; may be repeated.")
    ] = None,
    description: Annotated[
        list[str] | None,
        typer.Option(metavar="TEXT", help="Of the study or the series, with * and ?; may be repeated."),
    ] = None,
    by: Annotated[
        By | None,
        typer.Option(
            metavar="move|get|wado",
            help="C-MOVE to the node, C-GET, or WADO-RS; else what fits the peer and --to.",
        ),
    ] = None,
    to: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Into this folder, without a node.", show_default=False)
    ] = None,
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="At most so many series.")] = 100,
    per_minute: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="At most so many images a minute, on average.")
    ] = None,
    hours: Annotated[
        str | None, typer.Option(metavar="20-06", help="Fetch only in these hours, and wait for them.")
    ] = None,
    exact: Annotated[
        bool,
        typer.Option("--exact", help="Compare what is here object by object, and fetch what is missing."),
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List what would be fetched, and end.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Fetch without asking.")] = False,
    destination: Annotated[
        str | None,
        typer.Option(metavar="AE", help="Where a C-MOVE goes, as the peer knows it; else this node."),
    ] = None,
    character_set: Annotated[
        str, typer.Option(metavar="TERM", help="Specific Character Set of the query.")
    ] = "ISO_IR 192",
    config: Config = None,
) -> None:
    """Fetch studies from a peer: list what it has, ask, and have it sent here."""
    from dae_pacs.cli.fetch import run

    options = FetchOptions(
        patient=patient,
        name=name,
        accession=accession,
        study=study,
        date=date,
        modality=tuple(modality or ()),
        body_part=tuple(body_part or ()),
        description=tuple(description or ()),
        by=by.value if by else None,
        to=to,
        limit=limit,
        per_minute=per_minute,
        hours=hours,
        exact=exact,
        dry_run=dry_run,
        is_sure=yes,
        destination=destination,
        character_set=character_set,
        config=config,
    )
    raise typer.Exit(run(peer, options))
