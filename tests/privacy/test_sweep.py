"""A real node gets objects whose values give themselves away, in every way that objects can go wrong.

Afterwards not one of these values is in its output, its log, its answers, the names of its files, or what
`ps` shows; and nothing of what a stranger sent has forged a line.
"""

import json
import os
import re
import signal
import stat
import struct
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

import psutil
import pytest
from pydicom import Dataset, dcmread
from pynetdicom import AE, evt

from dae_pacs.demo.node_process import NodeProcess
from dae_pacs.demo.orthanc import free_port
from dae_pacs.demo.phantoms import Study, ct_series
from dae_pacs.spool.files import LEDGER_NAME
from dae_pacs.spool.ledger import Ledger

sys.path.insert(0, str(Path(__file__).parents[1] / "faults"))  # for that folder's own modules
sys.path.insert(0, str(Path(__file__).parents[1] / "audit"))

from standard import check_event
from stranger import CT, EXPLICIT, Stranger, association_request, data_set_of

FAULTS = Path(__file__).parents[1] / "faults"

ROOT_UID = "1.2.826.0.1.99887766"
TELLTALES = {
    "PatientName": "Telltale^Nora",
    "PatientID": "QZX-PID-4711",
    "PatientBirthDate": "19040229",
    "AccessionNumber": "QZXACC0815",
    "StudyInstanceUID": f"{ROOT_UID}.1",
    "SeriesInstanceUID": f"{ROOT_UID}.2",
    "SeriesDescription": "QZXseries",
    "StudyDescription": "QZXstudy",
    "ReferringPhysicianName": "QZXdoctor^Dora",
    "InstitutionName": "QZXhospital",
    "PatientComments": "QZXremark",
    "StudyID": "QZXid",
    "PatientAddress": "QZXstreet",
}
MARKS = [b"Telltale", b"QZX", b"19040229", ROOT_UID.encode()]
"""What gives the values away; nothing of ours has it. Also in the forms of a UTF-16 or an escaped text."""
SHOWN_BY_STATUS = {
    "PatientID",
    "AccessionNumber",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "SeriesDescription",
}
CONFIGURATION = """
[node]
accept = "anyone"
ae_title = "DAE_PACS"
port = {port}
spool = "spool"
minimum_free_mb = 0
quiet_s = 0.2
job_attempts = 1

[log]
level = "DEBUG"
{log}

[audit]
file = "audit/audit.xml"

[peers.chatty]
ae_title = "CHAQZXY"
host = "127.0.0.1"
port = {chatty}

[peers.gone]
ae_title = "GONE"
host = "127.0.0.1"
port = {gone}

[[rules]]
name = "all"
destinations = ["chatty", "gone"]
forward_original = true
"""


@dataclass
class Sweep:
    """A node, and all that it said on the wire."""

    node: NodeProcess
    comments: list[str] = field(default_factory=list)

    def dial(self, **request: object) -> Stranger:
        return Stranger(self.node.address.port).associate(**request)

    def store(self, uid: str, data: bytes, **request: object) -> int:
        reply = self.dial(**request).store(uid, data)
        self.comments.append(reply.comment)
        return reply.status

    def ledger(self) -> Ledger:
        return Ledger(self.node.folder / "spool" / LEDGER_NAME, verify=False)

    def until(self, true: Callable[[Ledger], bool], timeout_s: float = 90) -> None:
        deadline = time.monotonic() + timeout_s
        with self.ledger() as ledger:
            while not true(ledger):
                assert time.monotonic() < deadline, "waited in vain"
                time.sleep(0.1)

    def processes(self) -> list[psutil.Process]:
        root = psutil.Process(self.node.pid)
        return [root, *root.children(recursive=True)]

    def status(self, *arguments: str) -> str:
        command = [sys.executable, "-m", "dae_pacs", "status", "--config", str(self.node.config_path)]
        ran = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stderr
        return ran.stdout + ran.stderr


