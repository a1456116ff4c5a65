"""What the command line hands to `dae-pacs denoise`."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class Device(StrEnum):
    """Where a network may run."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


@dataclass(frozen=True)
class DenoiseOptions:
    """How to denoise files; None leaves the choice to the configuration."""

    output: Path
    model: str | None = None
    strength: float | None = None
    """From 0 to 1."""
    device: str | None = None
    """auto, cpu or cuda."""
    side_by_side: bool = False
    config: Path | None = None
