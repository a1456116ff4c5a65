"""A node of its own process for the fuzzer: what it is told, what it answers, what it looks like after."""

import socket
import struct
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil
from grammar import Input
from stranger import Stranger, data_set_of, pdu, small_ct

from dae_pacs.demo.node_process import NodeProcess
from dae_pacs.demo.orthanc import free_port
from dae_pacs.dimse import scu
from dae_pacs.errors import PeerError
from dae_pacs.spool.ledger import Ledger

DEADLINE_S = 20.0
"""For the node to end a connection whose sender has ended: far above its own deadlines."""
SETTLE_S = 10.0
SPEAKERS = 4
SPARE_FILES = 8
SPARE_THREADS = 8
LIGHT = str(Path(__file__).with_name("light_node.py"))
PATIENT = "Phantom"
"""The name of every made-up patient: nothing of it may stand in a log."""
ALARMS = ("Traceback", "unexpected", "CRITICAL")

CONFIGURATION = """
[node]
accept = "anyone"
port = {port}
spool = "spool"
minimum_free_mb = 10
association_timeout_s = 5
pdu_timeout_s = 5
dimse_timeout_s = 5
network_timeout_s = 5
max_associations = 50
max_associations_per_address = 50

[log]
level = "DEBUG"

[[rules]]
name = "named"
when = {{ PatientName = "nobody", Rows = "1" }}
action = "keep"

[[rules]]
name = "everything"
action = "keep"
"""


class FuzzedNode:
    """The receiving side of a real node, with its worker at rest."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = free_port()
        configuration = CONFIGURATION.format(port=self._port)
        self._node = NodeProcess(
            folder, configuration, ae_title="DAE_PACS", port=self._port, program=(LIGHT,)
        )
        self._read_to = 0
        self.statuses: Counter[str] = Counter()
        self._stored: set[str] = set()

    def __enter__(self) -> Self:
        self._node.start()
        self._process = psutil.Process(self._node.pid)
        self._works()
        self._files, self._threads = self._process.num_fds(), self._process.num_threads()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._node.kill()

    def is_running(self) -> bool:
        """Tell whether the process is there."""
        return self._process.is_running() and self._process.status() != psutil.STATUS_ZOMBIE

    def resident_mb(self) -> float:
        """Give the receiving process's resident memory."""
        return float(self._process.memory_info().rss) / 1e6

    def say(self, batch: Sequence[tuple[str, Input]]) -> Iterator[tuple[str, Input, str]]:
        """Say inputs, several at a time; gives back those with which something is wrong."""
        with ThreadPoolExecutor(SPEAKERS) as speakers:
            for (name, given), trouble in zip(
                batch, speakers.map(lambda one: self._say(one[1]), batch), strict=True
            ):
                if trouble:
                    yield name, given, trouble

    def _say(self, given: Input) -> str:
        try:
            connection = socket.create_connection(("127.0.0.1", self._port), timeout=DEADLINE_S)
        except OSError as error:
            return f"no connection ({type(error).__name__})"
        with connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                for part in given.parts:
                    connection.sendall(part)
                if _end(connection, given.ending):
                    return ""
                answers = _read_to_end(connection)
            except TimeoutError:
                return "the connection hung"
            except OSError:
                return ""  # it was cut, as it deserved
        for status, uid in _store_responses(answers):
            self.statuses[f"{status:04X}"] += 1
            if status == 0 and uid:
                self._stored.add(uid)
        return ""

    def troubles(self) -> list[str]:
        """Look at the node between batches: its log, its files, and whether it still works."""
        found = self._alarms()
        if not self.is_running():
            return found
        deadline = time.monotonic() + SETTLE_S
        while (left := self._growth()) and time.monotonic() < deadline:
            time.sleep(0.05)
        found += left
        try:
            self._works()
        except (PeerError, OSError, EOFError, AssertionError) as error:
            found.append(f"no echo or no good object afterwards ({type(error).__name__})")
        return found

    def _growth(self) -> list[str]:
        found = []
        if (files := self._process.num_fds()) > self._files + SPARE_FILES:
            found.append(f"{files} open files, {self._files} at the start")
        if (threads := self._process.num_threads()) > self._threads + SPARE_THREADS:
            found.append(f"{threads} threads, {self._threads} at the start")
        if left := len(list((self._folder / "spool" / "incoming").iterdir())):
            found.append(f"{left} files left in incoming/")
        return found

    def _alarms(self) -> list[str]:
        with self._node.log_path.open(errors="replace") as log:
            log.seek(self._read_to)
            lines = log.read().splitlines()
            self._read_to = log.tell()
        found = [
            line[:300] if "Traceback" not in line else _told(lines[number + 1 :])
            for number, line in enumerate(lines)
            if any(alarm in line for alarm in ALARMS)
        ]
        return found + [f"a patient's name in the log: {line[:80]}" for line in lines if PATIENT in line][:1]

    def _works(self) -> None:
        scu.echo(scu.PeerAddress("DAE_PACS", "127.0.0.1", self._port, 5.0, 10.0), calling_ae="GOOD")
        ds = small_ct()
        stranger = Stranger(self._port).associate()
        assert stranger.store(str(ds.SOPInstanceUID), data_set_of(ds)).status == 0
        stranger.release()
        stranger.close()

    def end(self) -> list[str]:
        """Stop the node, and hold what it answered against what it holds."""
        code = self._node.stop()
        found = [f"the node ended with {code}"] if code else []
        with Ledger(self._folder / "spool" / "ledger.sqlite") as ledger:
            unknown = sum(ledger.received(uid) is None for uid in self._stored)
        if unknown:
            found.append(f"{unknown} objects answered with success are not in the ledger")
        return found + self._alarms()


def _told(lines: Sequence[str]) -> str:
    """Sum up a traceback: where it came from, and the exception's name without its words."""
    place = ""
    for line in lines:
        if not line.startswith(" "):
            return f"Traceback: {line.partition(':')[0]} at {place}"
        if "File" in line:
            place = line.strip()
    return f"Traceback at {place}"


def _end(connection: socket.socket, ending: str) -> bool:
    """End a conversation; True where nothing more can be read."""
    if ending == "reset":
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    if ending in {"reset", "close"}:
        return True
    if ending in {"release", "abort"}:
        connection.sendall(pdu(0x05 if ending == "release" else 0x07, bytes(4)))
    connection.shutdown(socket.SHUT_WR)
    return False


def _read_to_end(connection: socket.socket) -> bytes:
    """Read until the node closes.

    Raises:
        TimeoutError: it does not, within the deadline.
    """
    deadline = time.monotonic() + DEADLINE_S
    parts = []
    while part := connection.recv(65536):
        parts.append(part)
        if time.monotonic() > deadline:
            raise TimeoutError
    return b"".join(parts)


def _store_responses(answers: bytes) -> Iterator[tuple[int, str]]:
    """Find the C-STORE responses among the PDUs: their status and their SOP Instance UID."""
    position = 0
    while position + 6 <= len(answers):
        kind, length = struct.unpack_from(">BxI", answers, position)
        body = answers[position + 6 : position + 6 + length]
        position += 6 + length
        if kind != 0x04:
            continue
        values, rest = {}, body[6:]
        while len(rest) >= 8:
            _group, number, size = struct.unpack_from("<HHI", rest)
            values[number] = rest[8 : 8 + size]
            rest = rest[8 + size :]
        if values.get(0x0100) == b"\x01\x80" and 0x0900 in values:
            uid = values.get(0x1000, b"").rstrip(b"\0 ").decode("ascii", "replace")
            yield int.from_bytes(values[0x0900], "little"), uid
