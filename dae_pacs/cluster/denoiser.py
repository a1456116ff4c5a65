"""A model at work on the cluster: measures the noise here, and has the frames denoised there."""

from collections.abc import Sequence
from concurrent.futures import TimeoutError as NoAnswer
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from dae_pacs.cluster.messages import Batch
from dae_pacs.cluster.parcel import parcel_of
from dae_pacs.denoise.calibration import calibrate
from dae_pacs.denoise.protocol import ModelIdentity
from dae_pacs.errors import ClusterError, ModelError
from dae_pacs.noise.model import NoiseModel

if TYPE_CHECKING:  # whoever imports it imports Ray, which must be begun with as `extra.start` does
    from dae_pacs.cluster.foreman import Foreman

BATCH_PIXELS: Final = 1 << 19
"""Before a worker has said how many it takes: what one on a CPU says."""
BYTES_PER_PIXEL: Final = 14
"""Of a batch under way: stored and decoded pixels, which of them stay, and the answer."""
NO_ANSWER_S: Final = 1800.0
"""Well above what the foreman waits for any worker: it is he who hangs, while he joins the cluster."""


class ClusterDenoiser:
    """A bundle whose network runs on the cluster; for any thread. Implements `denoise.protocol.Denoiser`."""

    def __init__(self, bundle_folder: Path, foreman: "Foreman", *, in_flight_mb: int = 256) -> None:
        """Read the bundle.

        Raises:
            BundleError: it is not what its manifest says.
        """
        self._parcel = parcel_of(bundle_folder)
        self._foreman = foreman
        self._in_flight_bytes = in_flight_mb * 1_000_000

    @property
    def identity(self) -> ModelIdentity:
        """Name, version, digest and default strength."""
        return self._parcel.identity

    @property
    def batch_pixels(self) -> int:
        """How many pixels are worth giving at once."""
        return self._foreman.batch_pixels.get(self.identity.digest, BATCH_PIXELS)

    def side_by_side(self, pixels: int) -> int:
        """As many as keep every worker busy, within `compute.in_flight_mb`; at least two."""
        fits = self._in_flight_bytes // (BYTES_PER_PIXEL * max(pixels, 1))
        return max(2, min(fits, 2 * self._foreman.workers + 1))

    def calibrate(
        self, frames: Sequence[NDArray[np.float32]], keep: Sequence[NDArray[np.bool_]]
    ) -> NoiseModel:
        """Measure the noise of one acquisition group, in this process."""
        return calibrate(frames, keep)

    def denoise(
        self,
        frames: NDArray[np.float32],
        keep: NDArray[np.bool_],
        *,
        noise: NoiseModel,
        strength: float,
        beside: int = 1,  # each worker has cores of its own
    ) -> NDArray[np.float32]:
        """Denoise frames of one acquisition group; what `protocol.Denoiser.denoise` says.

        Raises:
            BundleError: a worker finds the bundle broken.
            ClusterError: the cluster is away; later it may not be.
            DaePacsError: what the engine raises at the worker.
            ServiceError: the batch lost too many workers.
        """
        if strength == 0 or frames.size == 0:
            return frames.copy()
        batch = Batch(self.identity.digest, frames, keep, noise.to_json(), strength)
        try:
            clean = self._foreman.give(self._parcel, batch).result(NO_ANSWER_S).frames
        except NoAnswer as error:
            raise ClusterError(
                f"The cluster gave no answer for {NO_ANSWER_S:.0f} s. Is its head well? See: ray status."
            ) from error
        if clean.shape != frames.shape or clean.dtype != np.float32:
            raise ModelError(
                f"A worker gave {clean.dtype} {clean.shape} for float32 {frames.shape}. Nothing was written."
            )
        return np.array(clean)  # a copy of our own: the cluster's memory is free for the next batch
