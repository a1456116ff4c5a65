"""A small denoiser without a network, and series to feed it: enough to test what surrounds the model."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from dae_pacs.demo.phantoms import Study, ct_series, write_all
from dae_pacs.denoise.protocol import ModelIdentity
from dae_pacs.image.files import file_digest
from dae_pacs.node.events import SeriesTask, Source
from dae_pacs.noise.estimate import fallback
from dae_pacs.noise.model import NoiseModel


class MeanOfFour:
    """Blends each pixel with its four neighbours; counts how often it measured the noise."""

    identity = ModelIdentity(name="mean_of_four", version="1", digest="0" * 64, default_strength=0.5)
    batch_pixels = 1 << 20

    def __init__(self) -> None:
        self.calibrations: list[int] = []

    def side_by_side(self, pixels: int) -> int:
        return 1

    def calibrate(
        self, frames: Sequence[NDArray[np.float32]], keep: Sequence[NDArray[np.bool_]]
    ) -> NoiseModel:
        self.calibrations.append(len(frames))
        return fallback(frames, keep)

    def denoise(
        self,
        frames: NDArray[np.float32],
        keep: NDArray[np.bool_],
        *,
        noise: NoiseModel,
        strength: float,
        beside: int = 1,
    ) -> NDArray[np.float32]:
        shifted = [np.roll(frames, step, axis) for axis in (1, 2) for step in (1, -1)]
        clean = frames + np.float32(strength) * (np.mean(shifted, axis=0, dtype=np.float32) - frames)
        return np.where(keep, frames, clean).astype(np.float32)


@pytest.fixture
def denoiser() -> MeanOfFour:
    return MeanOfFour()


MakeTask = Callable[..., SeriesTask]


@pytest.fixture
def make_task(tmp_path: Path) -> MakeTask:
    """Make a task of a made-up CT series: `make_task(slices=3, noise=None)`."""

    def make(*, slices: int = 3, noise: str | None = None) -> SeriesTask:
        paths = write_all(ct_series(Study(), slices=slices, size=64), tmp_path / "series")
        return SeriesTask(
            job_id=1,
            sources=tuple(Source(k, path, file_digest(path)) for k, path in enumerate(paths)),
            model="mean_of_four",
            strength=None,
            description="{source} denoised s={strength:.1f}",
            series_number=1002,
            ae_title="DAE_PACS",
            noise=noise,
        )

    return make
