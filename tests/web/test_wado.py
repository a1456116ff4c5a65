"""QIDO-RS and WADO-RS over what a node holds: other people's clients find and open it."""

import asyncio
import io
import json
import multiprocessing
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from dicomweb_client import DICOMwebClient
from dicomweb_client.session_utils import create_session_from_user_pass
from pydicom import Dataset, dcmread
from pydicom.data import get_testdata_file
from pydicom.encaps import generate_frames
from pydicom.uid import ExplicitVRLittleEndian

from dae_pacs.config.audit import AuditSettings
from dae_pacs.demo.orthanc import Orthanc, find_orthanc
from dae_pacs.demo.phantoms import Study, ct_series, radiograph
from dae_pacs.dicomweb.client import DicomWeb, Service, ToStore
from dae_pacs.dicomweb.part10_stream import Unwrapping
from dae_pacs.errors import SpoolFullError
from dae_pacs.web import wado
from dae_pacs.web.app import create_app
from dae_pacs.web.context import open_context
from dae_pacs.web.conversions import explicit_copy
from dae_pacs.web.desk import Desk

CONFIGURATION = """
[node]
accept = "anyone"
port = 0
quiet_s = 0.3
minimum_free_mb = 0

[web]
port = 0
request_timeout_s = 3

[audit]
file = "audit.xml"

[[rules]]
name = "everything"
action = "keep"
"""
PASSWORD = "correct horse battery staple"
BASIC = "Basic b3BlcmF0b3I6Y29ycmVjdCBob3JzZSBiYXR0ZXJ5IHN0YXBsZQ=="
JPEG_LOSSLESS = "1.2.840.10008.1.2.4.70"


@dataclass(frozen=True)
class Held:
    """What the node of this module holds."""

    ct: list[Dataset]
    radiograph: Dataset
    multiframe: Dataset
    """Ten frames, RLE."""
    lossy: Dataset
    implicit: Dataset


def file_of(ds: Dataset) -> bytes:
    buffer = io.BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def example(name: str) -> Dataset:
    return dcmread(str(get_testdata_file(name, download=False)))


@pytest.fixture(scope="module")
def held(console: Any) -> Held:
    ct = ct_series(Study(name="Müller^Jürgen", patient_id="CT-1"), slices=4, size=32)
    for ds in ct:
        ds.SpecificCharacterSet = "ISO_IR 100"
    made = Held(
        ct,
        radiograph(Study(patient_id="CR-[1]", accession="A77"), "CR", rows=48, columns=40),
        example("emri_small_RLE.dcm"),
        example("JPEG-lossy.dcm"),
        example("MR_small_implicit.dcm"),
    )
    every = [*made.ct, made.radiograph, made.multiframe, made.lossy, made.implicit]
    files = [file_of(ds) for ds in every]
    service = Service(f"{console.url}/dicom-web", authorization=lambda: BASIC)
    with DicomWeb(service) as node:
        answer = node.store([ToStore(len(file), lambda file=file: [file]) for file in files])
    assert answer.status == 200, answer
    assert console.node.ledger.index.drain(20)
    return made


@pytest.fixture
def client(console: Any, held: Held) -> DICOMwebClient:
    session = create_session_from_user_pass("viewer", PASSWORD)
    return DICOMwebClient(f"{console.url}/dicom-web", session=session)


@pytest.fixture
def web(console: Any, held: Held) -> Iterator[httpx.Client]:
    url = f"{console.url}/dicom-web"
    with httpx.Client(base_url=url, auth=("viewer", PASSWORD), timeout=30) as client:
        yield client


def uids(found: list[dict[str, Any]], tag: str) -> set[str]:
    return {item[tag]["Value"][0] for item in found}


def path_of(ds: Dataset) -> str:
    return f"/studies/{ds.StudyInstanceUID}/series/{ds.SeriesInstanceUID}/instances/{ds.SOPInstanceUID}"


def test_studies_are_found_by_what_the_ledger_knows(client: DICOMwebClient, held: Held) -> None:
    assert len(client.search_for_studies()) == 5
    study = held.ct[0].StudyInstanceUID
    (found,) = client.search_for_studies(search_filters={"PatientID": "CT-1"})
    assert found["0020000D"]["Value"] == [study]
    assert found["00100010"]["Value"] == [{"Alphabetic": "Müller^Jürgen"}]
    assert found["00201208"]["Value"] == [4]
    assert found["00080061"]["Value"] == ["CT"]
    assert uids(client.search_for_studies(search_filters={"PatientID": "CR-[*"}), "00100020") == {"CR-[1]"}
    assert len(client.search_for_studies(search_filters={"ModalitiesInStudy": "MR"})) == 2
    assert len(client.search_for_studies(search_filters={"StudyDate": "20260101-20260201"})) == 2
    assert client.search_for_studies(search_filters={"StudyDate": "20300101-"}) == []


