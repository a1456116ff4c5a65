"""Results go to a DICOMweb service by STOW-RS, and each answer means what it says."""

import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from pydicom import Dataset

from dae_pacs.config.security import TlsSettings
from dae_pacs.config.web_peers import WebPeer
from dae_pacs.demo.orthanc import Orthanc
from dae_pacs.demo.phantoms import Study, ct_series, write_all
from dae_pacs.dicomweb import media, multipart
from dae_pacs.dicomweb.client import DicomWeb, Service, Timeouts
from dae_pacs.dicomweb.part10_stream import Unwrapping
from dae_pacs.dicomweb.storing import Stored, response, status_of
from dae_pacs.dimse.certificates import fingerprint_of
from dae_pacs.dimse.outgoing import Outgoing, SendResult, outgoing
from dae_pacs.dimse.statuses import Outcome
from dae_pacs.errors import ConfigError, PeerError
from dae_pacs.node.bell import Bell
from dae_pacs.node.delivery import Courier, Destination, Spool
from dae_pacs.node.web_delivery import WebAddress, WebSender
from dae_pacs.node.web_peers import service_of
from dae_pacs.spool.files import SpoolFiles
from dae_pacs.spool.ledger import Ledger
from dae_pacs.spool.records import NewInstance, Plan

Verdict = Callable[[list[str]], tuple[int, bytes]]
"""From the UIDs of a request's objects to the answer's status and body."""


class Archive(ThreadingHTTPServer):
    """A service that answers Store requests as a test says, and notes what it was sent."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.verdict = verdict
        self.requests: list[list[str]] = []
        self.authorizations: list[str | None] = []
        self.content_type = ""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Archive

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        boundary = multipart.boundary_of(media.parse(self.headers["Content-Type"]))
        uids = []
        for part in multipart.parts_of([body], boundary):
            unwrapping = Unwrapping()
            for chunk in part.chunks:
                unwrapping.feed(chunk)
            uids.append(unwrapping.close().SOPInstanceUID)
        self.server.requests.append(uids)
        self.server.authorizations.append(self.headers["Authorization"])
        status, answer = self.server.verdict(uids)
        if not status:
            self.connection.close()
            return
        self.send_response(status)
        self.send_header("Content-Length", str(len(answer)))
        if self.server.content_type:
            self.send_header("Content-Type", self.server.content_type)
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        pass


def saying(**failures: int) -> Verdict:
    """Answer as PS3.18 asks for: with failure reasons of some, by their UIDs' last digit."""

    def verdict(uids: list[str]) -> tuple[int, bytes]:
        stored = [Stored("1.2", uid, failures.get("f" + uid[-1])) for uid in uids]
        return status_of(stored), json.dumps(response(stored)).encode()

    return verdict


@contextmanager
def archive(verdict: Verdict, context: ssl.SSLContext | None = None) -> Iterator[tuple[Archive, str]]:
    with Archive(verdict) as server:
        if context is not None:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server, f"{'https' if context else 'http'}://127.0.0.1:{server.server_address[1]}/dicom-web"
        finally:
            server.shutdown()
            thread.join(10)


@pytest.fixture
def objects(tmp_path: Path) -> list[Outgoing]:
    """Five slices whose UIDs end in 1 to 5."""
    slices = ct_series(Study(), slices=5, size=16)
    for number, ds in enumerate(slices, start=1):
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"2.25.77{number}"
    return [outgoing(path) for path in write_all(slices, tmp_path / "slices")]


def sent(
    service: Service, objects: Sequence[Outgoing], *, batch: int = 3, batch_bytes: int = 10**9
) -> list[SendResult]:
    results: list[SendResult] = []
    sender = WebSender(service, batch=batch, batch_bytes=batch_bytes)
    sender(objects, on_result=results.append, may_go_on=lambda: True)
    assert sorted(result.outgoing.path for result in results) == sorted(item.path for item in objects)
    return sorted(results, key=lambda result: result.outgoing.SOPInstanceUID)


def test_several_objects_go_in_one_request(objects: list[Outgoing]) -> None:
    with archive(saying()) as (server, url):
        assert {result.outcome for result in sent(Service(url), objects)} == {Outcome.SENT}
        assert [len(uids) for uids in server.requests] == [3, 2]
        sent(Service(url), objects, batch_bytes=1)
        assert [len(uids) for uids in server.requests[2:]] == [1] * 5


