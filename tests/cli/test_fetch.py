"""`dae-pacs fetch` against a real archive: over DIMSE and over the web, into a folder and into a node."""

import io
from pathlib import Path

import pytest
from pydicom import dcmread

from dae_pacs.config.load import load
from dae_pacs.demo.orthanc import NodeAddress, Orthanc, find_orthanc, free_port
from dae_pacs.demo.phantoms import Study, ct_series, radiograph
from dae_pacs.node.lifecycle import Node
from dae_pacs.spool.ledger import Ledger

pytestmark = pytest.mark.pacs

PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
STUDY = Study(patient_id="FETCHED", name="Τεστ^Ελένη")


@pytest.fixture(scope="module")
def port():
    return free_port()


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory, port):
    if find_orthanc() is None or not PLUGIN.exists():
        pytest.skip("Debian's orthanc and orthanc-dicomweb are not installed")
    options = {
        "DefaultEncoding": "Utf8",
        "DicomAlwaysAllowFind": True,
        "DicomAlwaysAllowGet": True,
        "DicomAlwaysAllowMove": True,
        "Plugins": [str(PLUGIN)],
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
    }
    folder = tmp_path_factory.mktemp("orthanc")
    with Orthanc(folder, node=NodeAddress("DAE_PACS", port), options=options) as running:
        for ds in [*ct_series(STUDY, slices=3, size=32), radiograph(STUDY, "CR", rows=32, columns=32)]:
            ds.SpecificCharacterSet = "ISO_IR 192"
            ds.PatientName = STUDY.name
            file = io.BytesIO()
            ds.save_as(file, enforce_file_format=True)
            running.rest.upload(file.getvalue())
        yield running


@pytest.fixture(autouse=True)
def config(orthanc, port, tmp_path):
    path = tmp_path / "dae-pacs.toml"
    path.write_text(
        f'[node]\nport = {port}\nquiet_s = 0.2\n[audit]\nfile = "audit.xml"\n'
        f'[peers.orthanc]\nae_title = "ORTHANC"\nhost = "127.0.0.1"\nport = {orthanc.port}\n'
        f'[web_peers.web]\nurl = "http://127.0.0.1:{orthanc.http_port}/dicom-web"\n'
        '[[rules]]\nname = "all"\naction = "keep"\n'
    )
    return path


@pytest.fixture
def node(config):
    node = Node(load(config))
    try:
        node.start()
        yield node
    finally:
        node.stop()


def test_what_a_peer_has_is_listed_with_its_names(run, tmp_path):
    ran = run("fetch", "orthanc", "--patient", "FETCHED", "--to", tmp_path / "set", "--dry-run")
    assert ran.code == 0, ran.err
    assert "Τεστ^Ελένη" in ran.out
    assert [word in ran.out for word in ("CT", "CR", "HEAD", "20260105")] == [True] * 4
    assert list((tmp_path / "set").iterdir()) == []


@pytest.mark.parametrize("peer", ["orthanc", "web"])
def test_a_training_set_comes_into_a_folder_once(run, tmp_path, peer):
    into = tmp_path / "set"
    ran = run("fetch", peer, "--patient", "FETCHED", "--modality", "ct", "--to", into, "--yes")
    assert ran.code == 0, ran.err
    assert "1 series fetched, 0 failed" in ran.out
    files = sorted(into.rglob("*.dcm"))
    assert len(files) == 3
    for path in files:
        ds = dcmread(path)
        assert path == into / ds.StudyInstanceUID / ds.SeriesInstanceUID / f"{ds.SOPInstanceUID}.dcm"
    files[0].unlink()
    assert "All of it" not in run("fetch", peer, "--patient", "FETCHED", "--to", into, "--dry-run").out
    ran = run("fetch", peer, "--patient", "FETCHED", "--to", into, "--exact", "--yes")
    assert "2 series fetched, 0 failed" in ran.out
    assert "All of it is here" in run("fetch", peer, "--patient", "FETCHED", "--to", into, "--yes").out
    assert len(list(into.rglob("*"))) == 1 + 2 + 4


@pytest.mark.parametrize(("peer", "by"), [("orthanc", "move"), ("orthanc", "get"), ("web", "wado")])
def test_a_study_comes_into_the_running_node_once(run, node, peer, by):
    ran = run("fetch", peer, "--study", STUDY.uid, "--by", by, "--yes")
    assert ran.code == 0, ran.err
    assert "2 series fetched, 0 failed" in ran.out
    story = node.ledger.study_story(STUDY.uid)
    assert story.study.received == 4
    assert {(pull.peer, pull.rule, pull.status) for pull in story.pulls} == {(peer, "", "pulled")}
    assert "All of it is here" in run("fetch", peer, "--study", STUDY.uid, "--by", by, "--yes").out
    told = run("status", "--study", STUDY.uid).out
    assert ("a person" in told, "dae-pacs fetch" in told) == (True, True)


def test_queries_and_transfers_are_in_the_audit_trail(run, tmp_path):
    ran = run("fetch", "orthanc", "--patient", "FETCHED", "--to", tmp_path / "set", "--yes")
    assert ran.code == 0, ran.err
    trail = (tmp_path / "audit.xml").read_text()
    for event in ("110112", "110102", "110104"):
        assert f'csd-code="{event}"' in trail
    assert "ParticipantObjectQuery" in trail


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nobody", "--patient", "X"], "is not in the configuration"),
        (["orthanc"], "would be the whole archive"),
        (["orthanc", "--patient", "NOBODY"], "has nothing of what is asked for"),
        (["orthanc", "--date", "next week"], "last 3 days"),
        (["orthanc", "--patient", "FETCHED", "--by", "wado"], "is none of web_peers"),
        (["web", "--patient", "FETCHED", "--by", "get"], "is asked by wado"),
        (["orthanc", "--patient", "FETCHED", "--by", "move"], "leave one of them out"),
        (["orthanc", "--patient", "FETCHED"], "add --yes"),
    ],
)
def test_what_is_wrong_is_said_in_words(run, tmp_path, arguments, words):
    ran = run("fetch", *arguments, "--to", tmp_path / "set")
    assert ran.code == 1
    assert words in ran.err


def test_without_a_node_the_archive_is_not_asked_to_send(run):
    ran = run("fetch", "orthanc", "--patient", "FETCHED", "--yes")
    assert ran.code == 1
    assert "Start it with `dae-pacs serve`, or fetch into a folder with --to DIR" in ran.err


def test_a_destination_that_the_archive_does_not_know_is_said_so(run, node):
    ran = run("fetch", "orthanc", "--patient", "FETCHED", "--destination", "NOWHERE", "--yes")
    assert ran.code == 1
    assert "have the AE title NOWHERE be entered there" in ran.err
    with Ledger(node.files.ledger_path) as ledger:
        assert {pull.status for pull in ledger.pulls.of_study(STUDY.uid)} == {"failed"}
