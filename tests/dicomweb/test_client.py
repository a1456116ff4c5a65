"""Our user agent against a real Orthanc's DICOMweb plug-in, and against services that misbehave."""

import io
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from pydicom import dcmread

from dae_pacs.demo.orthanc import Orthanc
from dae_pacs.dicomweb.client import DicomWeb, Page, Service, Timeouts, ToStore, WebStatusError
from dae_pacs.dicomweb.json_model import text
from dae_pacs.dicomweb.part10_stream import Unwrapping
from dae_pacs.errors import PeerError, PeerGoneError, ProtocolError


def to_store(path: Path) -> ToStore:
    return ToStore(path.stat().st_size, lambda: [path.read_bytes()])


@contextmanager
def answering(answer: bytes, *, after: Callable[[socket.socket], object] | None = None) -> Iterator[str]:
    """Answer one request with these bytes, then close."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)
                if after:
                    after(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/dicom-web"
        thread.join(10)


@pytest.mark.pacs
def test_series_goes_to_orthanc_and_comes_back_as_it_was(web_orthanc: Orthanc, series: list[Path]) -> None:
    sent = [dcmread(path) for path in series]
    study, one = sent[0].StudyInstanceUID, sent[0].SeriesInstanceUID
    with DicomWeb(Service(f"http://127.0.0.1:{web_orthanc.http_port}/dicom-web/")) as pacs:
        answer = pacs.store([to_store(path) for path in series], study=study)
        stored = answer.stored
        assert answer.status == 200
        assert {entry.SOPInstanceUID for entry in stored} == {ds.SOPInstanceUID for ds in sent}
        assert all(entry.failure is None for entry in stored)
        (found,) = pacs.search("studies", {"StudyInstanceUID": study})
        assert text(found, "00100020") == "PHANTOM-1"
        assert text(found, "00100010") == "Phantom^Made Up"
        assert len(pacs.search("series", within=[study])) == 1
        assert len(pacs.search("instances", within=[study, one], page=Page(2, 1))) == 2
        assert len(pacs.metadata(study, one)) == 4
        came = {}
        with pacs.retrieve(study, one) as parts:
            for part in parts:
                unwrapping, data = Unwrapping(), b""
                for chunk in part.chunks:
                    data += unwrapping.feed(chunk)
                came[unwrapping.close().SOPInstanceUID] = data
    for path, ds in zip(series, sent, strict=True):
        whole = path.read_bytes()
        assert whole.endswith(came[ds.SOPInstanceUID])
        assert dcmread(io.BytesIO(whole)).SOPInstanceUID == ds.SOPInstanceUID


@pytest.mark.pacs
def test_what_is_not_there_is_told_by_its_status(web_orthanc: Orthanc) -> None:
    with DicomWeb(Service(f"http://127.0.0.1:{web_orthanc.http_port}/dicom-web")) as pacs:
        assert pacs.search("studies", {"PatientID": "nobody"}) == []
        with pytest.raises(WebStatusError, match="404") as error, pacs.retrieve("1.2.3") as parts:
            next(parts)
    assert error.value.status == 404


def test_service_that_is_down_is_told_in_words() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with (
        DicomWeb(Service(f"http://127.0.0.1:{port}")) as pacs,
        pytest.raises(PeerError, match="can't be reached"),
    ):
        pacs.search("studies")


def test_service_that_is_silent_is_left() -> None:
    done = threading.Event()
    with answering(b"", after=lambda _: done.wait(10)) as url:
        service = Service(url, timeouts=Timeouts(read_s=0.2))
        with DicomWeb(service) as pacs, pytest.raises(PeerGoneError, match="did not answer"):
            pacs.search("studies")
        done.set()


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n["])
def test_another_thread_can_cut_a_search_that_waits(answer: bytes) -> None:
    done, asked, errors = threading.Event(), threading.Event(), []

    def wait(_connection: socket.socket) -> None:
        asked.set()
        done.wait(30)

    with answering(answer, after=wait) as url, DicomWeb(Service(url)) as pacs:

        def search() -> None:
            for _ in range(2):
                try:
                    pacs.search("studies")
                except PeerGoneError as error:
                    errors.append(str(error))

        thread = threading.Thread(target=search, daemon=True)
        thread.start()
        asked.wait(10)
        pacs.cut()
        thread.join(20)  # the service may be silent for 60 s
        done.set()
        assert not thread.is_alive()
        assert "cut by this node" in errors[1]
        pacs.cut()


def test_answer_that_trickles_is_left() -> None:
    def trickle(connection: socket.socket) -> None:
        with suppress(OSError):
            for _ in range(200):
                connection.sendall(b" ")
                time.sleep(0.05)

    endless = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"
    with answering(endless, after=trickle) as url:
        service = Service(url, timeouts=Timeouts(whole_s=0.2))
        with DicomWeb(service) as pacs, pytest.raises(PeerGoneError, match=r"not whole within 0\.2 s"):
            pacs.search("studies")


BUSY = b"HTTP/1.1 503 Busy\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n"
ELSEWHERE = b"HTTP/1.1 302 Found\r\nLocation: http://evil/\r\nContent-Length: 0\r\n\r\n"
CUT_OFF = (
    b'HTTP/1.1 200 OK\r\nContent-Type: multipart/related; type="application/dicom"; boundary=x\r\n'
    b"Connection: close\r\n\r\n--x\r\n\r\nhalf an object"
)


def test_busy_service_says_when_to_come_again() -> None:
    with (
        answering(BUSY) as url,
        DicomWeb(Service(url)) as pacs,
        pytest.raises(WebStatusError, match="no resources for now") as error,
    ):
        pacs.search("studies")
    assert error.value.retry_after_s == 7
    assert error.value.is_passing


def test_password_does_not_follow_a_redirection() -> None:
    service_with = {"authorization": lambda: "Basic c2VjcmV0"}
    with answering(ELSEWHERE) as url, DicomWeb(Service(url, **service_with)) as pacs:
        assert "c2VjcmV0" not in repr(Service(url, **service_with))
        with pytest.raises(WebStatusError, match="it redirects"):
            pacs.search("studies")


def test_message_that_is_cut_off_is_no_success() -> None:
    with answering(CUT_OFF) as url, DicomWeb(Service(url)) as pacs, pacs.retrieve("1.2") as parts:
        part = next(parts)
        with pytest.raises(ProtocolError, match="cut off"):
            list(part.chunks)


@pytest.mark.parametrize("body", [b"<html>", b'{"a": 1}', b"[1]"])
def test_answer_that_is_no_result_is_refused(body: bytes) -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    with answering(answer) as url, DicomWeb(Service(url)) as pacs, pytest.raises(PeerError, match="JSON"):
        pacs.search("studies")