def telltale(number: int, **changed: object) -> Dataset:
    """Make a CT slice that says everything about its patient."""
    ds = ct_series(Study(), slices=1, size=32)[0]
    for keyword, value in TELLTALES.items():
        setattr(ds, keyword, value)
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"{ROOT_UID}.3.{number}"
    ds.InstanceNumber = number
    for keyword, value in changed.items():
        setattr(ds, keyword, value)
    return ds


def raw(group: int, number: int, vr: bytes, value: bytes) -> bytes:
    """Write one element by hand, whatever its value."""
    return struct.pack("<HH2sH", group, number, vr, len(value)) + value


def _push_everything(sweep: Sweep) -> None:
    """Send what is good and what is wrong in each way that has words of its own."""
    good = [telltale(number, SeriesInstanceUID=f"{ROOT_UID}.2") for number in (1, 2)]
    for ds in good:
        assert sweep.store(str(ds.SOPInstanceUID), data_set_of(ds)) == 0
    whole = data_set_of(telltale(3))
    uid = f"{ROOT_UID}.3.3"
    wrong = [
        (uid, whole[: whole.index(b"QZXhospital") + 4]),  # cut inside a value
        (uid, b"Telltale^Nora QZX-PID-4711 19040229" * 40),  # no data set
        (f"{ROOT_UID}.3.999", whole),  # command and data set name two objects
        (f"{ROOT_UID}.3.1", data_set_of(telltale(1, PatientName="Telltale^Other"))),  # another of that UID
        ("../../QZXpath", whole),
        ("1.2.3\n\x1b[31mQZXforged", whole),
        ("QZX%s%n{0}<script>", whole),
        ("", whole),
    ]
    for command_uid, data in wrong:
        assert sweep.store(command_uid, data) != 0, (command_uid, data[:20])
    sweep.store(uid, whole.replace(b"PN", b"ZZ", 1))  # a value representation that there is not
    # Kept, and found to be wrong by the worker; each in a series, and so in a job, of its own.
    for number, changed in enumerate(
        (
            {"PixelData": b"QZX" * 8},
            {"Rows": 31},
            {"BitsStored": 40},
            {"PhotometricInterpretation": "QZXgrey"},
            {"SpecificCharacterSet": "QZXcharset"},
            {"ImageType": ["QZXtype"]},
        ),
        start=20,
    ):
        ds = telltale(number, SeriesInstanceUID=f"{ROOT_UID}.2.{number}", **changed)
        sweep.store(str(ds.SOPInstanceUID), data_set_of(ds))
    slope = raw(0x0028, 0x1053, b"DS", b"QZXslope ")
    for number, (before, after) in enumerate(
        [
            (raw(0x0028, 0x1053, b"DS", b"1.0 "), slope),
            (raw(0x0028, 0x1053, b"DS", b"1 "), slope),
            (raw(0x0008, 0x0020, b"DA", b"20260101"), raw(0x0008, 0x0020, b"DA", b"QZXdate  ")),
        ],
        start=40,
    ):
        ds = telltale(number, SeriesInstanceUID=f"{ROOT_UID}.2.{number}", StudyDate="20260101")
        sweep.store(str(ds.SOPInstanceUID), data_set_of(ds).replace(before, after))
    for calling in (b"QZX\x1b[31m<b>%s", b"QZX\nFORGED x=1", b"QZX\\x", b"QZX&<script>"):
        stranger = Stranger(sweep.node.address.port)
        stranger.send(association_request(calling=calling))
        stranger.close()
    Stranger(sweep.node.address.port).send(b"GET /Telltale^Nora HTTP/1.1\r\n\r\n").close()


def _chatty_pacs() -> tuple[AE, int]:
    """A PACS that refuses with the patient's name in its comment."""

    def refuse(event: evt.Event) -> Dataset:
        arrived = dcmread(BytesIO(event.encoded_dataset()))
        answer = Dataset()
        answer.Status = 0xC123
        answer.ErrorComment = f"QZXsaid {arrived.PatientName}"[:64]
        return answer

    ae = AE(ae_title="CHAQZXY")
    ae.add_supported_context(CT, [EXPLICIT])
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, refuse)])
    return ae, int(server.socket.getsockname()[1])