def test_studies_are_found_by_what_only_their_headers_know(client: DICOMwebClient, held: Held) -> None:
    (found,) = client.search_for_studies(search_filters={"PatientName": "müller*"}, fields=["PatientSize"])
    assert found["0020000D"]["Value"] == [held.ct[0].StudyInstanceUID]
    assert client.search_for_studies(search_filters={"PatientName": "nobody"}) == []
    found = client.search_for_studies(search_filters={"StudyTime": "0930-0931"})
    assert uids(found, "0020000D") == {held.ct[0].StudyInstanceUID, held.radiograph.StudyInstanceUID}


def test_series_and_instances_are_found(client: DICOMwebClient, held: Held) -> None:
    ds = held.ct[0]
    (series,) = client.search_for_series(ds.StudyInstanceUID)
    assert series["00201209"]["Value"] == [4]
    assert len(client.search_for_series(search_filters={"Modality": "CT"})) >= 1
    found = client.search_for_instances(ds.StudyInstanceUID, ds.SeriesInstanceUID)
    assert uids(found, "00080018") == {one.SOPInstanceUID for one in held.ct}
    assert {item["00200013"]["Value"][0] for item in found} == {1, 2, 3, 4}
    (third,) = client.search_for_instances(ds.StudyInstanceUID, search_filters={"InstanceNumber": "3"})
    assert third["00080018"]["Value"] == [held.ct[2].SOPInstanceUID]
    page = client.search_for_instances(ds.StudyInstanceUID, ds.SeriesInstanceUID, limit=2, offset=3)
    assert uids(page, "00080018") == {held.ct[3].SOPInstanceUID}


def test_search_says_in_words_what_it_does_not_do(web: httpx.Client) -> None:
    assert "Only literal matching" in web.get("/studies?fuzzymatching=true").headers["warning"]
    assert web.get("/studies?fuzzymatching=false").headers.get("warning") is None
    for query, words in (
        ("NoSuchThing=1", "names no attribute"),
        ("limit=many", "no whole number"),
        ("PatientID=1&PatientID=2", "given twice"),
        ("PatientID=" + "9" * 5000, "longer than"),
    ):
        answer = web.get(f"/studies?{query}")
        assert answer.status_code == 400
        assert words in answer.text
    assert web.get("/studies?PatientID=nobody").status_code == 204
    assert web.get("/studies", headers={"Accept": "text/html"}).status_code == 406
    assert web.get("/studies/x/series").status_code == 400


def test_everything_about_an_instance_can_be_asked_for(web: httpx.Client, held: Held) -> None:
    answer = web.get(
        "/instances", params={"SOPInstanceUID": held.radiograph.SOPInstanceUID, "includefield": "all"}
    )
    (item,) = answer.json()
    assert item["00280010"]["Value"] == [48]
    assert item["00180060"]["Value"]
    assert item["00081190"]["Value"][0].endswith(path_of(held.radiograph))


def test_series_is_retrieved_byte_for_byte_as_it_came(client: DICOMwebClient, held: Held) -> None:
    ds = held.ct[0]
    found = client.retrieve_series(ds.StudyInstanceUID, ds.SeriesInstanceUID)
    assert {one.SOPInstanceUID for one in found} == {one.SOPInstanceUID for one in held.ct}
    by_uid = {one.SOPInstanceUID: one for one in found}
    assert by_uid[ds.SOPInstanceUID].PixelData == ds.PixelData
    assert by_uid[ds.SOPInstanceUID].PatientName == "Müller^Jürgen"
    assert len(client.retrieve_study(ds.StudyInstanceUID)) == 4


def received(answer: httpx.Response) -> Dataset:
    return dcmread(io.BytesIO(answer.content))


def test_what_is_given_does_not_say_who_sent_it(web: httpx.Client, held: Held) -> None:
    answer = web.get(path_of(held.ct[0]), headers={"Accept": "application/dicom; transfer-syntax=*"})
    meta = received(answer).file_meta
    assert "SourceApplicationEntityTitle" not in meta
    assert "PrivateInformation" not in meta


