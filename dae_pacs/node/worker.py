"""The worker process: holds the models on one device and turns tasks into derived files.

It is spawned by the receiving process and talks with it through one pipe. It keeps nothing: kill it at any
moment, and the receiving process gives its task to the next one.
"""

import logging
import os
import signal
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

from pydicom import Dataset

from dae_pacs import failpoints
from dae_pacs.config.compute import ComputeSettings
from dae_pacs.config.model import LogSettings
from dae_pacs.denoise.manifest import bundle_digest
from dae_pacs.denoise.protocol import Denoiser, DeviceState
from dae_pacs.errors import BundleError, ClusterError, DaePacsError
from dae_pacs.log import configure
from dae_pacs.node.child import die_with_the_node
from dae_pacs.node.events import Event, Failed, Loaded, Pause, Postponed, SeriesTask, Source
from dae_pacs.node.pipeline import denoise_series
from dae_pacs.privacy import log_crashes, seal_process, where
from dae_pacs.resources import find_bundle
from dae_pacs.spool.files import SpoolFiles

if TYPE_CHECKING:
    from dae_pacs.cluster.foreman import Foreman

LARGE_PAGES = ("THP_MEM_ALLOC_ENABLE", "1")
"""Torch reads this at its first large array: a forward pass then spends a fifth less of the processor's time,
most of it the kernel's, which would hand out memory 4 KiB at a time (docs/performance.md)."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class WorkerSettings:
    """What one worker process needs to know."""

    device: str
    model: str
    """Loaded at once, so that the first study does not wait for it."""
    models_folder: Path | None
    spool: Path
    log: LogSettings
    digests: Mapping[str, str] = field(default_factory=dict)
    """What each model was when the node started: a worker that is started again takes no other."""
    compute: ComputeSettings = field(default_factory=ComputeSettings)


def run_worker(pipe: Connection, settings: WorkerSettings) -> None:
    """Serve tasks from the pipe until it closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the node decides
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    die_with_the_node()
    seal_process()
    os.environ.setdefault(*LARGE_PAGES)
    configure(settings.log)
    log_crashes()
    failpoints.arm_from_environment()
    models, files = Models(settings), SpoolFiles(settings.spool)
    reason = ""
    try:
        models.get(settings.model)
    except DaePacsError as error:
        reason = str(error)
        logger.error("model not loaded", extra={"model": settings.model, "why": reason})  # noqa: TRY400
    try:
        while True:
            pipe.send(models.standing(reason))
            task: SeriesTask | Pause = pipe.recv()
            while isinstance(task, Pause):  # of a task that ended as it was said
                task = pipe.recv()
            _do(task, models, files, pipe)
    except (EOFError, OSError):  # the node is gone
        return


def _do(task: SeriesTask, models: "Models", files: SpoolFiles, pipe: Connection) -> None:
    report: Callable[[Event], None] = pipe.send

    def name_file(_source: Source, derived: Dataset) -> Path:
        """Name results by their own UID, which we made: the same result always lands on the same file."""
        return files.derived_path(str(derived.SOPInstanceUID))

    one_at_a_time, is_over = threading.Lock(), threading.Event()

    def may_go_on() -> bool:
        """Look whether a more urgent task waits; the thread that reads images asks, also after the end."""
        with one_at_a_time:
            return not is_over.is_set() and not (pipe.poll() and pipe.recv() == Pause(task.job_id))

    def report_end(event: Event) -> None:
        """Say how it ended; what comes through the pipe from now on is the next task."""
        with one_at_a_time:
            is_over.set()
        pipe.send(event)

    try:
        denoise_series(task, models.get(task.model), report, name_file=name_file, may_go_on=may_go_on)
    except ClusterError as error:
        report_end(Postponed(str(error)))
    except DaePacsError as error:
        report_end(Failed(str(error)))
    except OSError as error:
        report_end(Failed(f"a result could not be written: {error.strerror or type(error).__name__}"))
    except MemoryError:
        report_end(Failed("out of memory; give the node more, or send smaller objects"))
    # Whatever it is: decoders, the network and the device's driver fail in ways that nobody lists, and one
    # job's failure must not end the worker, which holds the models.
    except Exception as error:  # noqa: BLE001
        fields = {"job": task.job_id, "error": type(error).__name__, "where": where(error.__traceback__)}
        logger.error("job failed unexpectedly", extra=fields)  # noqa: TRY400  its words may quote the image
        report_end(Failed(f"unexpected {type(error).__name__}; the node's log has the details"))


class Models:
    """The denoisers that this process holds, by bundle name; each is loaded once and kept."""

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings
        self._held: dict[str, Denoiser] = {}
        self._foreman: Foreman | None = None

    def get(self, name: str) -> Denoiser:
        """Give the denoiser of a bundle.

        Raises:
            BundleError: there is no such bundle, or it is not what its manifest says.
        """
        if name not in self._held:
            folder = find_bundle(name, self._settings.models_folder)
            self._refuse_another(name, folder)
            self._held[name] = self._open(folder)
            logger.info("model loaded", extra={"model": name, "device": self._where})
        return self._held[name]

    def standing(self, reason: str) -> Loaded:
        """Say how the model that the node was started with stands, and what the device holds.

        Args:
            reason: why that model could not be loaded; empty where it could.
        """
        name = self._settings.model
        held = self._held.get(name)
        device = self._device() if self._settings.compute.engine == "local" else DeviceState(self._where)
        return Loaded(name, None if held is None else held.identity, device, "" if held else reason)

    def _device(self) -> DeviceState | None:
        from dae_pacs.denoise.device import device_state  # noqa: PLC0415  torch, in the worker alone

        try:
            return device_state(self._settings.device)
        except DaePacsError:  # then no model could be loaded, and the reason says why
            return None

    @property
    def _where(self) -> str:
        compute = self._settings.compute
        return self._settings.device if compute.engine == "local" else f"cluster {compute.address}"

    def _open(self, folder: Path) -> Denoiser:
        """Hold the model in this process, or have the cluster hold it; torch and ray where they are used."""
        if self._settings.compute.engine == "ray":
            from dae_pacs.cluster.denoiser import ClusterDenoiser  # noqa: PLC0415
            from dae_pacs.cluster.extra import start  # noqa: PLC0415

            if self._foreman is None:
                self._foreman = start(self._settings.compute)
            return ClusterDenoiser(folder, self._foreman, in_flight_mb=self._settings.compute.in_flight_mb)
        from dae_pacs.denoise.engine import open_denoiser  # noqa: PLC0415

        return open_denoiser(folder, device=self._settings.device)

    def _refuse_another(self, name: str, folder: Path) -> None:
        started_with = self._settings.digests.get(name)
        if started_with is not None and bundle_digest(folder) != started_with:
            raise BundleError(
                f"Model {name}: its files changed since the node started, and half a study must not be made "
                "by another model. Restart the node to use it, then: dae-pacs retry"
            )
