"""A bundle at work on one device: stabilise, predict, bound, blend, invert.

out = invert(z + s · clamp(f(z) − z)), z the stabilised image, s the strength (DESIGN.md, "Denoising").
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dae_pacs.denoise.bundle import Bundle, load_bundle
from dae_pacs.denoise.calibration import calibrate
from dae_pacs.denoise.choice import LAST_RESORT, Way, choose, last_resort
from dae_pacs.denoise.cores import Cores
from dae_pacs.denoise.device import choose_device
from dae_pacs.denoise.on_device import Launched, Settings, host_memory, launch, not_finite
from dae_pacs.denoise.passes import (
    Budget,
    Place,
    extremes,
    give_back_memory,
    is_out_of_memory,
    predict,
    refuse_broken,
)
from dae_pacs.denoise.protocol import ModelIdentity
from dae_pacs.errors import PixelError, ServiceError
from dae_pacs.noise.model import NoiseModel

MOST_PIXELS = {"cpu": 1 << 20, "cuda": 1 << 24}
"""Per forward pass. On a CPU the shipped network then adds 0.46 GB at its peak (measured on 2000×2500)."""
TOGETHER_PIXELS = {"cpu": 1 << 19, "cuda": 1 << 24}
"""Of several images, in one pass or in passes beside each other. On a CPU twice as many take 0.44 GB beside
the model: more than a series should."""
LEAST_PIXELS = 1 << 13
"""A pass this small that still finds no memory can't be halved to any use."""
REST_S = 60.0
"""How long a GPU without memory is left alone, while the CPU takes its place: another program may end."""

logger = logging.getLogger(__name__)

Choose = Callable[[nn.Module, torch.device], Way]


