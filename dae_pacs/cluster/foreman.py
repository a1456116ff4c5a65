"""One thread that hands batches to the cluster's workers, and gives what they answer to whoever waits.

It alone talks to Ray, so that joining, leaving and asking never meet. A batch whose worker dies goes to
another; when the cluster is away, every batch comes back with that, and nothing is lost but time.
"""

import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from dae_pacs import errors
from dae_pacs.cluster.crew import Crew, Mate
from dae_pacs.cluster.link import BrokenLinkError, Link
from dae_pacs.cluster.messages import Batch, Clean, Missing, Refused, Taken
from dae_pacs.cluster.parcel import Parcel
from dae_pacs.config.compute import ComputeSettings
from dae_pacs.errors import ClusterError, DaePacsError, ServiceError

logger = logging.getLogger(__name__)

LOOK_S: Final = 1.0
"""How often it is seen who has joined and who has left."""
JOIN_PAUSE_S: Final = 2.0
"""After an attempt to join that failed; batches that come meanwhile hear the same."""
MISSED_LOOKS: Final = 5
"""So many times in a row nobody at the head's port: the cluster is away."""
MOST_TRIES: Final = 4
"""Workers that one batch may lose while the cluster is there; it may be the batch that ends them."""
NO_WORKER_S: Final = 60.0
"""How long a batch waits where no worker answers at all, before its job is put off."""
PATIENCE_S: Final = 120.0
PATIENCE_S_PER_MEGAPIXEL: Final = 30.0
"""For one batch at one worker; ten times what a slow core takes. Then it counts as hung, and is killed."""


@dataclass(eq=False)
class Order:
    """A batch, until it is answered."""

    parcel: Parcel
    batch: Batch
    answer: "Future[Clean]" = field(default_factory=Future)
    tries: int = 0
    mate: Mate | None = None
    """Who has it."""
    since: float = field(default_factory=time.monotonic)
    """When it was given to its worker, or began to wait for one."""

    @property
    def patience_s(self) -> float:
        """How long its worker may take."""
        return PATIENCE_S + PATIENCE_S_PER_MEGAPIXEL * self.batch.frames.size / 1e6