@pytest.fixture(scope="module", params=["text", "json"])
def sweep(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sweep]:
    """A node that has been through all of it, still running."""
    folder = tmp_path_factory.mktemp(request.param)
    ae, chatty = _chatty_pacs()
    log = "" if request.param == "text" else 'format = "json"\nfile = "logs/node.json"'
    text = CONFIGURATION.format(port=free_port(), chatty=chatty, gone=free_port(), log=log)
    port = int(re.search(r"port = (\d+)", text)[1])
    program = (str(FAULTS / "light_node.py"),)
    node = NodeProcess(folder, text, ae_title="DAE_PACS", port=port, program=program)
    old = os.umask(0o022)
    try:
        with node:
            swept = Sweep(node)
            with warnings.catch_warnings(action="ignore"):  # pydicom's, about the values that we make wrong
                _push_everything(swept)
            swept.until(_is_through)
            _kill_the_worker(swept)
            yield swept
        first, *_, last = (folder / "audit" / "audit.xml").read_bytes().splitlines()
        assert (b'"110120"' in first, b'"110121"' in last) == (True, True), "from the start to the stop"
    finally:
        os.umask(old)
        ae.shutdown()
        assert threading.active_count() < 50


def _is_through(ledger: Ledger) -> bool:
    jobs, deliveries = ledger.jobs(), ledger.deliveries(limit=1000)
    is_at_rest = bool(jobs) and all(job.status in {"done", "failed"} for job in jobs)
    refused = [found for found in deliveries if found.destination == "chatty"]
    missed = [found for found in deliveries if found.destination == "gone"]
    return is_at_rest and all(found.error for found in refused) and any(found.error for found in missed)


def _kill_the_worker(sweep: Sweep) -> None:
    """Have the worker end as a bug in a codec would have it, with all it held in its memory."""
    for process in sweep.processes()[1:]:
        if "spawn_main" in " ".join(process.cmdline()):
            process.send_signal(signal.SIGSEGV)
            process.wait(20)


def marks_in(content: bytes) -> list[bytes]:
    """Find what gives a value away, in any of the forms in which it could stand there."""
    upper = content.upper()
    forms = [form for mark in MARKS for form in (mark, mark.decode().encode("utf-16-le"))]
    return [form for form in forms if form.upper() in upper]


def logged(sweep: Sweep) -> bytes:
    files = [sweep.node.log_path, *(sweep.node.folder / "logs").rglob("*")]
    return b"".join(path.read_bytes() for path in files if path.is_file())


def test_the_sweep_would_see_a_leak() -> None:
    assert marks_in(b"x TELLTALE^NORA y")
    assert marks_in(f"{ROOT_UID}.7".encode())
    assert not marks_in(b"association accepted calling_ae=GANTRY")


def test_the_objects_went_every_way(sweep: Sweep) -> None:
    with sweep.ledger() as ledger:
        counts = ledger.counts()
    assert counts["jobs"].get("done", 0) >= 1
    assert counts["jobs"].get("failed", 0) >= 1
    assert counts["instances"].get("received quarantined", 0) == 1
    assert counts["deliveries"].get("dead", 0) >= 2
    assert counts["deliveries"].get("waiting", 0) + counts["deliveries"].get("sending", 0) >= 2
    log = logged(sweep).decode()
    for words in ("object refused", "object not kept", "conflicting object quarantined", "worker lost"):
        assert words in log, words


def _without_callers(log: bytes) -> bytes:
    """Take out AE titles, which are no patient's data; how they are written is for another test."""
    return re.sub(rb'(calling_ae=|"calling_ae": )("(?:[^"\\]|\\.)*"|\S+)', b"", log)