@pytest.mark.parametrize(
    ("name", "wish", "given"),
    [
        ("multiframe", "*", "1.2.840.10008.1.2.5"),
        ("multiframe", "", str(ExplicitVRLittleEndian)),
        ("multiframe", str(ExplicitVRLittleEndian), str(ExplicitVRLittleEndian)),
        ("multiframe", "1.2.840.10008.1.2.4.90", None),
        ("lossy", "", "1.2.840.10008.1.2.4.51"),
        ("lossy", str(ExplicitVRLittleEndian), None),
        ("implicit", "*", "1.2.840.10008.1.2"),
        ("implicit", str(ExplicitVRLittleEndian), str(ExplicitVRLittleEndian)),
    ],
)
def test_transfer_syntax_is_negotiated(
    web: httpx.Client, held: Held, name: str, wish: str, given: str | None
) -> None:
    ds: Dataset = getattr(held, name)
    accept = "application/dicom" + (f"; transfer-syntax={wish}" if wish else "")
    answer = web.get(path_of(ds), headers={"Accept": accept})
    if given is None:
        assert answer.status_code == 406
        assert "transfer-syntax=*" in answer.text
        return
    found = received(answer)
    assert found.file_meta.TransferSyntaxUID == given
    assert found.SOPInstanceUID == ds.SOPInstanceUID
    if given != ds.file_meta.TransferSyntaxUID:
        assert (found.pixel_array == ds.pixel_array).all()


def test_metadata_leave_pixels_to_a_uri(client: DICOMwebClient, held: Held, web: httpx.Client) -> None:
    ds = held.ct[0]
    found = client.retrieve_series_metadata(ds.StudyInstanceUID, ds.SeriesInstanceUID)
    assert len(found) == 4
    item = next(one for one in found if one["00080018"]["Value"] == [ds.SOPInstanceUID])
    assert item["00080005"]["Value"] == ["ISO_IR 192"]
    assert item["00281052"]["Value"] == [float(ds.RescaleIntercept)]
    bulk = client.retrieve_bulkdata(item["7FE00010"]["BulkDataURI"])
    assert bulk[0] == ds.PixelData
    assert "InlineBinary" not in json.dumps(item["7FE00010"])
    assert web.get(path_of(ds) + "/bulkdata/00100010").status_code == 404
    assert web.get(path_of(ds) + "/bulkdata/nonsense/x").status_code == 404


def test_frames_come_uncompressed_or_as_they_are(
    client: DICOMwebClient, held: Held, web: httpx.Client
) -> None:
    ds = held.ct[1]
    (frame,) = client.retrieve_instance_frames(
        ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID, [1]
    )
    assert frame == ds.PixelData
    many = held.multiframe
    plain = client.retrieve_instance_frames(
        many.StudyInstanceUID, many.SeriesInstanceUID, many.SOPInstanceUID, [2, 10]
    )
    assert [bytes(one) for one in plain] == [many.pixel_array[n].tobytes() for n in (1, 9)]
    answer = web.get(
        path_of(many) + "/frames/3", headers={"Accept": "application/octet-stream; transfer-syntax=*"}
    )
    assert answer.headers["content-type"].endswith("transfer-syntax=1.2.840.10008.1.2.5")
    assert answer.content == list(generate_frames(many.PixelData, number_of_frames=10))[2]


def test_frames_that_are_not_there_are_refused(web: httpx.Client, held: Held) -> None:
    path = path_of(held.ct[0]) + "/frames/"
    assert web.get(path + "2").status_code == 404
    assert web.get(path + "0").status_code == 404
    assert web.get(path + "one").status_code == 400
    lossy = path_of(held.lossy) + "/frames/1"
    assert web.get(lossy, headers={"Accept": "image/png"}).status_code == 406


def test_strangers_are_given_nothing(console: Any, held: Held) -> None:
    url = f"{console.url}/dicom-web"
    for path in ("/studies", path_of(held.ct[0]), path_of(held.ct[0]) + "/metadata"):
        answer = httpx.get(url + path)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("Basic")


