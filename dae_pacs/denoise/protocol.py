"""What the rest of the house knows of a denoiser. Importing this costs no torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from dae_pacs.noise.model import NoiseModel


@dataclass(frozen=True)
class ModelIdentity:
    """Which model made an image: written into every derived header and into every derived UID."""

    name: str
    version: str
    digest: str
    """SHA-256, in hexadecimal, over the bundle's manifest: it changes when any weight or setting does."""
    default_strength: float


@dataclass(frozen=True)
class DeviceState:
    """Where a model runs, and the memory that it takes there, in bytes."""

    name: str
    """"cpu", or a GPU's own name."""
    used_bytes: int = 0
    """On a GPU: held by this process."""
    peak_bytes: int = 0
    """The most that it held since its start."""
    total_bytes: int = 0
    free_bytes: int = 0
    """Left by all programs together."""


class Denoiser(Protocol):
    """A model at work on one device."""

    @property
    def identity(self) -> ModelIdentity:
        """Name, version, digest and default strength."""
        ...

    @property
    def batch_pixels(self) -> int:
        """How many pixels are worth giving at once; more is cut into passes that fit."""
        ...

    def side_by_side(self, pixels: int) -> int:
        """Say how many batches of so many pixels may be given at a time, each by a thread; at least 1.

        It may change from one batch to the next, as workers of a cluster come and go.
        """
        ...

    def calibrate(
        self, frames: Sequence[NDArray[np.float32]], keep: Sequence[NDArray[np.bool_]]
    ) -> NoiseModel:
        """Measure the noise of one acquisition group.

        Args:
            frames: each (rows, columns) float32, in the modality's unit; a sample of the group is enough.
            keep: for each frame (rows, columns) bool, True where a pixel is padding, clipped or collimated.
        """
        ...

    def denoise(
        self,
        frames: NDArray[np.float32],
        keep: NDArray[np.bool_],
        *,
        noise: NoiseModel,
        strength: float,
        beside: int = 1,
    ) -> NDArray[np.float32]:
        """Denoise frames of one acquisition group.

        Args:
            frames: (frames, rows, columns) float32, in the modality's unit.
            keep: the same shape, True where the pixel must come back as it is.
            noise: what `calibrate` measured for the group.
            strength: 0 gives the input back, bit for bit; 1 is the network's own estimate.
            beside: how many such calls share the device at this time, this one among them; what they give
                may depend on it in the last bits, never on when they run.

        Returns:
            (frames, rows, columns) float32 in the same unit; finite everywhere the input was.
        """
        ...
