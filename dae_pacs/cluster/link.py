"""The connection of this process to a Ray cluster, and all that is asked of it."""

import logging
import os
import socket
from collections.abc import Callable
from typing import Any, Final

os.environ["RAY_AUTH_MODE"] = "token"  # read once, by the import that follows: no cluster without a secret

import ray
import ray.exceptions

from dae_pacs import __version__
from dae_pacs.cluster.bench import Bench
from dae_pacs.config.compute import ComputeSettings
from dae_pacs.errors import ClusterError

logger = logging.getLogger(__name__)

CONNECT_S: Final = 2.0
"""For a look at the head's port. Ray itself would look for one for minutes."""
IDLE_S: Final = 600.0
"""A worker that no node has spoken to for so long ends itself and frees its core."""
MOST_WORKERS: Final = 1000

Worker = Any  # Ray's handle of an actor, whose methods are made at run time
Then = Callable[[object], None]
"""Told of an answer, or of the exception in its place."""


class BrokenLinkError(Exception):
    """Ray could not be asked at all; what was asked of it before is lost."""


class Link:
    """Owns the connection; everything but `is_up` belongs to one thread."""

    def __init__(self, settings: ComputeSettings) -> None:
        self._settings = settings
        self._address = settings.address or ""
        self._node = ""

    def is_up(self) -> bool:
        """Tell whether anyone answers at the head's port."""
        host, _, port = self._address.rpartition(":")
        try:
            socket.create_connection((host, int(port)), CONNECT_S).close()
        except OSError:
            return False
        return True

    def open(self) -> None:
        """Join the cluster.

        Raises:
            ClusterError: it is not there, lets us not in, or this machine is not part of it.
        """
        if not self.is_up():
            raise ClusterError(
                f"Cluster {self._address}: nobody answers there. Start its head, or correct compute.address."
            )
        try:
            ray.init(
                address=self._address,
                namespace=self._settings.namespace,
                log_to_driver=False,
                configure_logging=False,
            )
            self._node = ray.get_runtime_context().get_node_id()
        except (ray.exceptions.RayError, RuntimeError, ValueError, OSError) as error:
            self.close()
            raise ClusterError(
                f"Cluster {self._address}: can't be joined ({type(error).__name__}). This machine must be "
                "part of it (ray start --address=... --num-cpus=0), with the same token (compute.token) and "
                "the same versions of Ray and Python."
            ) from error

    def close(self) -> None:
        """Leave the cluster; its workers stay."""
        ray.shutdown()

    def room(self) -> int:
        """Say how many workers the cluster has room for, whoever else uses it.

        Raises:
            BrokenLinkError: the cluster, or this machine's part of it, is gone.
        """
        try:
            nodes = [node for node in _nodes() if node["Alive"]]
        except (ray.exceptions.RayError, RuntimeError, OSError) as error:
            raise BrokenLinkError(type(error).__name__) from error
        if all(node["NodeID"] != self._node for node in nodes):
            raise BrokenLinkError("this machine's raylet is gone")
        return min(sum(self._room_of(node["Resources"]) for node in nodes), MOST_WORKERS)

    def _room_of(self, resources: dict[str, float]) -> int:
        room = int(resources.get("CPU", 0.0) / self._settings.worker_cpus)
        if self._settings.worker_gpus:
            room = min(room, int(resources.get("GPU", 0.0) / self._settings.worker_gpus))
        return room

    def worker(self, number: int) -> Worker:
        """Find a worker by its number, or have the cluster start it, where there is room.

        Raises:
            BrokenLinkError: the cluster can't be asked.
        """
        settings = self._settings
        kind = f"{settings.worker_cpus:g}cpu {settings.worker_gpus:g}gpu"
        actor = ray.remote(Bench).options(
            name=f"dae-pacs {__version__} {kind} {number}",
            get_if_exists=True,
            lifetime="detached",
            max_restarts=-1,
            num_cpus=settings.worker_cpus,
            num_gpus=settings.worker_gpus,
            scheduling_strategy="SPREAD",
        )
        try:
            return actor.remote(max(1, int(settings.worker_cpus)), idle_s=IDLE_S, end=end_this_worker)
        except (ray.exceptions.RayError, RuntimeError, ValueError, OSError) as error:
            raise BrokenLinkError(type(error).__name__) from error

    def call(self, method: Any, *arguments: object, then: Then) -> None:  # Any: an actor's method
        """Ask something of a worker; `then` is told in a thread of Ray's.

        Raises:
            BrokenLinkError: it can't be asked.
        """
        try:
            future = method.remote(*arguments).future()
        except (ray.exceptions.RayError, RuntimeError, ValueError, OSError) as error:
            raise BrokenLinkError(type(error).__name__) from error
        future.add_done_callback(lambda done: then(done.exception() or done.result()))

    def share(self, value: object) -> object:
        """Put a value into the cluster once, to be given to many workers.

        Raises:
            BrokenLinkError: it can't be put there.
        """
        try:
            return ray.put(value)
        except (ray.exceptions.RayError, RuntimeError, OSError) as error:
            raise BrokenLinkError(type(error).__name__) from error

    def end(self, worker: Worker) -> None:
        """Kill a worker that is of no use; the cluster starts it again."""
        try:
            ray.kill(worker, no_restart=False)
        except (ray.exceptions.RayError, RuntimeError, ValueError) as error:
            logger.warning("worker not ended", extra={"error": type(error).__name__})


def _nodes() -> list[dict[str, Any]]:  # Any: what Ray tells of a machine
    found: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return found


def is_gone_for_good(failure: object) -> bool:
    """Tell a worker that will not be started again from one that is away for now."""
    return isinstance(failure, ray.exceptions.ActorDiedError)


def end_this_worker() -> None:
    """Called in a worker: end it, and let the cluster start no other in its place."""
    ray.kill(ray.get_runtime_context().current_actor)
