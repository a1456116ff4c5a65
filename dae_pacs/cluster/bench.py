"""A worker of the cluster: it holds models at work, and keeps nothing else.

It runs as a Ray actor on whichever machine has room. Kill it at any moment: its batch is done elsewhere, and
the next one to take its place is sent the model again.
"""

import logging
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dae_pacs import __version__
from dae_pacs.cluster.messages import Answer, Batch, Clean, Missing, Refused, Taken
from dae_pacs.cluster.parcel import Parcel
from dae_pacs.errors import BundleError, DaePacsError
from dae_pacs.noise.model import NoiseModel
from dae_pacs.privacy import log_crashes, seal_process, where

if TYPE_CHECKING:
    from dae_pacs.denoise.engine import TorchDenoiser

MOST_MODELS = 4
"""Held at a time; the one that was not used for longest makes room."""
LARGE_PAGES = ("THP_MEM_ALLOC_ENABLE", "1")
"""As in the node's own worker (docs/performance.md)."""

logger = logging.getLogger(__name__)


class Bench:
    """Owns the models of one worker, by digest.

    Args:
        threads: of the network's layers; as many as the cores that the worker was given.
        idle_s: after so long without a word from any node it ends itself.
        end: ends this worker for good, so that the cluster starts no other in its place.
    """

    def __init__(self, threads: int, *, idle_s: float, end: Callable[[], None]) -> None:
        os.environ.setdefault(*LARGE_PAGES)
        seal_process()
        log_crashes()
        self._threads = threads
        self._idle_s = idle_s
        self._end = end
        self._models: OrderedDict[str, TorchDenoiser] = OrderedDict()
        self._heard_at = time.monotonic()
        self._is_busy = False
        threading.Thread(target=self._watch, name="idle", daemon=True).start()

    def hello(self) -> str:
        """Say which version of dae-pacs this is: a sign of life, both ways."""
        self._heard_at = time.monotonic()
        return __version__

    def take(self, parcel: Parcel) -> Answer:
        """Check a bundle and put its network to work."""
        from dae_pacs.denoise.bundle import check_bundle  # noqa: PLC0415  torch, once there is work
        from dae_pacs.denoise.engine import put_to_work  # noqa: PLC0415

        def load() -> Answer:
            digest = parcel.identity.digest
            if digest not in self._models:
                bundle = check_bundle(Path(parcel.identity.name), parcel.read)
                if bundle.identity != parcel.identity:
                    raise BundleError(
                        f"Model {parcel.identity.name}: a worker found {bundle.identity.digest[:12]}… in "
                        f"what it was sent as {digest[:12]}…. Restart the node, which reads its bundle again."
                    )
                while len(self._models) >= MOST_MODELS:
                    self._models.popitem(last=False)
                self._models[digest] = put_to_work(bundle, threads=self._threads)
            return Taken(self._models[digest].batch_pixels)

        return self._answered(load)

    def denoise(self, batch: Batch) -> Answer:
        """Denoise a batch by a model that was taken before."""

        def work() -> Answer:
            model = self._models.get(batch.digest)
            if model is None:
                return Missing()
            self._models.move_to_end(batch.digest)
            frames = np.array(batch.frames)  # the cluster's own memory can't be written to
            noise = NoiseModel.from_json(batch.noise)
            return Clean(model.denoise(frames, np.array(batch.keep), noise=noise, strength=batch.strength))

        return self._answered(work)

    def _answered(self, work: Callable[[], Answer]) -> Answer:
        """Do it; what goes wrong is an answer, too: Ray would keep and show the words of an exception."""
        self._is_busy, self._heard_at = True, time.monotonic()
        try:
            return work()
        except DaePacsError as error:
            return Refused(type(error).__name__, str(error))
        # Whatever it is, as in node.worker: the network and the driver of a device that we have never seen.
        except Exception as error:  # noqa: BLE001
            name = type(error).__name__
            fields = {"error": name, "where": where(error.__traceback__)}
            logger.error("batch failed unexpectedly", extra=fields)  # noqa: TRY400  its words may quote the image
            return Refused(
                "ServiceError", f"unexpected {name} at a worker of the cluster; its log says where"
            )
        finally:
            self._is_busy, self._heard_at = False, time.monotonic()

    def _watch(self) -> None:
        while self._is_busy or time.monotonic() - self._heard_at < self._idle_s:
            time.sleep(min(1.0, self._idle_s / 4))
        self._end()