def until(true: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + 60
    while not (found := true()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
    return found


def test_retrieval_is_written_to_the_audit_trail(console: Any, web: httpx.Client, held: Held) -> None:
    ds = held.implicit
    web.get(path_of(ds), headers={"Accept": "application/dicom; transfer-syntax=*"})
    trail = Path(console.settings.audit.file)

    def told() -> bool:
        lines = [line for line in trail.read_text().splitlines() if "DICOM Instances Accessed" in line]
        return any(str(ds.StudyInstanceUID) in line and 'UserID="viewer"' in line for line in lines)

    assert until(told)


def test_quarantined_and_missing_objects_are_not_shown(console: Any, held: Held) -> None:
    ds = ct_series(Study(patient_id="GONE-1"), slices=1, size=16)[0]
    whole = file_of(ds)
    service = Service(f"{console.url}/dicom-web", authorization=lambda: BASIC)
    with DicomWeb(service) as node:
        for file in (whole, whole[:-2] + b"xx"):
            node.store([ToStore(len(file), lambda file=file: [file])])
        until(lambda: console.node.ledger.received(ds.SOPInstanceUID))
        with node.retrieve(ds.StudyInstanceUID) as parts:
            (came,) = [b"".join(part.chunks) for part in parts]
        assert came.endswith(whole[-200:])
        instance = console.node.ledger.received(ds.SOPInstanceUID)
        console.node.ledger.remove(instance.id)
        assert node.search("studies", {"PatientID": "GONE-1"}) == []


def test_two_patients_under_one_study_are_not_mixed(
    console: Any, held: Held, client: DICOMwebClient, web: httpx.Client
) -> None:
    mine = ct_series(Study(patient_id="SHARED-1"), slices=1, size=16)[0]
    others = ct_series(Study(patient_id="SHARED-2"), slices=1, size=16)[0]
    others.StudyInstanceUID = mine.StudyInstanceUID
    service = Service(f"{console.url}/dicom-web", authorization=lambda: BASIC)
    with DicomWeb(service) as node:
        for file in (file_of(mine), file_of(others)):
            node.store([ToStore(len(file), lambda file=file: [file])])
    assert console.node.ledger.index.drain(20)
    study = f"/studies/{mine.StudyInstanceUID}"
    for path in (study, f"{study}/metadata"):
        refused = web.get(path)
        assert (refused.status_code, "PatientID" in refused.text) == (409, True)
    for ds in (mine, others):
        wanted = {"PatientID": ds.PatientID}
        assert uids(web.get(f"{study}/metadata", params=wanted).json(), "00080018") == {ds.SOPInstanceUID}
        for below in ("series", "instances"):
            (found,) = web.get(f"{study}/{below}", params=wanted).json()
            assert found["00100020"]["Value"] == [ds.PatientID]
            assert found["00100010"]["Value"] == [{"Alphabetic": str(ds.PatientName)}]
            assert found["0020000E"]["Value"] == [ds.SeriesInstanceUID]
        # A series or an object of one patient alone needs no such word.
        assert web.get(path_of(ds), headers={"Accept": "application/dicom"}).status_code == 200
    assert uids(web.get(f"{study}/series").json(), "00100020") == {"SHARED-1", "SHARED-2"}
    assert web.get(study, params={"PatientID": "SHARED-3"}).status_code == 404


def test_readers_who_read_nothing_hold_few_copies_and_not_for_long(console: Any, held: Held) -> None:
    ds = example("MR_small_implicit.dcm")
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"{held.implicit.SOPInstanceUID}.7"
    ds.Rows, ds.Columns = 4096, 4096
    ds.PixelData = bytes(2 * 4096 * 4096)  # more than the sockets' buffers hold
    whole = file_of(ds)
    service = Service(f"{console.url}/dicom-web", authorization=lambda: BASIC)
    with DicomWeb(service) as node:
        assert node.store([ToStore(len(whole), lambda: [whole])]).status == 200
    assert console.node.ledger.index.drain(20)
    url = urlsplit(console.url)
    asked = "\r\n".join(
        [
            f"GET /dicom-web{path_of(ds)} HTTP/1.1",
            f"Host: {url.netloc}",
            f"Authorization: {BASIC}",
            f"Accept: application/dicom; transfer-syntax={ExplicitVRLittleEndian}",
            "",
            "",
        ]
    )

    def copies() -> int:
        return len(list(console.node.files.incoming.glob("*.tmp")))

    with ExitStack() as opened:
        for _ in range(6):
            reader = opened.enter_context(socket.create_connection((url.hostname, url.port)))
            reader.sendall(asked.encode())
        most = 0

        def is_over() -> bool:
            nonlocal most
            most = max(most, copies())
            return most > 0 and not copies()

        until(is_over)
        assert most <= 4
        until(lambda: not copies())


def test_there_is_no_copy_where_there_is_no_room(console: Any, held: Held) -> None:
    files = console.node.files
    before = set(files.incoming.glob("*.tmp"))  # of answers that end meanwhile
    for ds in (held.implicit, held.multiframe):
        instance = console.node.ledger.received(ds.SOPInstanceUID)
        with (
            pytest.raises(SpoolFullError, match="too little room"),
            explicit_copy(instance, files, least_free_mb=1e12),
        ):
            pass
    assert set(files.incoming.glob("*.tmp")) <= before


@pytest.mark.pacs
def test_orthanc_queries_and_retrieves_by_its_plug_in(console: Any, held: Held, tmp_path: Path) -> None:
    plugin = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
    if find_orthanc() is None or not plugin.exists():
        pytest.skip("Debian's orthanc-dicomweb is not installed")
    server = {"Url": f"{console.url}/dicom-web/", "Username": "viewer", "Password": PASSWORD}
    options = {"Plugins": [str(plugin)], "DicomWeb": {"Enable": True, "Servers": {"node": server}}}
    with Orthanc(tmp_path / "orthanc", options=options) as orthanc:
        found = orthanc.rest.post(
            "/dicom-web/servers/node/qido",
            json.dumps({"Uri": "/studies", "Arguments": {"00100020": "CT-1"}}),
        )
        assert held.ct[0].StudyInstanceUID in json.dumps(found)
        assert len(found) == 1
        orthanc.rest.post(
            "/dicom-web/servers/node/retrieve",
            json.dumps({"Resources": [{"Study": held.ct[0].StudyInstanceUID}], "Synchronous": True}),
        )
        assert orthanc.rest.count_instances() == 4


def test_memory_stays_small_for_a_big_study(console: Any, held: Held) -> None:
    ds = radiograph(Study(patient_id="BIG"), "CR", rows=16, columns=16)
    ds.Rows, ds.Columns, ds.PixelData = 4000, 4000, bytes(32_000_000)
    file = file_of(ds)
    service = Service(f"{console.url}/dicom-web", authorization=lambda: BASIC)

    def peak_mb() -> float:
        lines = Path(f"/proc/{console.web.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1000

    with DicomWeb(service) as node:
        before = peak_mb()
        node.store([ToStore(len(file), lambda: [file])])
        until(lambda: console.node.ledger.received(ds.SOPInstanceUID))
        with node.retrieve(ds.StudyInstanceUID) as parts:
            size = sum(len(chunk) for part in parts for chunk in part.chunks)
    assert size > 32e6
    assert peak_mb() - before < 20


def test_unwrapping_takes_an_object_without_its_preamble(held: Held) -> None:
    whole = file_of(held.ct[0])
    unwrapping = Unwrapping()
    data = b"".join(unwrapping.feed(whole[n : n + 50]) for n in range(132, len(whole), 50))
    assert unwrapping.close().SOPInstanceUID == held.ct[0].SOPInstanceUID
    assert whole.endswith(data)


def test_more_objects_than_one_answer_takes_are_refused_and_not_cut_off(console, held, monkeypatch):
    ours, theirs = multiprocessing.Pipe()
    settings = console.settings.model_copy(update={"audit": AuditSettings()})
    context = open_context(settings, Desk(theirs))

    async def status(path: str) -> tuple[int, str]:
        transport = httpx.ASGITransport(create_app(context))
        async with httpx.AsyncClient(transport=transport, auth=("viewer", PASSWORD)) as client:
            answer = await client.get(f"http://localhost/dicom-web/studies/{path}")
        return answer.status_code, answer.text if answer.status_code >= 400 else ""

    ct, one = held.ct[0], held.radiograph
    series = f"{ct.StudyInstanceUID}/series/{ct.SeriesInstanceUID}"
    monkeypatch.setattr(wado, "MOST_INSTANCES", len(held.ct))
    assert asyncio.run(status(series)) == (200, "")
    monkeypatch.setattr(wado, "MOST_INSTANCES", len(held.ct) - 1)
    for path, rest in (
        (ct.StudyInstanceUID, "series"),
        (series, "instances"),
        (f"{series}/metadata", "inst"),
    ):
        code, words = asyncio.run(status(path))
        assert code == 413
        assert f"more than {len(held.ct) - 1} objects" in words
        assert f"search for its {rest}" in words
    monkeypatch.setattr(wado, "MOST_INSTANCES", 1)
    assert asyncio.run(status(f"{series}/instances/{ct.SOPInstanceUID}")) == (200, "")
    assert asyncio.run(status(one.StudyInstanceUID)) == (200, "")
    context.ledger.close()
    ours.close()
    theirs.close()