def test_each_object_has_its_own_fate(objects: list[Outgoing]) -> None:
    reasons = {"f1": 0xA700, "f2": 0xC000, "f3": 0x0110, "f4": 0x0111}
    with archive(saying(**reasons)) as (_, url):
        results = sent(Service(url), objects, batch=5)
    retry, dead = Outcome.RETRY, Outcome.DEAD
    assert [result.outcome for result in results] == [retry, dead, retry, Outcome.WARNING, Outcome.SENT]
    assert [result.status for result in results] == [*reasons.values(), 0]


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500, 502, 503])
def test_service_that_takes_nothing_now_is_tried_again_later(objects: list[Outgoing], status: int) -> None:
    with archive(lambda _: (status, b"")) as (_, url), pytest.raises(PeerError, match=str(status)):
        sent(Service(url), objects)


def test_request_that_is_refused_is_sent_again_one_by_one(objects: list[Outgoing]) -> None:
    def too_large(uids: list[str]) -> tuple[int, bytes]:
        return (413, b"") if len(uids) > 1 or uids[0].endswith("2") else saying()(uids)

    with archive(too_large) as (_, url):
        results = sent(Service(url), objects)
    sent_, dead = Outcome.SENT, Outcome.DEAD
    assert [result.outcome for result in results] == [sent_, dead, sent_, sent_, sent_]
    assert results[1].answer == "answered with HTTP status 413"


def test_success_without_names_is_kept_as_a_warning(objects: list[Outgoing]) -> None:
    with archive(lambda _: (200, b"")) as (_, url):
        assert {result.outcome for result in sent(Service(url), objects)} == {Outcome.WARNING}
    with archive(lambda _: (200, b"<NativeDicomModel/>")) as (server, url):
        server.content_type = "application/dicom+xml"
        assert {result.outcome for result in sent(Service(url), objects)} == {Outcome.WARNING}


@pytest.mark.parametrize(
    ("content_type", "body"),
    [("text/html", b"<html>Please log in</html>"), ("application/json", b'{"error": "none"}'), ("", b"OK")],
)
def test_success_of_something_that_is_no_archive_is_none(
    objects: list[Outgoing], content_type: str, body: bytes
) -> None:
    with archive(lambda _: (200, body)) as (server, url):
        server.content_type = content_type
        results = sent(Service(url), objects)
    assert {(result.outcome, result.has_broken) for result in results} == {(Outcome.RETRY, True)}
    assert "no Store response" in results[0].message


def test_success_that_names_only_others_is_none(objects: list[Outgoing]) -> None:
    def others(uids: list[str]) -> tuple[int, bytes]:
        return 200, json.dumps(response([Stored("1.2", uids[0])])).encode()

    with archive(others) as (_, url):
        results = sent(Service(url), objects, batch=5)
    assert [result.outcome for result in results] == [Outcome.SENT] + [Outcome.RETRY] * 4


def test_partial_success_that_is_silent_on_an_object_is_none_for_it(objects: list[Outgoing]) -> None:
    def silent(uids: list[str]) -> tuple[int, bytes]:
        return 202, json.dumps(response([Stored("1.2", uids[0])])).encode()

    with archive(silent) as (_, url):
        results = sent(Service(url), objects, batch=5)
    assert [result.outcome for result in results] == [Outcome.SENT] + [Outcome.RETRY] * 4


def test_service_that_breaks_off_may_or_may_not_have_them(objects: list[Outgoing]) -> None:
    with archive(lambda uids: saying()(uids) if len(uids) == 3 else (0, b"")) as (_, url):
        service = Service(url, timeouts=Timeouts(read_s=5))
        results = sent(service, objects)
    assert [result.has_broken for result in results] == [False] * 3 + [True] * 2
    assert [result.outcome for result in results] == [Outcome.SENT] * 3 + [Outcome.RETRY] * 2


def test_service_that_goes_away_in_between_gets_the_rest_later(objects: list[Outgoing]) -> None:
    with archive(lambda uids: saying()(uids) if len(uids) == 3 else (503, b"")) as (_, url):
        results = sent(Service(url), objects)
    assert [result.was_tried for result in results] == [True] * 3 + [False] * 2
    assert "503" in results[-1].message


def test_file_that_is_gone_does_not_stop_the_others(objects: list[Outgoing]) -> None:
    objects[0].path.unlink()
    with archive(saying()) as (server, url):
        results = sent(Service(url), objects)
    assert results[0].outcome is Outcome.DEAD
    assert {result.outcome for result in results[1:]} == {Outcome.SENT}
    assert all(server.requests)


