"""Options and arguments that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

Config = Annotated[
    Path | None,
    typer.Option("--config", "-c", metavar="FILE", help="The configuration; ./dae-pacs.toml if it is there."),
]
Study = Annotated[
    str | None, typer.Option("--study", metavar="UID", help="Only the study of this StudyInstanceUID.")
]
Model = Annotated[
    str | None, typer.Option("--model", metavar="NAME", help="A bundle's name, or the path of its folder.")
]
PeerName = Annotated[
    str,
    typer.Argument(
        metavar="PEER", help="A peer's name in the configuration, or AE@host:port.", show_default=False
    ),
]
Objects = Annotated[
    list[Path], typer.Argument(metavar="FILE", help="DICOM files, or folders of them.", show_default=False)
]
