"""DCMTK's archive: Study Root, and Patient Root alone, over C-FIND, C-MOVE and C-GET."""

import shutil
import socket
import subprocess
import time

import pytest
from pydicom.uid import CTImageStorage

from dae_pacs.demo.orthanc import free_port
from dae_pacs.demo.phantoms import Study, ct_series, write_all
from dae_pacs.dimse import finding, getting, moving, scu
from dae_pacs.dimse.addresses import PeerAddress
from dae_pacs.dimse.reception import Store
from dae_pacs.dimse.refusals import Answer
from dae_pacs.dimse.retrieval import Target, Watch
from dae_pacs.node.catalogue import Wanted, list_series

pytestmark = pytest.mark.pacs

STUDY = Study(patient_id="DCMTK-1")


class _File:
    def write(self, data):
        pass

    def discard(self):
        pass


@pytest.fixture(scope="module")
def port():
    return free_port()


def _started(tmp_path_factory, node_port, *options):
    program = shutil.which("dcmqrscp")
    if program is None:
        pytest.skip("DCMTK's dcmqrscp is not installed")
    folder, port = tmp_path_factory.mktemp("dcmqrscp"), free_port()
    (folder / "store").mkdir()
    (folder / "dcmqrscp.cfg").write_text(
        f"NetworkTCPPort = {port}\nMaxPDUSize = 16384\nMaxAssociations = 16\n"
        f"HostTable BEGIN\nnode = (DAE_PACS, localhost, {node_port})\nHostTable END\n"
        "VendorTable BEGIN\nVendorTable END\n"
        f"AETable BEGIN\nDCMTK {folder}/store RW (200, 1024mb) ANY\nAETable END\n"
    )
    log = (folder / "log").open("wb")
    process = subprocess.Popen(
        [program, "-c", folder / "dcmqrscp.cfg", *options, str(port)], cwd=folder, stdout=log, stderr=log
    )
    log.close()
    deadline = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        else:
            return process, port


def _ended(process):
    process.terminate()
    process.wait(10)


def _filled(peer, folder):
    files = write_all(ct_series(STUDY, slices=3, size=32), folder)
    results = []
    scu.send(peer, [scu.outgoing(path) for path in files], calling_ae="DAE_PACS", on_result=results.append)
    assert {result.status for result in results} == {0}


@pytest.fixture(scope="module", params=[(), ("--no-study-root",)], ids=["both roots", "patient root alone"])
def peer(request, tmp_path_factory, port):
    process, own_port = _started(tmp_path_factory, port, *request.param)
    try:
        made = PeerAddress("DCMTK", "127.0.0.1", own_port, 5.0, 10.0)
        _filled(made, tmp_path_factory.mktemp("files"))
        yield made
    finally:
        _ended(process)


def _target(peer):
    with finding.finder(peer, calling_ae="DAE_PACS") as finder:
        listing = list_series(finder, Wanted(patient_id="DCMTK-1", modalities=("CT",)), most=10)
    (series,) = listing.series
    return Target(series.StudyInstanceUID, series.SeriesInstanceUID, (), series.PatientID)


def _receiving(kept):
    def keep(incoming):
        kept.append(incoming.SOPInstanceUID)
        return Answer(0)

    return getting.Receiving(Store(_File, keep, 1 << 30), "DAE_PACS")


def test_a_series_comes_over_c_get(peer):
    kept = []
    result = getting.get(peer, _target(peer), _receiving(kept), sop_classes=[CTImageStorage], watch=Watch())
    assert result.is_whole
    assert len(set(kept)) == 3


def test_a_series_comes_over_c_move(peer, port, start_node):
    node = start_node(port=port)
    result = moving.move(peer, _target(peer), calling_ae="DAE_PACS", destination="DAE_PACS", watch=Watch())
    assert result.is_whole
    node.wait_for("ended")
    assert len(node.kept) == 3


def test_an_unknown_destination_is_a801(peer):
    result = moving.move(peer, _target(peer), calling_ae="DAE_PACS", destination="NOBODY", watch=Watch())
    assert result.words.startswith("A801H")
    assert "have the AE title NOBODY be entered there" in result.words
