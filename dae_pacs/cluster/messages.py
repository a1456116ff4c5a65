"""What a node and a worker of the cluster say to each other: pixels and numbers, no name, UID or header."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Batch:
    """Frames of one acquisition group; what `denoise.protocol.Denoiser.denoise` takes."""

    digest: str
    """Of the model that is to do it."""
    frames: NDArray[np.float32] = field(repr=False)
    keep: NDArray[np.bool_] = field(repr=False)
    noise: str = field(repr=False)
    """The noise model as JSON."""
    strength: float


@dataclass(frozen=True)
class Clean:
    """A batch, denoised: (frames, rows, columns) float32."""

    frames: NDArray[np.float32] = field(repr=False)


@dataclass(frozen=True)
class Taken:
    """The worker has the model."""

    batch_pixels: int


@dataclass(frozen=True)
class Missing:
    """The worker has no model of that digest: it was started again meanwhile, say."""


@dataclass(frozen=True)
class Refused:
    """The worker can't do it, and says why in words that hold nothing of the image."""

    kind: str
    """Name of a class in `errors`."""
    words: str


Answer = Clean | Taken | Missing | Refused
