"""All steps of denoising on a GPU, launched without waiting for any of them.

On a GPU the network takes a hundredth of the time that the steps around it take in numpy. So the image goes
there as it is, everything is done there, and the host looks at the outcome one batch later.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dae_pacs.denoise.choice import Way
from dae_pacs.denoise.passes import Place, extremes, predict, refuse_broken
from dae_pacs.errors import PixelError
from dae_pacs.noise import vst
from dae_pacs.noise.model import NoiseModel


@dataclass(frozen=True)
class Settings:
    """What holds for all images of one call."""

    noise: NoiseModel
    strength: float
    clamp_sigma: float


@dataclass(frozen=True)
class Launched:
    """A batch on its way through the GPU."""

    way: Way
    result: Tensor
    """(frames, rows, columns) float32 in pinned memory, once `done` has come."""
    extremes: Tensor
    is_finite: Tensor
    done: torch.cuda.Event | None

    def wait(self) -> NDArray[np.float32]:
        """Wait for it, and refuse what is no image.

        Raises:
            ModelError: the network gave what no denoised image is.
            PixelError: the result is not finite.
        """
        if self.done is not None:
            self.done.synchronize()
        refuse_broken(self.way, self.extremes)
        if not self.is_finite.item():
            raise PixelError(
                "Denoising made values that are not finite; nothing was written. "
                "The image's values may be far outside what a detector gives: check its rescale slope."
            )
        return self.result.numpy()


@torch.inference_mode()
def launch(
    frames: NDArray[np.float32], keep: NDArray[np.bool_], *, settings: Settings, place: Place
) -> Launched:
    """Start to denoise frames, (frames, rows, columns) float32, on a device.

    Host memory is pinned, so that copies run beside the work on the batch before.
    """
    device = place.device
    x, kept = (_bring(part, device) for part in (frames, keep))
    bad = ~torch.isfinite(x)
    seen = torch.where(bad, torch.where(bad, 0, x).sum() / (~bad).sum().clamp_(min=1), x)
    transform = _transform_of(settings.noise, device)
    z = transform.stabilise(seen)
    made = predict(place, z)
    found = extremes(z, made)
    step = made.sub_(z).clamp_(-settings.clamp_sigma, settings.clamp_sigma)
    new = transform.change(seen, z, step.mul_(settings.strength).add_(z), strength=settings.strength)
    is_finite = (torch.isfinite(new) | kept).all()
    new = torch.where(kept, x, new)[:, 0]
    is_cuda = device.type == "cuda"
    result = torch.empty(new.shape, dtype=new.dtype, pin_memory=is_cuda)
    result.copy_(new, non_blocking=True)
    done = torch.cuda.Event() if is_cuda else None  # type: ignore[no-untyped-call]
    if done is not None:
        done.record()
    return Launched(place.way, result, found, is_finite, done)


def _bring(part: NDArray[np.generic], device: torch.device) -> Tensor:
    """Copy (frames, rows, columns) to (frames, 1, rows, columns) on a device, by way of pinned memory."""
    here = torch.from_numpy(np.ascontiguousarray(part)[:, None])
    return here.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else here


@lru_cache(maxsize=16)
def _transform_of(noise: NoiseModel, device: torch.device) -> "DeviceNoise":
    return DeviceNoise.of(noise, device)


@dataclass(frozen=True)
class DeviceNoise:
    """A noise model's transform as tensors on one device; the fields are those of `vst.Pieces`."""

    x: Tensor
    z: Tensor
    root: Tensor
    slope: Tensor
    table: Tensor
    """(2, steps): E[z | x], and by how much the algebraic inverse misses x there."""

    @classmethod
    def of(cls, noise: NoiseModel, device: torch.device) -> "DeviceNoise":
        """Bring a noise model to a device."""
        of = vst.pieces(noise.levels, noise.variances)
        table = vst.bias_table(noise.levels, noise.variances)
        return cls(*(torch.as_tensor(part, device=device) for part in (of.x, of.z, of.root, of.slope, table)))

    def stabilise(self, x: Tensor) -> Tensor:
        """Do what `vst.forward` does; any shape, float32."""
        values = x.double()
        piece = torch.searchsorted(self.x, values)
        start = (piece - 1).clamp_(min=0)
        step = values - self.x[start]
        root = self.root[piece]
        reached = (root**2 + self.slope[piece] * step).clamp_(min=0).sqrt_()
        stabilised: Tensor = self.z[start] + 2 * step / (root + reached)
        return stabilised.float()

    def change(self, x: Tensor, z: Tensor, z_new: Tensor, *, strength: float) -> Tensor:
        """Do what `vst.change` does: bit for bit x where z did not change; any shape, float32."""
        new = z_new.double()
        moved = ((new - z).abs_() / (0.1 * strength)).clamp_(max=1)
        share = 1 - (1 - strength) ** 2
        restored = self._backward(new) + share * moved * self._bias(new)
        return torch.where(z_new == z, x, restored.float())

    def _backward(self, z: Tensor) -> Tensor:
        piece = torch.searchsorted(self.z, z)
        start = (piece - 1).clamp_(min=0)
        step = z - self.z[start]
        restored: Tensor = self.x[start] + step * (self.root[piece] + self.slope[piece] * step / 4)
        return restored

    def _bias(self, z: Tensor) -> Tensor:
        """Interpolate in the table, constant beyond its ends, as numpy.interp does."""
        known, miss = self.table
        right = torch.searchsorted(known, z, right=True).clamp_(1, len(known) - 1)
        left = right - 1
        gap = known[right] - known[left]
        part = torch.where(gap > 0, (z - known[left]) / gap, torch.zeros_like(gap)).clamp_(0, 1)
        missed: Tensor = miss[left] + part * (miss[right] - miss[left])
        return missed
