"""What a training run tells of itself to its bundle's metadata and card."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dae_pacs.learn.data import Data


@dataclass(frozen=True)
class Facts:
    """What a bundle says about where it comes from."""

    name: str
    version: str
    description: str
    data: Data
    scores: str | Path
    """The JSON-lines file of the validations; beside it stands the run's configuration."""
    settings: Mapping[str, Any]
    """The knobs of the recipe that the card shows."""
    command: str | None = None
    """That the card shows; None for that of this process."""
    author: str = "The dae-pacs authors"
    pictures: str | Path | None = None
    """A folder of pictures, the last of which go into the card; they may show patients."""
    hidden: Sequence[str] = ()
    """Entries of the configuration whose values stay out of configs/train.yaml: paths may name patients."""
