"""A bundle at work on one device: stabilise, predict, bound, blend, invert.

out = invert(z + s · clamp(f(z) − z)), z the stabilised image, s the strength (DESIGN.md, "Denoising").
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from dae_pacs.denoise.bundle import Bundle, load_bundle
from dae_pacs.denoise.protocol import ModelIdentity
from dae_pacs.denoise.tiles import Tile, cut
from dae_pacs.errors import NoiseError, PixelError, ServiceError
from dae_pacs.noise.estimate import estimate, fallback
from dae_pacs.noise.model import NoiseModel

MOST_PIXELS = {"cpu": 1 << 20, "cuda": 1 << 23}
"""Per forward pass. On a CPU the shipped network then adds 0.46 GB at its peak (measured on 2000×2500)."""
LEAST_PIXELS = 1 << 13
"""A pass this small that still finds no memory can't be halved to any use."""
OUT_OF_MEMORY_WORDS = (
    "can't allocate memory",
    "not enough memory",
    "out of memory",
    "could not create a primitive",  # oneDNN's words, when it finds no room for its own
)

logger = logging.getLogger(__name__)


@dataclass
class _Budget:
    """How many pixels one pass may have; halved for good when memory runs out."""

    pixels: int


class TorchDenoiser:
    """Owns a network on a device; safe to call from one thread at a time. Implements `protocol.Denoiser`."""

    def __init__(self, bundle: Bundle, *, device: torch.device, most_pixels: int | None = None) -> None:
        self._bundle = bundle
        self._device = device
        self._network = bundle.network().to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._budget = _Budget(most_pixels or MOST_PIXELS[device.type])

    @property
    def identity(self) -> ModelIdentity:
        """Name, version, digest and default strength."""
        return self._bundle.identity

    @property
    def device(self) -> str:
        """Where it runs: "cpu", "cuda:0"."""
        return str(self._device)

    def calibrate(
        self, frames: Sequence[NDArray[np.float32]], keep: Sequence[NDArray[np.bool_]]
    ) -> NoiseModel:
        """Measure the noise of one acquisition group; where it can't be told, bound the harm instead.

        Args:
            frames: each (rows, columns) float32, in the modality's unit.
            keep: for each frame (rows, columns) bool, True where a pixel does not count.
        """
        try:
            noise = estimate(frames, keep)
        except NoiseError as reason:
            logger.warning("noise not estimated, fallback taken", extra={"reason": str(reason)})
            noise = fallback(frames, keep)
        logger.debug("noise calibrated", extra={"origin": noise.origin, "patches": noise.patches})
        return noise

    def denoise(
        self,
        frames: NDArray[np.float32],
        keep: NDArray[np.bool_],
        *,
        noise: NoiseModel,
        strength: float,
    ) -> NDArray[np.float32]:
        """Denoise frames of one acquisition group; what `protocol.Denoiser.denoise` says.

        Raises:
            PixelError: the frames hold NaN or infinity outside `keep`, or the result would.
            ServiceError: the device has too little memory for the smallest pass.
        """
        _check(frames, keep, strength)
        if strength == 0 or frames.size == 0:
            return frames.copy()
        out = np.empty_like(frames)
        rows, columns = frames.shape[1:]
        batch = max(self._budget.pixels // (rows * columns), 1)
        for first in range(0, len(frames), batch):
            part = slice(first, first + batch)
            new = self._denoise_batch(_filled(frames[part], keep[part]), noise, strength)
            out[part] = np.where(keep[part], frames[part], new)
            if not (np.isfinite(new) | keep[part]).all():
                raise PixelError(
                    f"Model {self.identity.name} made values that are not finite; nothing was written. "
                    "The image's values may be far outside what a detector gives: check its rescale slope."
                )
        return out

    def _denoise_batch(
        self, x: NDArray[np.float32], noise: NoiseModel, strength: float
    ) -> NDArray[np.float32]:
        """Denoise (frames, rows, columns) of finite values; what overflows on the way is found at its end."""
        with np.errstate(over="ignore", invalid="ignore"):
            z = noise.stabilise(x)
            step = np.clip(self._predict(z) - z, -self._bundle.clamp_sigma, self._bundle.clamp_sigma)
            return noise.carry_over(x, z, z + np.float32(strength) * step, strength=strength)

    def _predict(self, z: NDArray[np.float32]) -> NDArray[np.float32]:
        """Run the network on (frames, rows, columns), smaller at a time whenever memory runs out."""
        while True:
            try:
                return self._pass(z)
            except (MemoryError, RuntimeError) as problem:
                if not _is_out_of_memory(problem):
                    raise
                if self._budget.pixels <= LEAST_PIXELS:
                    raise ServiceError(
                        f"Device {self._device} has too little memory left for {self._budget.pixels} pixels "
                        "at a time. Stop other programs on it, or choose another device."
                    ) from problem
            self._budget.pixels //= 2
            if self._device.type == "cuda":
                torch.cuda.empty_cache()
            logger.warning("out of memory, pass halved", extra={"pixels": self._budget.pixels})

    def _pass(self, z: NDArray[np.float32]) -> NDArray[np.float32]:
        rows, columns = z.shape[1:]
        out = np.empty_like(z)
        tiles = cut(
            (rows, columns),
            most_pixels=self._budget.pixels,
            overlap_px=_integer(self._network, "overlap_px"),
            grid_px=_integer(self._network, "grid_px"),
        )
        batch = max(self._budget.pixels // (rows * columns), 1)
        for first in range(0, len(z), batch):
            for tile in tiles:
                self._run_tile(z[first : first + batch], out[first : first + batch], tile)
        return out

    @torch.inference_mode()
    def _run_tile(self, z: NDArray[np.float32], out: NDArray[np.float32], tile: Tile) -> None:
        seen = np.ascontiguousarray(z[:, None, tile.rows.seen, tile.columns.seen])
        estimate_of_z = self._network(torch.from_numpy(seen).to(self._device))
        kept = estimate_of_z[:, 0, tile.rows.kept_in_seen, tile.columns.kept_in_seen]
        out[:, tile.rows.kept, tile.columns.kept] = kept.cpu().numpy()


def open_denoiser(bundle_folder: Path, *, device: str = "auto", threads: int | None = None) -> TorchDenoiser:
    """Load a bundle, check it, and put its network on a device.

    Args:
        bundle_folder: laid out as `denoise.bundle` says.
        device: "auto" (a GPU if there is one), "cpu", "cuda" or "cuda:N".
        threads: of torch in this whole process; None leaves them as they are.

    Raises:
        BundleError: the bundle is not whole or not safe.
        ServiceError: there is no such device.
    """
    chosen = _choose_device(device)
    if threads is not None:
        torch.set_num_threads(max(threads, 1))
    return TorchDenoiser(load_bundle(bundle_folder), device=chosen)


def _choose_device(name: str) -> torch.device:
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "cpu" or (name == "auto" and not count):
        return torch.device("cpu")
    kind, _, number = name.partition(":")
    if name != "auto" and (kind != "cuda" or (number and not number.isdecimal()) or name.endswith(":")):
        raise ServiceError(f"Device {name!r} is not known; expected auto, cpu, cuda or cuda:N.")
    index = int(number or 0)
    if index >= count:
        raise ServiceError(f"Device {name}: torch finds {count} GPUs here; use --device cpu.")
    return torch.device("cuda", index)


def _check(frames: NDArray[np.float32], keep: NDArray[np.bool_], strength: float) -> None:
    if frames.ndim != 3 or frames.shape != keep.shape or frames.dtype != np.float32:
        raise PixelError(
            f"Frames to denoise are {frames.dtype} {frames.shape} and keep is {keep.shape}; "
            "expected float32 (frames, rows, columns) and the same shape."
        )
    if not 0 <= strength <= 1:
        raise PixelError(f"Strength {strength} is out of range; expected 0 (nothing) to 1 (all the noise).")
    for frame, kept in zip(frames, keep, strict=True):
        bad = ~np.isfinite(frame)
        if bad.any() and (bad & ~kept).any():
            raise PixelError(
                f"{int((bad & ~kept).sum())} pixels are NaN or infinite and not marked as padding; "
                "expected finite values. Such an image is passed on as it is."
            )


def _filled(frames: NDArray[np.float32], keep: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Give padding that is not finite a value that the network's neighbours can live with."""
    bad = ~np.isfinite(frames)
    if not bad.any():
        return frames
    usable = frames[~bad]
    return np.where(bad, np.float32(np.median(usable)) if usable.size else np.float32(0), frames)


def _is_out_of_memory(problem: BaseException) -> bool:
    said = str(problem).lower()
    return isinstance(problem, MemoryError) or any(words in said for words in OUT_OF_MEMORY_WORDS)


def _integer(network: nn.Module, name: str) -> int:
    return int(getattr(network, name))