def test_password_and_token_come_from_where_the_settings_say(
    objects: list[Outgoing], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("pass word\n")
    monkeypatch.setenv("PACS_TOKEN", "t0ken")
    with archive(saying()) as (server, url):
        basic = service_of("pacs", WebPeer(url=url, user="dae", password_file=secret), TlsSettings())
        sent(basic, objects[:1])
        bearer = service_of("pacs", WebPeer(url=url, token_env="PACS_TOKEN"), TlsSettings())
        sent(bearer, objects[:1])
    assert server.authorizations == ["Basic ZGFlOnBhc3Mgd29yZA==", "Bearer t0ken"]
    assert "pass" not in repr(basic)
    with pytest.raises(ConfigError, match=r"web_peers.pacs.password_env: holds nothing"):
        service_of("pacs", WebPeer(url=url, user="dae", password_env="NOT_THERE"), TlsSettings())


def test_service_over_tls_is_verified_and_shown_our_certificate(
    objects: list[Outgoing], authority, stranger_authority
) -> None:
    its, ours = authority.issue("web-archive"), authority.issue("web-node")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(its.certificate, its.key)
    context.load_verify_locations(authority.certificate)
    context.verify_mode = ssl.CERT_REQUIRED
    identity = {"certificate": ours.certificate, "key": ours.key}
    trusting = TlsSettings(trust=authority.certificate, **identity)
    right = fingerprint_of(ssl.PEM_cert_to_DER_cert(its.certificate.read_text()))
    with archive(saying(), context) as (_, url):
        for peer in (
            WebPeer(url=url),
            WebPeer(url=url, tls_name="localhost"),
            WebPeer(url=url, tls_trust=authority.certificate, tls_name="any"),
            WebPeer(url=url, tls_fingerprint=right),
        ):
            assert sent(service_of("pacs", peer, trusting), objects[:1])[0].outcome is Outcome.SENT
        for peer, words in (
            (WebPeer(url=url, tls_trust=stranger_authority.certificate), "not believed"),
            (WebPeer(url=url, tls_name="another.hospital"), "not believed"),
            (WebPeer(url=url, tls_fingerprint="0" * 64), "another than the one of tls_fingerprint"),
        ):
            with pytest.raises(PeerError, match=words):
                sent(service_of("pacs", peer, trusting), objects[:1])


@pytest.mark.pacs
def test_courier_delivers_to_a_real_archive(web_orthanc: Orthanc, tmp_path: Path) -> None:
    made: list[Dataset] = ct_series(Study(), slices=3, size=32)
    files = SpoolFiles(tmp_path / "spool")
    url = f"http://127.0.0.1:{web_orthanc.http_port}/dicom-web"
    with Ledger(files.ledger_path) as ledger:
        for path, ds in zip(write_all(made, files.objects / "00"), made, strict=True):
            new = NewInstance(
                SOPClassUID=ds.SOPClassUID,
                SOPInstanceUID=ds.SOPInstanceUID,
                StudyInstanceUID=ds.StudyInstanceUID,
                SeriesInstanceUID=ds.SeriesInstanceUID,
                transfer_syntax_uid=ds.file_meta.TransferSyntaxUID,
                path=path,
                size_bytes=path.stat().st_size,
                SeriesNumber=1,
                expected_count=None,
                received_at=1.0,
                **dict.fromkeys(("PatientID", "AccessionNumber", "StudyDate", "Modality"), "x"),
                **dict.fromkeys(("SeriesDescription", "digest", "calling_ae", "called_ae"), "x"),
                **dict.fromkeys(("address", "association"), "x"),
            )
            ledger.keep(new, Plan("forward", destinations=("web",)))
        destination = Destination(
            "web", WebAddress(url), send=WebSender(Service(url), batch=2, batch_bytes=10**8)
        )
        courier = Courier(Spool(files, ledger), destination, calling_ae="DAE_PACS", results=Bell())
        courier.keep_running()
        deadline = time.monotonic() + 30
        while {one.status for one in ledger.deliveries()} != {"delivered"}:
            assert time.monotonic() < deadline, [one.error for one in ledger.deliveries()]
            time.sleep(0.05)
        courier.stop()
    with DicomWeb(Service(url)) as pacs:
        assert (
            len(pacs.search("instances", within=[made[0].StudyInstanceUID, made[0].SeriesInstanceUID])) == 3
        )
