"""The auto-routing scripts, against a storage SCP that notes what it is sent."""

import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import Dataset, dcmread
from pydicom.data import get_testdata_file
from pydicom.sequence import Sequence

from dae_pacs.demo.archive import EmbeddedArchive
from dae_pacs.demo.orthanc import NodeAddress, Orthanc, Routing

pytestmark = [pytest.mark.pacs]


def _original() -> Dataset:
    return dcmread(str(get_testdata_file("CT_small.dcm", download=False)))


def _ours() -> Dataset:
    ds = _original()
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = "2.25.17"
    ds.SeriesInstanceUID = "2.25.18"
    purpose, equipment = Dataset(), Dataset()
    purpose.CodeValue, purpose.CodingSchemeDesignator, purpose.CodeMeaning = (
        "109102",
        "DCM",
        "Processing Equipment",
    )
    equipment.Manufacturer = "dae-pacs"
    equipment.PurposeOfReferenceCodeSequence = Sequence([purpose])
    ds.ContributingEquipmentSequence = Sequence([equipment])
    return ds


def _as_file(ds: Dataset) -> bytes:
    file = BytesIO()
    ds.save_as(file, enforce_file_format=True)
    return file.getvalue()


@pytest.fixture
def node(tmp_path: Path) -> Iterator[EmbeddedArchive]:
    with EmbeddedArchive(tmp_path / "node") as archive:
        yield archive


def _address(node: EmbeddedArchive) -> NodeAddress:
    return NodeAddress(node.address.ae_title, node.address.port)


def _await(node: EmbeddedArchive, count: int) -> list[str]:
    deadline = time.monotonic() + 20
    while len(node.instances()) < count and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(1)  # whatever else was to come
    return [str(dcmread(BytesIO(node.file(name))).SOPInstanceUID) for name in node.instances()]


def test_originals_go_to_the_node_and_results_stay(node: EmbeddedArchive, start_orthanc) -> None:  # type: ignore[no-untyped-def]
    orthanc: Orthanc = start_orthanc(node=_address(node), routing=Routing.ORIGINALS)
    orthanc.rest.upload(_as_file(_ours()))
    orthanc.rest.upload(_as_file(_original()))
    assert _await(node, 1) == [_original().SOPInstanceUID]
    assert [job["State"] for job in orthanc.rest.jobs()] == ["Success"]


def test_unguarded_script_sends_results_back(node: EmbeddedArchive, start_orthanc) -> None:  # type: ignore[no-untyped-def]
    orthanc: Orthanc = start_orthanc(node=_address(node), routing=Routing.EVERYTHING)
    orthanc.rest.upload(_as_file(_ours()))
    orthanc.rest.upload(_as_file(_original()))
    assert set(_await(node, 2)) == {"2.25.17", _original().SOPInstanceUID}


def test_route_to_a_node_that_is_down_shows_as_failed_job(node: EmbeddedArchive, start_orthanc) -> None:  # type: ignore[no-untyped-def]
    node.stop()
    orthanc: Orthanc = start_orthanc(node=_address(node), routing=Routing.ORIGINALS, DicomScuTimeout=2)
    orthanc.rest.upload(_as_file(_original()))
    deadline = time.monotonic() + 20
    while "Failure" not in [job["State"] for job in orthanc.rest.jobs()]:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    node.start()
    (job,) = orthanc.rest.jobs()
    orthanc.rest.post(f"/jobs/{job['ID']}/resubmit", "")
    assert _await(node, 1) == [_original().SOPInstanceUID]
