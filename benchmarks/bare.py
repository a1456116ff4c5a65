"""The network alone and the engine around it, as the node runs them: in its batches, as many at a time."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from dae_pacs.denoise.cores import Cores
from dae_pacs.denoise.engine import TorchDenoiser
from dae_pacs.node.overlap import side_by_side
from dae_pacs.noise.model import NoiseModel


class Batches:
    """Frames in memory, cut up as the node's pipeline would.

    Args:
        denoiser: says how many pixels a batch has, and how many batches run beside each other.
        frames: (frames, rows, columns) float32.
        noise: of theirs.
    """

    def __init__(self, denoiser: TorchDenoiser, frames: NDArray[np.float32], noise: NoiseModel) -> None:
        self.size = max(1, denoiser.batch_pixels // frames[0].size)
        self.beside = denoiser.side_by_side(self.size * frames[0].size)
        self.lanes = denoiser.lanes(self.size * frames[0].size)
        self._cores = Cores(torch.get_num_threads())
        self._denoiser, self._frames, self._noise = denoiser, frames, noise
        self._keep = np.zeros(frames.shape, dtype=np.bool_)
        z = torch.from_numpy(noise.stabilise(frames)[:, None])
        self._z = z.to(denoiser.device)

    def network(self) -> None:
        """Run the network alone over all batches; they are stabilised and on the device already."""

        def run(part: slice) -> None:
            with self._cores.share(self.lanes), torch.inference_mode():
                self._denoiser.way.network(self._z[part])

        self._each(run)

    def engine(self, *, strength: float) -> None:
        """Do all that the engine does, arrays in and out; in one call where one batch runs at a time."""

        def run(part: slice) -> None:
            self._denoiser.denoise(
                self._frames[part], self._keep[part], noise=self._noise, strength=strength, beside=self.beside
            )

        if self.beside == 1:
            run(slice(None))
        else:
            self._each(run)

    def _each(self, run: Callable[[slice], None]) -> None:
        parts = (slice(first, first + self.size) for first in range(0, len(self._frames), self.size))
        for _ in side_by_side(parts, run, width=lambda _: self.beside, waiting=lambda: None):
            pass
