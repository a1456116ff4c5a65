"""A real node as a process of its own, for the demo, the tests and the benchmarks."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from dae_pacs.dimse.scu import PeerAddress, echo
from dae_pacs.errors import PeerError, ServiceError

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 40.0


class NodeProcess:
    """`dae-pacs serve` with a configuration in a folder of its own; it can be killed and started again."""

    def __init__(
        self,
        folder: Path,
        configuration: str,
        *,
        ae_title: str,
        port: int,
        program: Sequence[str] = ("-m", "dae_pacs"),
    ) -> None:
        self.folder = folder.absolute()  # the process gets it as its working folder
        self.config_path = self.folder / "dae-pacs.toml"
        self.address = PeerAddress(ae_title, "127.0.0.1", port)
        self._configuration = configuration
        self._program = tuple(program)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log_path(self) -> Path:
        """Where the node's log goes."""
        return self.folder / "node.log"

    @property
    def pid(self) -> int:
        """Process id of the receiving process.

        Raises:
            ServiceError: it was not started.
        """
        if self._process is None:
            raise ServiceError("the node was not started")
        return self._process.pid

    def start(self, **environment: str) -> float:
        """Start the node and wait until it answers C-ECHO; return the seconds that took.

        Args:
            environment: variables of its process, on top of ours.

        Raises:
            ServiceError: it ends, or does not answer in time; the message holds the end of its log.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        self.config_path.write_text(self._configuration)
        started = time.monotonic()
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603  our own interpreter and module
                [sys.executable, *self._program, "serve", "--config", str(self.config_path)],
                env=os.environ | self._without_console() | environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
            )
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() - started > START_TIMEOUT_S:
                self.kill()
                raise ServiceError(f"the node does not come up; the end of its log:\n{self._last_lines()}")
            time.sleep(0.02)
        return time.monotonic() - started

    def _without_console(self) -> dict[str, str]:
        """Switch the console off where the configuration does not speak of it: it would cost a port each."""
        return {} if "[web]" in self._configuration else {"DAE_PACS_WEB__ENABLED": "false"}

    def check_running(self) -> None:
        """Do nothing while the node runs.

        Raises:
            ServiceError: it has ended by itself; the message holds the end of its log.
        """
        if self._process is not None and self._process.poll() is not None:
            raise ServiceError(f"the node ended by itself; the end of its log:\n{self._last_lines()}")

    def stop(self) -> int:
        """Ask the node to stop, as a service manager does, and return its exit code."""
        return self._end(signal.SIGTERM)

    def kill(self) -> int:
        """End the node as a power cut would."""
        return self._end(signal.SIGKILL)

    def _end(self, signal_number: int) -> int:
        process, self._process = self._process, None
        if process is None:
            return 0
        process.send_signal(signal_number)
        try:
            return process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()

    def _last_lines(self) -> str:
        return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-8:])

    def _answers(self) -> bool:
        with contextlib.suppress(PeerError):
            echo(self.address, calling_ae=self.address.ae_title)
            return True
        return False

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
