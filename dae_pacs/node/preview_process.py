"""The preview process: what a model would take from one frame, for any strength, while a person waits.

It is spawned at the first request, runs on the processor alone and behind everything else, keeps one model,
and ends when nobody has asked for a while. Nothing of it reaches the worker, its pipe, or a GPU's memory.
"""

import logging
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from dae_pacs.denoise.manifest import bundle_digest
from dae_pacs.durable import durable_file
from dae_pacs.errors import BundleError, DaePacsError, PixelError
from dae_pacs.image import files, packet
from dae_pacs.image.pixels import Decoded, decode_run, open_image
from dae_pacs.log import configure
from dae_pacs.node.child import die_with_the_node
from dae_pacs.node.worker import LARGE_PAGES, WorkerSettings
from dae_pacs.noise import vst
from dae_pacs.noise.model import NoiseModel
from dae_pacs.privacy import log_crashes, seal_process
from dae_pacs.resources import find_bundle

if TYPE_CHECKING:  # torch
    from dae_pacs.denoise.engine import TorchDenoiser

logger = logging.getLogger(__name__)

NICENESS: Final = 15
"""A worker that wants the processor gets 28 times as much of it (setpriority(2))."""
STEPS: Final = 32767
"""The clamp in steps of the 16 bits that cross to the browser: at 3 sigma one step is 0.0001 sigma."""


@dataclass(frozen=True)
class PreviewTask:
    """One frame that somebody looks at."""

    path: Path
    """Of the original."""
    frame: int
    """Counted from 0."""
    model: str
    noise: str | None
    """What the job measured, as JSON; None has it measured on this frame."""
    target: Path
    """Where the result goes, an `image.packet`."""


@dataclass(frozen=True)
class PreviewDone:
    """The result is written; or it is not, for a reason in words."""

    error: str | None = None


def run_preview(pipe: Connection, settings: WorkerSettings, threads: int) -> None:
    """Serve tasks from the pipe until it closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    die_with_the_node()
    seal_process()
    os.nice(NICENESS)
    os.environ.setdefault(*LARGE_PAGES)
    configure(settings.log)
    log_crashes()
    model = _Model(settings, threads)
    while True:
        try:
            task: PreviewTask = pipe.recv()
        except (EOFError, OSError):
            return
        pipe.send(_do(task, model))


def _do(task: PreviewTask, model: "_Model") -> PreviewDone:
    try:
        write_preview(task, model.get)
    except DaePacsError as error:
        return PreviewDone(str(error).replace(str(task.path), "The object's file"))
    except OSError as error:
        return PreviewDone(f"The preview could not be written: {error.strerror or type(error).__name__}.")
    except MemoryError:
        return PreviewDone("Too little memory is left for this image; try again later.")
    return PreviewDone()


def write_preview(task: PreviewTask, model: "Callable[[str], TorchDenoiser]") -> None:
    """Run the model once over a frame and write what the browser blends with.

    The values are clamp(f(z) − z) of each pixel in whole steps of `clamp / STEPS`; JSON holds the noise and
    its transform, so that the browser does for a strength what `noise.vst.change` does.

    Args:
        task: what is wanted.
        model: gives the denoiser of a bundle; asked once the frame is decoded.

    Raises:
        DaePacsError: the frame does not decode, or the model can't work on it.
        OSError: the result can't be written.
    """
    image = open_image(files.open_object(task.path))
    if not 0 <= task.frame < image.layout.frames:
        raise PixelError(f"The object has {image.layout.frames} frames; there is no frame {task.frame + 1}.")
    decoded = decode_run(image, task.frame, task.frame + 1)
    denoiser = model(task.model)
    noise = _noise_of(task, decoded, denoiser)
    steps = denoiser.steps(decoded.values, decoded.keep, noise=noise)[0]
    clamp = denoiser.clamp_sigma
    identity = denoiser.identity
    of = vst.pieces(noise.levels, noise.variances)
    table = vst.bias_table(noise.levels, noise.variances)
    meaning: dict[str, object] = {
        "rows": decoded.layout.rows,
        "columns": decoded.layout.columns,
        "step_sigma": clamp / STEPS,
        "model": identity.name,
        "version": identity.version,
        "default_strength": identity.default_strength,
        "noise": {
            "levels": noise.levels,
            "variances": noise.variances,
            "unit": noise.unit,
            "origin": noise.origin,
            "misfit": noise.misfit,
            "is_of_this_frame": task.noise is None,
        },
        "transform": {
            "x": of.x.tolist(),
            "z": of.z.tolist(),
            "root": of.root.tolist(),
            "slope": of.slope.tolist(),
            "expected": table[0].tolist(),
            "miss": table[1].tolist(),
        },
    }
    body = packet.pack(meaning, np.rint(steps * np.float32(STEPS / clamp)).astype(np.int16))
    with durable_file(task.target) as file:
        file.write(body)


def _noise_of(task: PreviewTask, decoded: Decoded, denoiser: "TorchDenoiser") -> NoiseModel:
    if task.noise is not None:
        return NoiseModel.from_json(task.noise)
    return denoiser.calibrate(list(decoded.values), list(decoded.keep))


class _Model:
    """The one model that this process holds: the last that was asked for."""

    def __init__(self, settings: WorkerSettings, threads: int) -> None:
        self._settings = settings
        self._threads = threads
        self._held: tuple[str, TorchDenoiser] | None = None

    def get(self, name: str) -> "TorchDenoiser":
        """Give the denoiser of a bundle.

        Raises:
            BundleError: there is no such bundle, or it is not what it was when the node started.
        """
        if self._held is not None and self._held[0] == name:
            return self._held[1]
        folder = find_bundle(name, self._settings.models_folder)
        known = self._settings.digests.get(name)
        if known is not None and bundle_digest(folder) != known:
            raise BundleError(f"Model {name}: its files changed since the node started. Restart the node.")
        from dae_pacs.denoise.engine import open_denoiser  # noqa: PLC0415  torch, in this process alone

        denoiser = open_denoiser(folder, device="cpu", threads=self._threads)
        self._held = name, denoiser
        logger.info("model loaded for previews", extra={"model": name})
        return denoiser
