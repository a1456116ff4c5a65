"""What the command line hands to its commands."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class Device(StrEnum):
    """Where a network may run."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


class Loss(StrEnum):
    """What training makes small: the squared error, 1 - SSIM, or both together."""

    MSE = "mse"
    SSIM = "ssim"
    BOTH = "both"


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
