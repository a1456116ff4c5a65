"""A pull rule fetches from a real archive, once, and after a restart too: one Orthanc, real nodes."""

import io
import time
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest

from dae_pacs.config.model import NodeSettings, Peer, Settings
from dae_pacs.config.pulls import Pull
from dae_pacs.demo.orthanc import NodeAddress, Orthanc, find_orthanc, free_port
from dae_pacs.demo.phantoms import Study, ct_series, radiograph, write_all
from dae_pacs.dimse import scu
from dae_pacs.node.lifecycle import Node
from dae_pacs.spool.ledger import Ledger

pytestmark = pytest.mark.pacs

TODAY = datetime.now().astimezone()


def _upload(orthanc, objects):
    for ds in objects:
        file = io.BytesIO()
        ds.save_as(file, enforce_file_format=True)
        orthanc.rest.upload(file.getvalue())


@pytest.fixture(scope="module")
def port():
    return free_port()


@pytest.fixture(scope="module")
def archive(tmp_path_factory, port):
    if find_orthanc() is None:
        pytest.skip("Debian's orthanc is not installed")
    options = {"DicomAlwaysAllowFind": True, "DicomAlwaysAllowGet": True, "DicomAlwaysAllowMove": True}
    folder = tmp_path_factory.mktemp("orthanc")
    with Orthanc(folder, node=NodeAddress("DAE_PACS", port), options=options) as orthanc:
        yield orthanc


@pytest.fixture
def run_node(tmp_path, archive, port):
    """Run nodes on one spool: `with run_node(Pull(...)) as node:`."""

    @contextmanager
    def run(*pulls, **changes):
        settings = Settings(
            node=NodeSettings(spool=tmp_path / "spool", port=port, quiet_s=0.2, **changes),
            peers={"orthanc": Peer(ae_title="ORTHANC", host="127.0.0.1", port=archive.port)},
            pulls=pulls,
            rules=({"name": "all", "action": "keep"},),
        )
        node = Node(settings)
        try:
            node.start()
            yield node
        finally:
            node.stop()

    return run


def _until(true, *, timeout_s=20.0):
    deadline = time.monotonic() + timeout_s
    while not (found := true()):
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.05)
    return found


def _pulled(node, study):
    return [one for one in node.ledger.pulls.of_study(study.uid) if one.status == "pulled"]


def _rule(name="rule", **changes):
    return Pull(**({"name": name, "peer": "orthanc", "every_s": 0.5, "per_minute": 100000} | changes))


@pytest.mark.parametrize("by", ["move", "get"])
def test_a_rule_fetches_what_it_names_and_nothing_else(archive, run_node, by):
    study, other = Study(patient_id=f"MINE-{by}"), Study(patient_id="OTHER")
    _upload(archive, [*ct_series(study, slices=3, size=32), radiograph(study, "CR", rows=32, columns=32)])
    _upload(archive, ct_series(other, slices=2, size=32))
    with run_node(_rule(patient=f"MINE-{by}", modality="CT", by=by)) as node:
        (pull,) = _until(lambda: _pulled(node, study))
        story = node.ledger.study_story(study.uid)
        assert (pull.announced, pull.arrived, pull.reason) == (3, 3, "pull rule rule")
        assert {one.SeriesInstanceUID for one in story.instances} == {pull.SeriesInstanceUID}
        assert [one.StudyInstanceUID for one in node.ledger.studies()] == [study.uid]
        assert node.ledger.pulls.rule("rule").failures == 0


def test_nothing_is_fetched_twice_and_what_grows_is_completed(archive, run_node):
    study = Study(patient_id="GROWS")
    objects = ct_series(study, slices=4, size=32)
    _upload(archive, objects[:2])
    rule = _rule(patient="GROWS", by="get")
    with run_node(rule) as node:
        _until(lambda: _pulled(node, study))
        before = node.scp.attendance.attended().objects
    with run_node(rule) as node:
        looked_at = node.ledger.pulls.rule("rule").looked_at
        _until(lambda: node.ledger.pulls.rule("rule").looked_at > looked_at + 1)
        assert node.scp.attendance.attended().objects == 0
        _upload(archive, objects[2:])
        _until(lambda: [one for one in _pulled(node, study) if one.arrived == 4])
        assert (before, node.scp.attendance.attended().objects) == (2, 2)
        (puller,) = node._pullers
        assert puller._known == {study.uid: "4"}