class TorchDenoiser:
    """Owns a network on a device; implements `protocol.Denoiser`.

    On a CPU a pass is best alone on a core: passes on all cores wait for the slowest at each layer, above all
    where other programs want the cores, too (512×512 in twos: 250 to 300 ms of the processor's time a slice
    on two cores each, 230 to 250 ms on one).
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        device: torch.device,
        most_pixels: int | None = None,
        choose_way: Choose = choose,
    ) -> None:
        self._bundle = bundle
        self._device = device
        self._choose_way = choose_way
        self._most_pixels = most_pixels or MOST_PIXELS[device.type]
        self._budget = Budget(self._most_pixels, TOGETHER_PIXELS[device.type])
        self._cores = Cores(torch.get_num_threads() if device.type == "cpu" else 1)
        self._place = Place(device, choose_way(bundle.network(), device), self._budget)
        self._resting_until = 0.0

    @property
    def identity(self) -> ModelIdentity:
        """Name, version, digest and default strength."""
        return self._bundle.identity

    @property
    def device(self) -> str:
        """Where it runs: "cpu", "cuda:0"."""
        return str(self._device)

    @property
    def way(self) -> Way:
        """How the network is run, and how far that is from its definition."""
        return self._place.way

    @property
    def batch_pixels(self) -> int:
        """How many pixels are worth giving at once."""
        return max(self._budget.batch_pixels // self._cores.count, 1)

    def side_by_side(self, pixels: int) -> int:
        """On a CPU two for each pass that runs, so that none waits for its next batch; on a GPU one."""
        lanes = self.lanes(pixels)
        return 2 * lanes if lanes > 1 else 1

    def lanes(self, pixels: int) -> int:
        """Say how many passes of so many pixels run at a time, on an even share of the cores each.

        As many as there are cores, as long as all of them have room in a pass's memory.
        """
        return max(1, min(self._cores.count, self._budget.batch_pixels // max(pixels, 1)))

    def calibrate(
        self, frames: Sequence[NDArray[np.float32]], keep: Sequence[NDArray[np.bool_]]
    ) -> NoiseModel:
        """Measure the noise of one acquisition group; where it can't be told, bound the harm instead.

        Args:
            frames: each (rows, columns) float32, in the modality's unit.
            keep: for each frame (rows, columns) bool, True where a pixel does not count.
        """
        return calibrate(frames, keep)

    def denoise(
        self,
        frames: NDArray[np.float32],
        keep: NDArray[np.bool_],
        *,
        noise: NoiseModel,
        strength: float,
        beside: int = 1,
    ) -> NDArray[np.float32]:
        """Denoise frames of one acquisition group; what `protocol.Denoiser.denoise` says.

        Raises:
            ModelError: the network gives what no denoised image is.
            PixelError: the frames hold NaN or infinity outside `keep`, or the result would.
            ServiceError: the device has too little memory for the smallest pass.
        """
        _check(frames, keep, strength)
        if strength == 0 or frames.size == 0:
            return frames.copy()
        settings = Settings(noise, strength, self._bundle.clamp_sigma)
        if self._device.type != "cpu":
            return self._denoise(frames, keep, settings)
        with self._cores.share(min(beside, self.lanes(frames.size))):
            return self._denoise(frames, keep, settings)

    def _denoise(
        self, frames: NDArray[np.float32], keep: NDArray[np.bool_], settings: Settings
    ) -> NDArray[np.float32]:
        room = host_memory(frames.shape, self._device)
        out: NDArray[np.float32] = room.numpy()
        first = 0
        while first < len(frames):
            if self._is_resting:
                rest = slice(first, None)
                out[rest] = self._spare.denoise(
                    frames[rest], keep[rest], noise=settings.noise, strength=settings.strength
                )
                break
            try:
                for done in self._batches(frames, keep, settings, room=room, first=first):
                    first = done
            except (MemoryError, RuntimeError) as problem:
                if not is_out_of_memory(problem):
                    raise
                tried = frames[first : first + self._budget.batch_of(frames.shape[1:])].size
                self._make_do_with_less(tried, problem)
        return out

    def _batches(
        self,
        frames: NDArray[np.float32],
        keep: NDArray[np.bool_],
        settings: Settings,
        *,
        room: Tensor,
        first: int,
    ) -> Iterator[int]:
        """Denoise from a frame on into `room`, batch by batch; yield how many frames are done.

        A GPU has the next batch before the last one is waited for.
        """
        size = self._budget.batch_of(frames.shape[1:])
        on_way: tuple[int, Launched] | None = None
        for start in range(first, len(frames), size):
            part = slice(start, min(start + size, len(frames)))
            if self._device.type == "cpu":
                room[part] = torch.from_numpy(self._on_cpu(frames[part], keep[part], settings))
                yield part.stop
                continue
            launched = launch(
                frames[part], keep[part], settings=settings, place=self._place, result=room[part]
            )
            if on_way is not None:
                on_way[1].wait()
                yield on_way[0]
            on_way = part.stop, launched
        if on_way is not None:
            on_way[1].wait()
            yield on_way[0]

    def _on_cpu(
        self, frames: NDArray[np.float32], keep: NDArray[np.bool_], settings: Settings
    ) -> NDArray[np.float32]:
        """Denoise (frames, rows, columns); what overflows on the way is found at its end."""
        x = _filled(frames, keep)
        with np.errstate(over="ignore", invalid="ignore"), torch.inference_mode():
            z, step = self._step(x, frames, keep, settings)
            step *= np.float32(settings.strength)
            new = settings.noise.carry_over(x, z, np.add(z, step, out=step), strength=settings.strength)
        if not (np.isfinite(new) | keep).all():
            raise PixelError(
                f"Model {self.identity.name} made values that are not finite; nothing was written. "
                "The image's values may be far outside what a detector gives: check its rescale slope."
            )
        np.copyto(new, frames, where=keep)
        return new

    def steps(
        self, frames: NDArray[np.float32], keep: NDArray[np.bool_], *, noise: NoiseModel
    ) -> NDArray[np.float32]:
        """Give what strength 1 adds to each stabilised value, clamp(f(z) − z): enough to show any strength.

        Args:
            frames: (frames, rows, columns) float32, in the modality's unit; few enough for the memory.
            keep: the same shape, True where the pixel must come back as it is.
            noise: of their group.

        Returns:
            (frames, rows, columns) float32, in standard deviations of the noise; 0 where `keep` is.

        Raises:
            ModelError, PixelError: as `denoise` does.
            ServiceError: the memory does not suffice.
        """
        _check(frames, keep, 1.0)
        settings = Settings(noise, 1.0, self._bundle.clamp_sigma)
        try:
            with np.errstate(over="ignore", invalid="ignore"), torch.inference_mode():
                _, step = self._step(_filled(frames, keep), frames, keep, settings)
        except (MemoryError, RuntimeError) as problem:
            if not is_out_of_memory(problem):
                raise
            raise ServiceError("Too little memory is left for this image; try again later.") from problem
        step[keep] = 0
        return step

    def _step(
        self,
        x: NDArray[np.float32],
        frames: NDArray[np.float32],
        keep: NDArray[np.bool_],
        settings: Settings,
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Stabilise x, which is `frames` without gaps, and give it with the network's clamped change."""
        _check_finite(frames, keep)
        clamp = settings.clamp_sigma
        z = settings.noise.stabilise(x)
        there = torch.from_numpy(z[:, None]).to(self._device)
        made = predict(self._place, there)
        refuse_broken(self.way, extremes(there, made))
        step: NDArray[np.float32] = made[:, 0].cpu().numpy()
        np.clip(np.subtract(step, z, out=step), -clamp, clamp, out=step)
        return z, step

    @property
    def clamp_sigma(self) -> float:
        """The most that is taken from a stabilised value, in standard deviations."""
        return self._bundle.clamp_sigma

    @property
    def _is_resting(self) -> bool:
        return time.monotonic() < self._resting_until

    @cached_property
    def _spare(self) -> "TorchDenoiser":
        return TorchDenoiser(self._bundle, device=torch.device("cpu"), choose_way=self._choose_way)

    def _make_do_with_less(self, tried_pixels: int, problem: BaseException) -> None:
        """Halve what a pass may have; where that is of no use, let the CPU take a GPU's place for a while.

        Raises:
            ServiceError: it is the CPU that has no memory.
        """
        give_back_memory(self._device)
        if self._budget.pixels > LEAST_PIXELS:
            self._budget.pixels = max(min(self._budget.pixels, tried_pixels) // 2, LEAST_PIXELS)
            logger.warning("out of memory, pass halved", extra={"pixels": self._budget.pixels})
        elif self._device.type == "cuda":
            self._resting_until = time.monotonic() + REST_S
            self._budget.pixels = self._most_pixels
            logger.warning("GPU out of memory, the CPU takes its place", extra={"seconds": REST_S})
        elif self.way.name != LAST_RESORT:
            self._place = replace(self._place, way=last_resort(self._bundle.network()))
            self._budget.pixels = max(min(self._most_pixels, tried_pixels) // 8, LEAST_PIXELS)
            logger.warning("out of memory, going on without oneDNN", extra={"pixels": self._budget.pixels})
        else:
            raise ServiceError(
                f"Device {self._device} has too little memory left for {self._budget.pixels} pixels "
                "at a time. Stop other programs on it, or choose another device."
            ) from problem


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
    return put_to_work(load_bundle(bundle_folder), device=str(choose_device(device)), threads=threads)


def put_to_work(bundle: Bundle, *, device: str = "auto", threads: int | None = None) -> TorchDenoiser:
    """Put the network of a bundle that was checked on a device; what `open_denoiser` says.

    Raises:
        ServiceError: there is no such device.
    """
    chosen = choose_device(device)
    if threads is not None:
        torch.set_num_threads(max(threads, 1))
    return TorchDenoiser(bundle, device=chosen)


def _check(frames: NDArray[np.float32], keep: NDArray[np.bool_], strength: float) -> None:
    if frames.ndim != 3 or frames.shape != keep.shape or frames.dtype != np.float32:
        raise PixelError(
            f"Frames to denoise are {frames.dtype} {frames.shape} and keep is {keep.shape}; "
            "expected float32 (frames, rows, columns) and the same shape."
        )
    if not 0 <= strength <= 1:
        raise PixelError(f"Strength {strength} is out of range; expected 0 (nothing) to 1 (all the noise).")


def _check_finite(frames: NDArray[np.float32], keep: NDArray[np.bool_]) -> None:
    for frame, kept in zip(frames, keep, strict=True):
        bad = ~np.isfinite(frame)
        if bad.any() and (bad & ~kept).any():
            raise not_finite(int((bad & ~kept).sum()))


def _filled(frames: NDArray[np.float32], keep: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Give padding that is not finite a value that the network's neighbours can live with."""
    bad = ~np.isfinite(frames)
    if not bad.any():
        return frames
    usable = frames[~bad]
    return np.where(bad, np.float32(np.median(usable)) if usable.size else np.float32(0), frames)
