"""A real Orthanc on loopback, for the demo, the tests and the benchmarks."""

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Self

from dae_pacs.demo.orthanc_rest import OrthancRest
from dae_pacs.errors import PeerError

START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 20.0
# The name under which Orthanc knows the node; auto-route.lua sends to it.
NODE_ALIAS = "dae-pacs"


class Routing(StrEnum):
    """What Orthanc sends on to the node by itself."""

    NONE = "none"
    ORIGINALS = "originals"
    EVERYTHING = "everything"


SCRIPTS = {Routing.ORIGINALS: "auto-route.lua", Routing.EVERYTHING: "auto-route-everything.lua"}


@dataclass(frozen=True)
class NodeAddress:
    """Where Orthanc finds the node that it routes to."""

    ae_title: str
    port: int
    host: str = "127.0.0.1"


def find_orthanc() -> Path | None:
    """Return Orthanc's program (Debian keeps it in /usr/sbin), None where it is not installed."""
    found = shutil.which("Orthanc") or shutil.which("Orthanc", path="/usr/sbin:/usr/local/sbin")
    return Path(found) if found else None


def free_port() -> int:
    """Return a TCP port of loopback that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Orthanc:
    """An Orthanc process with its own folder and ports; it can be stopped and started again with both.

    `options` override single keys of the generated configuration.
    """

    ae_title = "ORTHANC"
    host = "127.0.0.1"

    def __init__(
        self,
        folder: Path,
        *,
        node: NodeAddress | None = None,
        routing: Routing = Routing.NONE,
        options: Mapping[str, object] | None = None,
    ) -> None:
        self.folder = folder.absolute()  # the process gets it as its working folder
        self.port = free_port()
        self.http_port = free_port()
        self.rest = OrthancRest(port=self.http_port)
        self._node = node
        self._routing = routing
        self._options = dict(options or {})
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log_path(self) -> Path:
        """Where Orthanc's own log goes."""
        return self.folder / "orthanc.log"

    @property
    def pid(self) -> int | None:
        """The process's number while it runs."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Start Orthanc and wait until its REST API answers.

        Raises:
            PeerError: Orthanc is not installed, or does not come up.
        """
        program = find_orthanc()
        if program is None:
            raise PeerError(
                "Orthanc is not installed; `apt-get install orthanc` brings it on Debian and Ubuntu"
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        configuration_path = self.folder / "orthanc.json"
        configuration_path.write_text(json.dumps(self._configuration(), indent=2))
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - a program we looked up, our own argument
                [program, configuration_path],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
            )
        self._wait_until_up(self._process)

    def stop(self) -> None:
        """Stop Orthanc and wait for its end; harmless when it does not run."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _wait_until_up(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self.rest.is_up():
            if process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                last_lines = self.log_path.read_text(errors="replace").splitlines()[-5:]
                raise PeerError("Orthanc does not come up; the end of its log:\n" + "\n".join(last_lines))
            time.sleep(0.05)

    def _configuration(self) -> dict[str, object]:
        """Build Orthanc's configuration (keys as in Orthanc 1.10, see /etc/orthanc/orthanc.json)."""
        node = self._node
        script = SCRIPTS.get(self._routing)
        return {
            "Name": "dae-pacs demo",
            "StorageDirectory": str(self.folder / "storage"),
            "IndexDirectory": str(self.folder / "index"),
            "TemporaryDirectory": str(self.folder),
            "LuaScripts": [str(Path(__file__).with_name(script))] if script else [],
            "Plugins": [],
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False,
            "HttpPort": self.http_port,
            "DicomAet": self.ae_title,
            "DicomPort": self.port,
            "DicomModalities": {NODE_ALIAS: [node.ae_title, node.host, node.port]} if node else {},
            "UnknownSopClassAccepted": True,
            "DicomScpTimeout": 30,
            "DicomScuTimeout": 10,
            # A modality's association that a Lua script opened lingers this long; 5 s is Orthanc's default.
            "DicomAssociationCloseDelay": 1,
            "MaximumPduLength": 131072,
            "TcpNoDelay": True,
            "StableAge": 1,
            "ConcurrentJobs": 2,
            "JobsHistorySize": 1000,
            # The archive of a demo: what matters is kept by the node under test.
            "SyncStorageArea": False,
            **self._options,
        }
