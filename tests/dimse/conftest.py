"""Real peers on loopback: our SCP over plain files, and DCMTK's storescp."""

import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pydicom.data import get_testdata_file

from dae_pacs.dimse import scp, scu
from dae_pacs.dimse.entrance import Entrance
from dae_pacs.errors import PeerError

CALLING_AE = "TESTER"


class PlainFile:
    """A spool file as the SCP sees it: a file on disk that can be dropped."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("wb", buffering=0)
        self.first = b""

    def write(self, data: bytes | memoryview) -> None:
        self._file.write(data)
        self.first = self.first or bytes(data)

    def close(self) -> None:
        self._file.close()

    def discard(self) -> None:
        self.close()
        self.path.unlink(missing_ok=True)


@dataclass
class Node:
    """A running SCP and what it took."""

    scp: scp.StorageSCP
    folder: Path
    kept: list[scp.Incoming] = field(default_factory=list)
    events: list[str] = field(default_factory=list)

    @property
    def peer(self) -> scu.PeerAddress:
        return scu.PeerAddress("DAE_PACS", "127.0.0.1", self.scp.port, 5.0, 5.0)

    def files(self) -> list[Path]:
        return sorted(self.folder.iterdir())

    def wait_for(self, event: str, *, timeout_s: float = 10.0) -> None:
        deadline = time.monotonic() + timeout_s
        while event not in self.events:
            if time.monotonic() > deadline:
                raise TimeoutError(f"no {event!r} within {timeout_s} s, but {self.events}")
            time.sleep(0.01)


StartNode = Callable[..., Node]


@pytest.fixture
def start_node(tmp_path: Path) -> Iterator[StartNode]:
    """Start SCPs: `start_node(keep=..., open_file=..., max_associations=1)`."""
    with ExitStack() as running:

        def start(
            *,
            keep: Callable[[scp.Incoming], scp.Answer] | None = None,
            open_file: Callable[[], scp.SpoolFile] | None = None,
            association_ended: Callable[[str], None] | None = None,
            entrance: Entrance | None = None,
            **settings: Any,
        ) -> Node:
            folder = tmp_path / f"node-{time.monotonic_ns()}"
            folder.mkdir()

            def open_next() -> PlainFile:
                return PlainFile(folder / f"{time.monotonic_ns()}.dcm")

            def keep_it(incoming: scp.Incoming) -> scp.Answer:
                node.events.append("kept")
                node.kept.append(incoming)
                answer = keep(incoming) if keep else scp.Answer(0)
                incoming.file.close()
                return answer

            node = Node(
                scp.StorageSCP(
                    scp.ScpSettings(**{"ae_title": "DAE_PACS", "port": 0} | settings),
                    open_file=open_file or open_next,
                    keep=keep_it,
                    association_ended=association_ended or (lambda _association: node.events.append("ended")),
                    entrance=entrance,
                ),
                folder,
            )
            node.scp.start()
            running.callback(node.scp.stop)
            return node

        yield start


@pytest.fixture
def node(start_node: StartNode) -> Node:
    """One SCP that keeps everything."""
    return start_node()


@dataclass
class Storescp:
    """A running DCMTK storescp and the folder that it writes to."""

    peer: scu.PeerAddress
    folder: Path

    def data_sets(self) -> list[bytes]:
        return [data_set_of(path) for path in sorted(self.folder.iterdir())]


StartStorescp = Callable[..., Storescp]


@pytest.fixture
def start_storescp(tmp_path: Path) -> Iterator[StartStorescp]:
    """Start DCMTK storescps: `start_storescp("--accept-all")`; they write what they get, bit by bit."""
    program = shutil.which("storescp")
    if program is None:
        pytest.skip("Debian's dcmtk is not installed")
    started: list[subprocess.Popen[bytes]] = []

    def start(*options: str, answers_echo: bool = True) -> Storescp:
        folder = tmp_path / f"storescp-{len(started)}"
        folder.mkdir()
        port = free_port()
        command = [program, "--bit-preserving", "--output-directory", str(folder), *options, str(port)]
        started.append(
            subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=tmp_path)
        )
        peer = scu.PeerAddress("STORESCP", "127.0.0.1", port, 5.0, 5.0)
        _await_peer(peer, answers_echo=answers_echo)
        return Storescp(peer, folder)

    yield start
    for process in started:
        process.terminate()
        process.wait(10)


def _await_peer(peer: scu.PeerAddress, *, answers_echo: bool) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            scu.echo(peer, calling_ae=CALLING_AE)
        except PeerError as error:
            if not answers_echo and "refused;" not in str(error):
                return
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


def free_port() -> int:
    """Return a port of loopback that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def data_set_of(path: Path) -> bytes:
    """Return a Part 10 file's data set, as raw bytes; found by the file meta's group length alone."""
    content = path.read_bytes()
    start = 144 + int.from_bytes(content[140:144], "little")
    return content[start:]


@pytest.fixture
def data_set() -> Callable[[Path], bytes]:
    """Cut a Part 10 file down to its data set's raw bytes."""
    return data_set_of


@pytest.fixture
def sample() -> Callable[[str], Path]:
    """Find one of pydicom's own test files."""

    def find(name: str) -> Path:
        return Path(str(get_testdata_file(name)))

    return find


@pytest.fixture
def unused_port() -> int:
    """Return a port where nothing listens."""
    return free_port()
