"""Runs of frames on their way through the pipeline: decoded, then denoised, then written."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dae_pacs.errors import InputError
from dae_pacs.image.pixels import Decoded, Image
from dae_pacs.node.events import Source
from dae_pacs.noise.model import NoiseModel

MOST_RUNS = 64
"""In one batch: a whole series in one would have its first result when it has its last."""


@dataclass(frozen=True)
class Run:
    """Some frames of one object, or why there are none."""

    source: Source
    is_last: bool
    image: Image | None = None
    decoded: Decoded | None = None
    noise: NoiseModel | None = None
    clean: NDArray[np.float32] | None = None
    """(frames, rows, columns), once it is denoised."""
    error: InputError | None = None


class CutShortError(Exception):
    """The runs ended in the middle of an object: whoever makes them has failed, and says why."""


class ObjectRuns:
    """The runs of one object out of a stream of them, from its first on."""

    def __init__(self, first: Run, stream: Iterator[Run]) -> None:
        self._stream = stream
        self._next: Run | None = first

    def __iter__(self) -> Iterator[Run]:
        """Give those that are left.

        Raises:
            CutShortError: the stream ended too early.
        """
        while (run := self._next) is not None:
            self._next = None if run.is_last else self._following()
            yield run

    def skip(self) -> None:
        """Leave out those that are left."""
        for _ in self:
            pass

    def _following(self) -> Run:
        run = next(self._stream, None)
        if run is None:
            raise CutShortError
        return run


def batches(runs: Iterator[Run], most_pixels: int) -> Iterator[list[Run]]:
    """Put runs together whose frames have one shape, at most so many pixels; a larger run comes alone.

    What did not decode goes along, in its turn, and takes no room.
    """
    batch: list[Run] = []
    for run in runs:
        if batch and not _fit([*batch, run], most_pixels):
            yield batch
            batch = []
        batch.append(run)
    if batch:
        yield batch


def _fit(runs: list[Run], most_pixels: int) -> bool:
    values = [run.decoded.values for run in runs if run.decoded is not None]
    return (
        len({part.shape[1:] for part in values}) <= 1
        and pixels_of(runs) <= most_pixels
        and len(runs) <= MOST_RUNS
    )


def pixels_of(runs: list[Run]) -> int:
    """Count the pixels of a batch."""
    return sum(run.decoded.values.size for run in runs if run.decoded is not None)