class Foreman:
    """Owns this process's part in the cluster. It joins at once, so that workers are warm when work comes."""

    def __init__(self, settings: ComputeSettings) -> None:
        self._settings = settings
        self._link = Link(settings)
        self._crew: Crew | None = None
        self._inbox: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._coming: deque[Order] = deque()
        """Given, and not yet looked at; filled by any thread, under `_starting`."""
        self._waiting: deque[Order] = deque()
        self._given: set[Order] = set()
        self._parcels: dict[str, object] = {}
        """Bundles that lie in the cluster's memory, by digest."""
        self._missed = 0
        self._join_at = 0.0
        self._trouble = ClusterError("")
        self.workers = 0
        """How many answer; read by any thread."""
        self.batch_pixels: dict[str, int] = {}
        """How many pixels a worker takes at a time, by digest; read by any thread."""
        self._closing = False
        self._starting = threading.Lock()
        self._has_ended = False
        """Whether the thread is beyond answering what comes."""
        self._thread = self._new_thread()

    def give(self, parcel: Parcel, batch: Batch) -> "Future[Clean]":
        """Hand over a batch; for any thread. What went wrong is raised by the future, as an error of ours."""
        order = Order(parcel, batch)
        with self._starting:
            self._coming.append(order)
            self._inbox.put(self._take)
            if self._has_ended and not self._closing:
                logger.critical("foreman died, starting another")
                self._has_ended = False
                self._thread = self._new_thread()
        return order.answer

    def _new_thread(self) -> threading.Thread:
        thread = threading.Thread(target=self._run, name="foreman", daemon=True)
        thread.start()
        return thread

    def close(self) -> None:
        """Leave the cluster; what is under way is told so."""
        self._inbox.put(self._close)
        self._thread.join()

    def _run(self) -> None:
        try:
            self._join()
            look_at = time.monotonic()
            while not self._closing:
                with suppress(queue.Empty):
                    self._inbox.get(timeout=max(0.0, look_at - time.monotonic()))()
                if time.monotonic() >= look_at:
                    look_at = time.monotonic() + LOOK_S
                    self._guarded(self._look)
                self._guarded(self._hand_out)
                self.workers = 0 if self._crew is None else self._crew.ready
        finally:
            try:
                self._lose("this process left it")
            finally:
                self._fail_the_rest()

    def _guarded(self, step: Callable[[], None]) -> None:
        try:
            step()
        except BrokenLinkError as problem:
            self._lose(f"the connection broke ({problem})")

    def _close(self) -> None:
        self._closing = True

    def _join(self) -> None:
        """Join the cluster, or tell all who wait that it is away."""
        if time.monotonic() < self._join_at:
            self._fail_all(self._trouble)
            return
        try:
            self._link.open()
        except ClusterError as error:
            logger.warning("cluster not joined", extra={"why": str(error)})
            self._trouble, self._join_at = error, time.monotonic() + JOIN_PAUSE_S
            self._fail_all(error)
            return
        logger.info("cluster joined", extra={"address": self._settings.address})
        self._crew, self._missed = Crew(self._link, self._inbox.put), 0

    def _lose(self, why: str) -> None:
        """Leave a cluster that is away; Ray would end this process if we stayed."""
        if self._crew is None:
            return
        logger.warning("cluster left", extra={"why": why})
        self._crew = None
        self._parcels.clear()
        self._fail_all(
            ClusterError(f"Cluster {self._settings.address}: {why}. The work is done when it is back.")
        )
        self._link.close()

    def _fail_all(self, error: DaePacsError) -> None:
        orders = [*self._waiting, *self._given]
        self._waiting.clear()
        self._given.clear()
        for order in orders:
            order.answer.set_exception(error)

    def _fail_the_rest(self) -> None:
        """Answer whatever this thread leaves behind, where it never joined too: nobody else will."""
        with self._starting:
            self._has_ended = True
            self._waiting.extend(self._coming)
            self._coming.clear()
        address = self._settings.address
        self._fail_all(ClusterError(f"Cluster {address}: the connection to it ended. Its log says why."))

    def _take(self) -> None:
        if not self._coming:
            return  # answered when the thread before this one ended
        self._waiting.append(self._coming.popleft())
        if self._crew is None:
            self._join()

    def _look(self) -> None:
        if self._crew is None:
            return
        if not self._link.is_up():  # whatever Ray were asked now would not come back
            self._missed += 1
            if self._missed >= MISSED_LOOKS:
                self._lose("its head does not answer any more")
            return
        self._missed = 0
        self._crew.look()
        now = time.monotonic()
        for order in [order for order in self._given if now - order.since > order.patience_s]:
            if order.mate is not None:
                logger.error("worker hangs, ended", extra={"worker": order.mate.number})
                self._crew.end(order.mate)
            self._failed(order, TimeoutError())
        if not self._crew.ready and any(now - order.since > NO_WORKER_S for order in self._waiting):
            self._fail_all(self._no_worker(self._crew))

    def _no_worker(self, crew: Crew) -> ClusterError:
        refusal = next(crew.refusals(), "")
        found = refusal or (
            f"it has room for {crew.room} workers of {self._settings.worker_cpus:g} cores and "
            f"{self._settings.worker_gpus:g} GPUs (compute.worker_cpus, compute.worker_gpus)"
        )
        return ClusterError(
            f"Cluster {self._settings.address}: no worker answered for {NO_WORKER_S:.0f} s; {found}. Add "
            "machines to it; or see what takes its cores (ray status), and whether dae-pacs is there."
        )

    def _hand_out(self) -> None:
        while self._crew is not None and self._waiting:
            mate = self._crew.choose(self._waiting[0].parcel.identity.digest)
            if mate is None:
                return
            self._send(self._waiting.popleft(), mate)

    def _send(self, order: Order, mate: Mate) -> None:
        order.mate, order.since = mate, time.monotonic()
        mate.load += 1
        self._given.add(order)
        digest = order.parcel.identity.digest
        if digest not in mate.models:
            if digest not in self._parcels:
                self._parcels[digest] = self._link.share(order.parcel)
            mate.models.add(digest)
            self._link.call(
                mate.handle.take,
                self._parcels[digest],
                then=lambda answer: self._inbox.put(lambda: self._taken(digest, mate, answer)),
            )
        self._link.call(
            mate.handle.denoise,
            order.batch,
            then=lambda answer: self._inbox.put(lambda: self._answered(order, mate, answer)),
        )

    def _taken(self, digest: str, mate: Mate, answer: object) -> None:
        if isinstance(answer, Taken):
            self.batch_pixels[digest] = answer.batch_pixels
            return
        mate.models.discard(digest)
        if isinstance(answer, Refused):
            of_it = [order for order in self._given if order.mate is mate and order.batch.digest == digest]
            for order in of_it:
                self._free(order)
                order.answer.set_exception(_as_error(answer))

    def _answered(self, order: Order, mate: Mate, answer: object) -> None:
        if order not in self._given or order.mate is not mate:
            return  # it was given up meanwhile
        if isinstance(answer, Clean):
            self._free(order)
            order.answer.set_result(answer)
        elif isinstance(answer, Refused):
            self._free(order)
            order.answer.set_exception(_as_error(answer))
        elif isinstance(answer, Missing):
            mate.models.discard(order.batch.digest)
            self._again(order)
        else:
            self._failed(order, answer)

    def _failed(self, order: Order, failure: object) -> None:
        """Give a batch that lost its worker to another, unless it has lost too many."""
        order.tries += 1
        if self._crew is not None and order.mate is not None:
            self._crew.lost(order.mate, failure)
        if order.tries < MOST_TRIES:
            self._again(order)
            return
        self._free(order)
        order.answer.set_exception(
            ServiceError(
                f"A batch of {order.batch.frames.size / 1e6:.1f} megapixels lost {MOST_TRIES} workers of the "
                f"cluster one after the other, at last by {type(failure).__name__}. They may have too little "
                "memory: see Ray's logs, or raise compute.worker_cpus, so that fewer share a machine."
            )
        )

    def _again(self, order: Order) -> None:
        self._free(order)
        order.since = time.monotonic()
        self._waiting.appendleft(order)

    def _free(self, order: Order) -> None:
        self._given.discard(order)
        if order.mate is not None:
            order.mate.load -= 1
            order.mate = None


def _as_error(refused: Refused) -> DaePacsError:
    """Turn a worker's words back into the error that it met."""
    kind = getattr(errors, refused.kind, None)
    if isinstance(kind, type) and issubclass(kind, DaePacsError) and kind is not ClusterError:
        return kind(refused.words)
    return ServiceError(refused.words)