def test_priors_of_a_study_that_arrives_are_fetched_the_latest_first(tmp_path, archive, run_node):
    now = Study(patient_id="PRIOR", taken=datetime(2026, 3, 1, 8, 0, tzinfo=UTC))
    years = (2025, 2024, 2023, 2015)
    olds = [Study(patient_id="PRIOR", taken=datetime(year, 3, 1, 8, 0, tzinfo=UTC)) for year in years]
    stranger = Study(patient_id="PRIOR2", taken=datetime(2025, 5, 1, 8, 0, tzinfo=UTC))
    for old in olds:
        _upload(archive, [*ct_series(old, slices=2, size=32), radiograph(old, "CR", rows=32, columns=32)])
    _upload(archive, ct_series(stranger, slices=2, size=32))
    arriving = write_all(ct_series(now, slices=1, size=32), tmp_path / "files")
    with run_node(_rule(priors=True, priors_most=2, by="get")) as node:
        _until(node.ledger.pulls.rules)
        peer = scu.PeerAddress("DAE_PACS", "127.0.0.1", node.scp.port)
        scu.send(
            peer, [scu.outgoing(path) for path in arriving], calling_ae="DAE_PACS", on_result=lambda _r: None
        )
        _until(lambda: all(_pulled(node, old) for old in olds[:2]))
        time.sleep(2.5)  # none of what was fetched calls for priors of its own
        held = {one.StudyInstanceUID for one in node.ledger.studies()}
        assert held == {now.uid, *(old.uid for old in olds[:2])}
        assert {pull.reason for old in olds[:2] for pull in _pulled(node, old)} == {
            f"prior of study {now.uid}"
        }
        modalities = {one.modalities for one in node.ledger.studies()}
        assert modalities == {"CT"}


@pytest.mark.parametrize(
    ("changes", "node_changes", "words"),
    [
        ({"hours": None}, {"minimum_free_mb": 10**12}, "the disk is low"),
        ({"hours": f"{(TODAY.hour + 2) % 24}-{(TODAY.hour + 3) % 24}"}, {}, "outside its hours"),
    ],
)
def test_a_rule_rests_outside_its_hours_and_when_the_disk_is_low(
    archive, run_node, changes, node_changes, words
):
    with run_node(_rule(patient="GROWS", **changes), **node_changes) as node:
        state = _until(lambda: [one for one in node.ledger.pulls.rules() if one.error])[0]
        assert words in state.error
        assert (state.looked_at, state.failures) == (0, 0)


def test_a_rule_whose_peer_is_down_rests_ever_longer_and_says_why(run_node, archive):
    gone = {"orthanc": Peer(ae_title="ORTHANC", host="127.0.0.1", port=free_port())}
    with run_node(_rule(dates="today")) as node:
        spool = node.files.root
        settings = node._settings.model_copy(update={"peers": gone})
    node = Node(settings)
    try:
        node.start()
        state = _until(lambda: [one for one in node.ledger.pulls.rules() if one.failures])[0]
        assert "connection refused" in state.error
        assert state.next_try_at > time.time() + 5
    finally:
        node.stop()
    with Ledger(spool / "ledger.sqlite") as ledger:
        assert ledger.pulls.rule("rule").failures == 1


def test_a_destination_that_the_archive_does_not_know_stops_the_rule_with_words(run_node, archive):
    study = Study(patient_id="NOWHERE")
    _upload(archive, ct_series(study, slices=2, size=32))
    with run_node(_rule(patient="NOWHERE", by="move", destination="ELSEWHERE")) as node:
        state = _until(lambda: [one for one in node.ledger.pulls.rules() if one.failures])[0]
        assert "have the AE title ELSEWHERE be entered there" in state.error
        (pull,) = node.ledger.pulls.of_study(study.uid)
        assert (pull.status, pull.attempts) == ("waiting", 1)
