"""STOW-RS into a running node: what is kept, what is refused, and that nothing is left of a broken upload."""

import io
import json
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from dicomweb_client import DICOMwebClient
from dicomweb_client.session_utils import create_session_from_user_pass
from pydicom import Dataset

from dae_pacs import part10
from dae_pacs.demo.orthanc import Orthanc, find_orthanc
from dae_pacs.demo.phantoms import Study, ct_series
from dae_pacs.dicomweb import multipart
from dae_pacs.dicomweb.multipart import Part
from dae_pacs.spool.states import InstanceStatus

BOUNDARY = "b0undary"
CONFIGURATION = """
[node]
accept = "anyone"
port = 0
quiet_s = 0.3
minimum_free_mb = 0
max_object_mb = 50

[web]
port = 0
request_timeout_s = 2

[[rules]]
name = "by account"
when = { CallingAETitle = "operator" }
action = "keep"

[[rules]]
name = "everything"
action = "keep"
"""
PASSWORD = "correct horse battery staple"


@pytest.fixture
def made() -> list[Dataset]:
    """Three slices of a new study."""
    return ct_series(Study(), slices=3, size=32)


@pytest.fixture
def web(console: Any) -> Iterator[httpx.Client]:
    url = f"{console.url}/dicom-web"
    with httpx.Client(base_url=url, auth=("operator", PASSWORD), timeout=60) as client:
        yield client


def file_of(ds: Dataset) -> bytes:
    buffer = io.BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def message(files: Sequence[bytes], kind: str = "application/dicom") -> bytes:
    return b"".join(multipart.write([Part(kind, [file]) for file in files], BOUNDARY))


def headers(kind: str = "application/dicom", **more: str) -> dict[str, str]:
    return {"Content-Type": multipart.related(kind, BOUNDARY), "Accept": "application/dicom+json"} | more


def post(web: httpx.Client, content: Any, path: str = "/studies", **more: str) -> httpx.Response:
    return web.post(path, content=content, headers=headers(**more))


def reasons(answer: httpx.Response) -> list[int]:
    found: dict[str, Any] = answer.json()
    return [item["00081197"]["Value"][0] for item in found.get("00081198", {}).get("Value", [])]


