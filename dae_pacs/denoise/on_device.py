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
    """A batch on its way through the device."""

    way: Way
    extremes: Tensor
    broken: Tensor
    """(2,): how many pixels were not finite on the way in, and on the way out, and not to be kept."""
    done: torch.cuda.Event | None

    def wait(self) -> None:
        """Wait for it, and refuse what is no image.

        Raises:
            ModelError: the network gave what no denoised image is.
            PixelError: the frames held, or the result holds, what is not finite.
        """
        if self.done is not None:
            self.done.synchronize()
        came, left = (int(count) for count in self.broken.cpu())
        if came:
            raise not_finite(came)
        refuse_broken(self.way, self.extremes)
        if left:
            raise PixelError(
                "Denoising made values that are not finite; nothing was written. "
                "The image's values may be far outside what a detector gives: check its rescale slope."
            )


def host_memory(shape: tuple[int, ...], device: torch.device) -> Tensor:
    """Make room for results, float32: pinned for a GPU, which writes there by itself."""
    return torch.empty(shape, dtype=torch.float32, pin_memory=device.type == "cuda")


@torch.inference_mode()
def launch(
    frames: NDArray[np.float32],
    keep: NDArray[np.bool_],
    *,
    settings: Settings,
    place: Place,
    result: Tensor,
) -> Launched:
    """Start to denoise frames, (frames, rows, columns) float32, on a device.

    Copies go through pinned memory, so that they run beside the work on the batch before. `result` is of the
    same shape, from `host_memory`; it holds the outcome when `wait` comes back.
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
    broken = torch.stack([(part & ~kept).sum() for part in (bad, ~torch.isfinite(new))])
    result.copy_(torch.where(kept, x, new)[:, 0], non_blocking=True)
    done = torch.cuda.Event() if device.type == "cuda" else None  # type: ignore[no-untyped-call]
    if done is not None:
        done.record()
    return Launched(place.way, found, broken, done)


def not_finite(count: int) -> PixelError:
    """Say that so many pixels of an image are no numbers."""
    return PixelError(
        f"{count} pixels are NaN or infinite and not marked as padding; "
        "expected finite values. Such an image is passed on as it is."
    )


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
