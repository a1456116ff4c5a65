"""A real Ray cluster on this machine, for tests and benchmarks; its machines can be killed.

Each of them is a group of processes. The head has no cores; as the raylet of this machine it stands for the
node's own, too.
"""

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import psutil

from dae_pacs.config.compute import ComputeSettings
from dae_pacs.demo.orthanc import free_port
from dae_pacs.errors import ServiceError

STORE_BYTES: Final = 200_000_000
START_S: Final = 60.0
STOP_S: Final = 15.0
STARTED: Final = "Ray runtime started"
"""What Ray says of a machine that has joined."""
_OPTIONS: Final = (
    "--block",
    "--disable-usage-stats",
    "--include-log-monitor=false",
    f"--object-store-memory={STORE_BYTES}",
)


class RayCluster:
    """Owns the processes of a cluster, and a token of its own.

    Args:
        folder: for its logs and its token.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.token = folder / "token"
        self.token.touch(mode=0o600)
        self.token.write_text(secrets.token_hex(32))
        self.port = free_port()
        # Sockets lie in there, and their names may have 107 characters.
        self._sessions = Path(tempfile.mkdtemp(prefix="ray-"))
        self.machines: dict[str, subprocess.Popen[bytes]] = {}
        self._seen: set[int] = set()

    @property
    def address(self) -> str:
        """Of the head, as `compute.address` wants it."""
        return f"127.0.0.1:{self.port}"

    @property
    def settings(self) -> ComputeSettings:
        """What a node of this cluster is configured with."""
        return ComputeSettings(engine="ray", address=self.address, token=self.token)

    def start_head(self) -> None:
        """Start the head, and wait until it answers.

        Raises:
            ServiceError: it does not come up; the message holds the end of its log.
        """
        sessions = f"--temp-dir={self._sessions}"
        self._start(
            "head", "--head", f"--port={self.port}", "--num-cpus=0", "--include-dashboard=false", sessions
        )

    def add(self, name: str, *, cores: int = 1) -> None:
        """Let a machine join; its workers come when they come.

        Raises:
            ServiceError: it does not come up; the message holds the end of its log.
        """
        self._start(name, f"--address={self.address}", f"--num-cpus={cores}")

    def kill(self, name: str) -> None:
        """End a machine as a power cut would: its raylet, its agents, its workers."""
        for process in self._family(name):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGKILL)
        self.machines.pop(name).wait(STOP_S)

    def workers(self) -> list[psutil.Process]:
        """Give the processes that hold our actors, on machines that run."""
        found = []
        for name in self.machines:
            for process in self._family(name):
                with contextlib.suppress(psutil.NoSuchProcess):
                    if "ray::Bench" in " ".join(process.cmdline()):
                        found.append(process)
        return found

    def left(self) -> set[int]:
        """Give the ids of all processes of the cluster that run, on machines that were killed, too."""
        mark = str(self._sessions)
        for process in psutil.process_iter(["pid", "environ", "cmdline"]):
            told = [*(process.info["cmdline"] or ()), *(process.info["environ"] or {}).values()]
            if any(mark in each for each in told):
                self._seen.add(process.pid)
        return {pid for pid in self._seen if _runs(pid)}

    def stop(self) -> None:
        """End every process of the cluster."""
        for name in list(self.machines):
            self.kill(name)
        deadline = time.monotonic() + STOP_S
        while (left := self.left()) and time.monotonic() < deadline:
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.1)
        shutil.rmtree(self._sessions, ignore_errors=True)

    def _start(self, name: str, *options: str) -> None:
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", *_OPTIONS, *options]
        with (self._folder / f"{name}.log").open("ab") as log:
            before = log.tell()
            self.machines[name] = subprocess.Popen(  # noqa: S603  our own interpreter, Ray's own program
                command,
                env=os.environ | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(self.token)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        # Two that start at the same time on one machine may choose the same names for their sockets.
        deadline = time.monotonic() + START_S
        while STARTED not in (said := (self._folder / f"{name}.log").read_text(errors="replace")[before:]):
            if time.monotonic() > deadline or self.machines[name].poll() is not None:
                raise ServiceError(f"{name} does not join the cluster; the end of its log:\n{said[-1000:]}")
            time.sleep(0.05)

    def _family(self, name: str) -> list[psutil.Process]:
        try:
            parent = psutil.Process(self.machines[name].pid)
            family = [parent, *parent.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []
        self._seen |= {process.pid for process in family}
        return family

    def __enter__(self) -> Self:
        self.start_head()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _runs(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