def test_neither_output_nor_log_tells_of_a_patient(sweep: Sweep) -> None:
    log = _without_callers(logged(sweep))
    found = [line for line in log.splitlines() if marks_in(line)]
    assert found == []


def test_no_answer_tells_of_a_patient(sweep: Sweep) -> None:
    assert [comment for comment in sweep.comments if marks_in(comment.encode())] == []
    assert any(sweep.comments)


def test_no_file_is_named_after_a_patient_or_a_uid(sweep: Sweep) -> None:
    names = [str(path.relative_to(sweep.node.folder)) for path in sweep.node.folder.rglob("*")]
    assert [name for name in names if marks_in(name.encode(errors="surrogateescape"))] == []


def test_no_process_shows_a_patient(sweep: Sweep) -> None:
    shown = b""
    for process in sweep.processes():
        for name in ("cmdline", "environ", "comm"):
            shown += Path(f"/proc/{process.pid}/{name}").read_bytes()
        for task in Path(f"/proc/{process.pid}/task").iterdir():
            shown += (task / "comm").read_bytes()
    assert shown
    assert marks_in(shown) == []


def test_no_stranger_forged_a_line(sweep: Sweep) -> None:
    content = logged(sweep)
    assert b"\x1b" not in content
    stamp = re.compile(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d (DEBUG|INFO|WARNING|ERROR|CRITICAL)"
    )
    for line in sweep.node.log_path.read_text().splitlines():
        assert stamp.match(line), line
    for path in (sweep.node.folder / "logs").rglob("*.json"):
        for line in path.read_text().splitlines():
            assert json.loads(line)["level"]


def test_the_audit_trail_has_the_identifiers_and_no_names(sweep: Sweep) -> None:
    path = sweep.node.folder / "audit" / "audit.xml"
    deadline = time.monotonic() + 20
    while b"QZX" not in (content := path.read_bytes()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    roots = [check_event(line) for line in content.splitlines()]
    events = {root.find("EventIdentification/EventID").attrib["csd-code"] for root in roots}
    assert {"110100", "110102", "110104"} <= events
    for name in ("PatientID", "StudyInstanceUID"):
        assert TELLTALES[name].encode() in content
    hidden = [value for name, value in TELLTALES.items() if name not in {"PatientID", "StudyInstanceUID"}]
    assert [value for value in hidden if value.encode() in content] == []


def test_status_shows_identifiers_to_the_administrator_and_no_names(sweep: Sweep) -> None:
    study = TELLTALES["StudyInstanceUID"]
    for arguments in ((), ("--json",), ("--study", study), ("--study", study, "--json")):
        shown = sweep.status(*arguments)
        assert "\x1b" not in shown
        hidden = [value for name, value in TELLTALES.items() if name not in SHOWN_BY_STATUS]
        # What a destination said is shown as it is, and this one said the patient's name.
        rest = re.sub(r"QZXsaid[^│\n]*", "", shown)
        assert [value for value in hidden if value in rest] == []
    assert TELLTALES["PatientID"] in sweep.status()


def test_everything_in_the_spool_and_the_logs_is_its_owner_s_alone(sweep: Sweep) -> None:
    spool = sweep.node.folder / "spool"
    open_to_others = [
        str(path)
        for folder in (spool, sweep.node.folder / "logs", sweep.node.folder / "audit")
        for path in (folder, *folder.rglob("*"))
        if path.exists() and stat.S_IMODE(path.lstat().st_mode) & 0o077
    ]
    assert open_to_others == []


def test_no_process_of_the_node_dumps_its_memory(sweep: Sweep) -> None:
    for process in sweep.processes():
        limits = Path(f"/proc/{process.pid}/limits").read_text()
        assert re.search(r"Max core file size +0 +0 ", limits), process.cmdline()
        kinds_of_pages = Path(f"/proc/{process.pid}/coredump_filter").read_text()
        assert int(kinds_of_pages, 16) == 0, process.cmdline()
    assert list(sweep.node.folder.rglob("core*")) == []
