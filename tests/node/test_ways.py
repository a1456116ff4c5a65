"""A DICOMweb service that sends another series' objects, or breaks off in the middle."""

import io
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from dae_pacs.cli.fetch_folder import Folder
from dae_pacs.demo.phantoms import Study, ct_series
from dae_pacs.dicomweb.client import Service
from dae_pacs.dimse.finding import Bounds
from dae_pacs.dimse.getting import Receiving
from dae_pacs.dimse.retrieval import Watch
from dae_pacs.errors import PeerError
from dae_pacs.node.catalogue import Series
from dae_pacs.node.ways import ByWeb

STUDY = Study()


def _part(ds):
    file = io.BytesIO()
    ds.save_as(file, enforce_file_format=True)
    return b"--xyz\r\nContent-Type: application/dicom\r\n\r\n" + file.getvalue() + b"\r\n"


@pytest.fixture
def serve():
    """Serve one body for whatever is asked, and say less than its length where it is to break off."""
    servers = []

    def start(body, *, announced=None):
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                self.send_header("Content-Type", 'multipart/related; type="application/dicom"; boundary=xyz')
                self.send_header("Content-Length", str(announced or len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_arguments):
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever).start()
        servers.append(server)
        return Service(f"http://127.0.0.1:{server.server_address[1]}")

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def objects():
    return ct_series(STUDY, slices=3, size=32)


def _fetched(service, objects, folder):
    ended = []
    way = ByWeb("web", service, Receiving(folder.store(), "US", ended.append))
    first = objects[0]
    series = Series(
        StudyInstanceUID=first.StudyInstanceUID,
        SeriesInstanceUID=first.SeriesInstanceUID,
        **dict.fromkeys(
            (
                *("PatientID", "PatientName", "AccessionNumber", "StudyDate", "StudyDescription"),
                *("SeriesNumber", "Modality", "BodyPartExamined", "SeriesDescription"),
            ),
            "",
        ),
        instances=3,
    )
    try:
        return way.fetch(series, (), is_part=False, watch=Watch()), ended
    except PeerError as error:
        return error, ended


@pytest.fixture
def folder(tmp_path):
    return Folder(tmp_path / "set", lambda _incoming, _summary: None)


def test_a_series_comes_whole(serve, objects, folder):
    result, ended = _fetched(serve(b"".join(map(_part, objects)) + b"--xyz--\r\n"), objects, folder)
    assert (result.is_whole, result.progress.completed, len(ended)) == (True, 3, 1)
    assert len(list(folder.root.rglob("*.dcm"))) == 3


def test_objects_of_another_series_are_left_out(serve, objects, folder):
    foreign = ct_series(STUDY, slices=1, size=32)
    result, _ended = _fetched(
        serve(b"".join(map(_part, [*objects, *foreign])) + b"--xyz--\r\n"), objects, folder
    )
    assert not result.is_whole
    assert (result.progress.completed, result.progress.failed) == (3, 1)
    assert {path.stem for path in folder.root.rglob("*.dcm")} == {ds.SOPInstanceUID for ds in objects}


def test_what_came_before_a_service_broke_off_stays_and_nothing_half_does(serve, folder):
    objects = ct_series(STUDY, slices=3, size=384)  # more than what is read at a time
    whole = b"".join(map(_part, objects)) + b"--xyz--\r\n"
    result, ended = _fetched(serve(whole[: len(whole) // 2], announced=len(whole)), objects, folder)
    assert isinstance(result, PeerError)
    assert len(ended) == 1
    assert [path.name for path in folder.root.rglob("*") if path.is_file()] == [
        f"{objects[0].SOPInstanceUID}.dcm"
    ]


def test_what_is_no_object_is_left_out(serve, objects, folder):
    body = b"--xyz\r\nContent-Type: application/dicom\r\n\r\nnothing of the kind\r\n" + _part(objects[0])
    result, _ended = _fetched(serve(body + b"--xyz--\r\n"), objects, folder)
    assert (result.progress.completed, result.progress.failed) == (1, 1)


def test_a_search_that_waits_can_be_cut(folder):
    cuts, errors = [], []
    with socket.create_server(("127.0.0.1", 0)) as silent:
        service = Service(f"http://127.0.0.1:{silent.getsockname()[1]}")
        way = ByWeb("web", service, Receiving(folder.store(), "US", lambda _: None, cuts.append))

        def search():
            try:
                with way.search(lambda: True) as found:
                    found.find("STUDY", {"PatientID": "P1"}, Bounds())
            except PeerError as error:
                errors.append(error)

        thread = threading.Thread(target=search, daemon=True)
        thread.start()
        connection, _address = silent.accept()
        with connection:
            connection.recv(65536)
            (cut,) = cuts
            cut()
            thread.join(20)  # the service may be silent for 60 s
            assert not thread.is_alive()
    assert errors