def until(true: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + 60
    while not (found := true()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
    return found


def left(console: Any) -> list[Path]:
    return [path for path in console.node.files.incoming.iterdir() if path.suffix == ".upload"]


def test_objects_are_kept_with_their_account_as_the_caller(
    console: Any, web: httpx.Client, made: list[Dataset]
) -> None:
    study = made[0].StudyInstanceUID
    answer = post(web, message([file_of(ds) for ds in made]), f"/studies/{study}")
    assert answer.status_code == 200, answer.text
    said = answer.json()
    assert said["00081190"]["Value"] == [f"{console.url}/dicom-web/studies/{study}"]
    kept = [item["00081155"]["Value"][0] for item in said["00081199"]["Value"]]
    assert kept == [ds.SOPInstanceUID for ds in made]
    instance = console.node.ledger.received(made[0].SOPInstanceUID)
    assert (instance.status, instance.rule) == (InstanceStatus.PASSED_OVER, "by account") or instance.rule
    assert instance.rule == "by account"
    assert left(console) == []


def test_dicomweb_client_stores(console: Any, made: list[Dataset]) -> None:
    session = create_session_from_user_pass("operator", PASSWORD)
    client = DICOMwebClient(f"{console.url}/dicom-web", session=session)
    said = client.store_instances(made)
    assert len(said.ReferencedSOPSequence) == 3
    assert all(console.node.ledger.received(ds.SOPInstanceUID) for ds in made)


@pytest.mark.pacs
def test_orthanc_sends_by_its_plug_in(console: Any, made: list[Dataset], tmp_path: Path) -> None:
    plugin = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
    if find_orthanc() is None or not plugin.exists():
        pytest.skip("Debian's orthanc-dicomweb is not installed")
    server = {"Url": f"{console.url}/dicom-web/", "Username": "operator", "Password": PASSWORD}
    options = {"Plugins": [str(plugin)], "DicomWeb": {"Enable": True, "Servers": {"node": server}}}
    with Orthanc(tmp_path / "orthanc", options=options) as orthanc:
        for ds in made:
            orthanc.rest.upload(file_of(ds))
        (study,) = orthanc.rest.studies()
        orthanc.rest.post(
            "/dicom-web/servers/node/stow", json.dumps({"Resources": [study], "Synchronous": True})
        )
    assert all(console.node.ledger.received(ds.SOPInstanceUID) for ds in made)


def test_answer_comes_as_xml_where_that_is_wanted(web: httpx.Client, made: list[Dataset]) -> None:
    answer = post(web, message([file_of(made[0])]), Accept="application/dicom+xml")
    assert answer.headers["content-type"] == "application/dicom+xml"
    assert f'<Value number="1">{made[0].SOPInstanceUID}</Value>' in answer.text
    assert post(web, b"", Accept="text/csv").status_code == 406


def test_strangers_and_viewers_store_nothing(console: Any, made: list[Dataset]) -> None:
    content = message([file_of(made[0])])
    url = f"{console.url}/dicom-web/studies"
    assert httpx.post(url, content=content, headers=headers()).status_code == 401
    wrong = httpx.post(url, content=content, headers=headers(), auth=("operator", "wrong"))
    assert wrong.status_code == 401
    viewer = httpx.post(url, content=content, headers=headers(), auth=("viewer", PASSWORD))
    assert viewer.status_code == 403
    assert console.node.ledger.received(made[0].SOPInstanceUID) is None


def test_repeat_is_harmless_and_other_bytes_under_a_uid_are_set_apart(
    console: Any, web: httpx.Client, made: list[Dataset]
) -> None:
    whole = file_of(made[0])
    assert post(web, message([whole])).status_code == 200
    assert post(web, message([whole])).status_code == 200
    answer = post(web, message([whole[:-2] + b"xx"]))
    assert (answer.status_code, reasons(answer)) == (409, [0x0111])
    assert console.node.ledger.counts()["instances"]["received quarantined"] >= 1


def test_object_of_another_study_than_the_url_is_refused(
    console: Any, web: httpx.Client, made: list[Dataset]
) -> None:
    answer = post(web, message([file_of(made[0])]), "/studies/1.2.3")
    assert (answer.status_code, reasons(answer)) == (409, [0xA901])
    assert console.node.ledger.received(made[0].SOPInstanceUID) is None
    assert post(web, message([file_of(made[0])]), "/studies/not-a-uid").status_code == 400
    assert left(console) == []


def test_each_object_has_its_own_answer(console: Any, web: httpx.Client, made: list[Dataset]) -> None:
    cut_short = file_of(made[1])[:-100]
    answer = post(web, message([file_of(made[0]), cut_short, b"no DICOM", b""]))
    assert answer.status_code == 202
    assert reasons(answer) == [0xC000]
    others = answer.json()["0008119A"]["Value"]
    assert [item["00081197"]["Value"] for item in others] == [[0xC000], [0xC000]]
    assert console.node.ledger.received(made[1].SOPInstanceUID) is None
    assert left(console) == []


@pytest.mark.parametrize(
    ("content", "kind", "status", "words"),
    [
        (b"rubbish", None, 400, "closing delimiter"),
        (b"", None, 400, "closing delimiter"),
        (b"\r\n--b0undary--", None, 400, "no object"),
        (b"--b0undary\r\nno header\r\n\r\n", None, 400, "is no header"),
        (b"--b0undary\r\n\r\nhalf", None, 400, "cut off"),
        (b"x", "multipart/related; type=application/dicom", 400, "names no boundary"),
        (b"x", "application/dicom", 415, "multipart/related"),
        (b"x", 'multipart/related; type="application/dicom+json"; boundary=x', 415, "whole Part 10"),
        (b"x", "", 400, "media type"),
    ],
)
def test_broken_message_is_refused_in_words(
    console: Any, web: httpx.Client, content: bytes, kind: str | None, status: int, words: str
) -> None:
    more = {} if kind is None else {"Content-Type": kind}
    answer = post(web, content, **more)
    assert answer.status_code == status
    assert words in answer.text
    assert left(console) == []


def test_message_cut_off_behind_an_object_tells_of_both(
    console: Any, web: httpx.Client, made: list[Dataset]
) -> None:
    content = message([file_of(made[0]), file_of(made[1])])[:-400]
    answer = post(web, content)
    assert answer.status_code == 202
    assert console.node.ledger.received(made[0].SOPInstanceUID) is not None
    assert console.node.ledger.received(made[1].SOPInstanceUID) is None
    assert left(console) == []


def test_part_that_is_no_object_is_refused_alone(web: httpx.Client, made: list[Dataset]) -> None:
    answer = post(web, message([file_of(made[0])], kind="image/jpeg"))
    assert (answer.status_code, reasons(answer)) == (409, [0xC000])


def zeros(ds: Dataset, megabytes: int) -> Iterator[bytes]:
    """A message with one object whose pixel data are zeros, megabyte by megabyte."""
    meta = part10.FileMeta(ds.SOPClassUID, ds.SOPInstanceUID, "1.2.840.10008.1.2.1")
    yield b"--b0undary\r\nContent-Type: application/dicom\r\n\r\n" + part10.encode(meta)
    for _ in range(megabytes):
        yield bytes(1_000_000)
    yield b"\r\n--b0undary--"


def test_object_beyond_the_bound_is_refused_and_the_next_one_is_taken(
    console: Any, web: httpx.Client, made: list[Dataset]
) -> None:
    answer = post(web, zeros(made[0], 60))
    assert (answer.status_code, reasons(answer)) == (503, [0xA700])
    assert int(answer.headers["retry-after"]) > 0
    assert left(console) == []
    assert post(web, message([file_of(made[1])])).status_code == 200


def rss_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1000


def test_large_upload_takes_no_memory(console: Any, web: httpx.Client, made: list[Dataset]) -> None:
    post(web, zeros(made[0], 1))
    before = rss_mb(console.web.pid), rss_mb(os.getpid())
    assert post(web, zeros(made[0], 49)).status_code == 409  # zeros are no data set
    assert rss_mb(console.web.pid) - before[0] < 20
    assert rss_mb(os.getpid()) - before[1] < 20


def test_thousand_parts_come_in_one_message(console: Any, web: httpx.Client, made: list[Dataset]) -> None:
    whole = file_of(made[0])
    answer = post(web, message([whole] * 1000))
    assert answer.status_code == 200
    assert len(answer.json()["00081199"]["Value"]) == 1000
    assert left(console) == []


def open_request(console: Any, body: bytes) -> socket.socket:
    """Begin a request that announces more than it sends."""
    host, port = console.url.removeprefix("http://").split(":")
    connection = socket.create_connection((host, int(port)))
    head = [
        "POST /dicom-web/studies HTTP/1.1",
        f"Host: {host}:{port}",
        "Authorization: Basic b3BlcmF0b3I6Y29ycmVjdCBob3JzZSBiYXR0ZXJ5IHN0YXBsZQ==",
        f'Content-Type: multipart/related; type="application/dicom"; boundary={BOUNDARY}',
        "Content-Length: 100000000",
    ]
    connection.sendall("\r\n".join([*head, "", ""]).encode() + body)
    return connection


def test_sender_that_stops_is_left_after_a_while(console: Any, made: list[Dataset]) -> None:
    body = message([file_of(made[0])])[:-300] + bytes(300_000)
    with open_request(console, body) as connection:
        until(lambda: left(console))
        connection.settimeout(20)
        assert b"408" in connection.recv(4096)
    assert until(lambda: not left(console))


def test_sender_that_goes_away_leaves_nothing(console: Any, made: list[Dataset]) -> None:
    connection = open_request(console, message([file_of(made[0])])[:-300] + bytes(300_000))
    until(lambda: left(console))
    connection.close()
    assert until(lambda: not left(console))
    assert console.node.ledger.received(made[0].SOPInstanceUID) is None


def test_full_disk_is_told_as_out_of_resources(start_console: Any, made: list[Dataset]) -> None:
    console = start_console(CONFIGURATION.replace("minimum_free_mb = 0", "minimum_free_mb = 1000000000"))
    answer = httpx.post(
        f"{console.url}/dicom-web/studies",
        content=message([file_of(made[0])]),
        headers=headers(),
        auth=("operator", PASSWORD),
    )
    assert (answer.status_code, reasons(answer)) == (503, [0xA700])
    assert left(console) == []


def test_killed_console_leaves_nothing_half_kept(start_console: Any, made: list[Dataset]) -> None:
    console = start_console(CONFIGURATION)
    with open_request(console, message([file_of(made[0])])[:-300] + bytes(300_000)):
        until(lambda: left(console))
        first = console.web.pid
        os.kill(first, signal.SIGKILL)
        until(lambda: not left(console))
    assert console.node.ledger.received(made[0].SOPInstanceUID) is None
    until(lambda: console.web.keep_running() or (console.web.pid not in (None, first) and console.web.url))
    answer = httpx.post(
        f"{console.url}/dicom-web/studies",
        content=message([file_of(made[0])]),
        headers=headers(),
        auth=("operator", PASSWORD),
        timeout=60,
    )
    assert answer.status_code == 200
