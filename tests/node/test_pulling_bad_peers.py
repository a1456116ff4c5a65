"""Pull rules against archives that break off, send something else, or know Patient Root alone."""

import socket
import sys
import threading
import time
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pynetdicom.sop_class import (
    PatientRootQueryRetrieveInformationModelFind,
    PatientRootQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
)

from dae_pacs import failpoints
from dae_pacs.config.model import NodeSettings, Peer, Settings
from dae_pacs.config.pulls import Pull
from dae_pacs.config.web_peers import WebPeer
from dae_pacs.demo.phantoms import Study, ct_series, write_all
from dae_pacs.dimse import scu
from dae_pacs.node import pulling
from dae_pacs.node.lifecycle import Node
from dae_pacs.spool import pulls

sys.path.insert(0, str(Path(__file__).parents[1]))  # for the tests' own module

from scripted_archive import archive, find_among, get_among

STUDY_ROOT = (StudyRootQueryRetrieveInformationModelFind, StudyRootQueryRetrieveInformationModelGet)
PATIENT_ROOT = (PatientRootQueryRetrieveInformationModelFind, PatientRootQueryRetrieveInformationModelGet)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    monkeypatch.setattr(pulls, "_RETRY_FACTOR", 0.02)


@pytest.fixture
def study():
    return Study(patient_id="P1")


@pytest.fixture
def objects(study):
    return ct_series(study, slices=4, size=32)


@pytest.fixture
def run_node(tmp_path):
    @contextmanager
    def run(peer, **changes):
        rule = {"name": "rule", "peer": "bad", "every_s": 0.5, "per_minute": 100000, "by": "get"}
        settings = Settings(
            node=NodeSettings(spool=tmp_path / "spool", port=0, quiet_s=0.2),
            peers={"bad": Peer(ae_title=peer.ae_title, host=peer.host, port=peer.port, dimse_timeout_s=5)},
            pulls=[Pull(**(rule | {"patient": "P1"} | changes))],
            rules=({"name": "all", "action": "keep"},),
        )
        node = Node(settings)
        try:
            node.start()
            yield node
        finally:
            node.stop()

    return run


def _until(true, *, timeout_s=25.0):
    deadline = time.monotonic() + timeout_s
    while not (found := true()):
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.05)
    return found


def _series(node, study, status):
    return [one for one in node.ledger.pulls.of_study(study.uid) if one.status == status]


def test_what_is_missing_after_a_cut_is_fetched_alone(run_node, study, objects):
    honest, asked = get_among(objects), []

    def get(event):
        asked.append(event.identifier.get("SOPInstanceUID", ""))
        if len(asked) > 1:
            yield from honest(event)
            return
        yield len(objects)
        yield 0xFF00, objects[0]
        yield 0xFF00, objects[1]
        event.assoc.abort()
        yield 0xFE00, None

    with archive(*STUDY_ROOT, find=find_among(objects), get=get) as peer, run_node(peer) as node:
        (pull,) = _until(lambda: _series(node, study, "pulled"))
        assert (pull.attempts, pull.arrived) == (2, 4)
        assert asked[0] == ""
        assert set(asked[1]) == {ds.SOPInstanceUID for ds in objects[2:]}
        assert len(node.ledger.study_story(study.uid).instances) == 4
        assert node.ledger.pulls.rule("rule").failures == 0


def test_objects_of_another_study_are_refused_and_the_rest_is_kept(run_node, study, objects):
    foreign = ct_series(Study(patient_id="P2"), slices=2, size=32)

    def get(_event):
        yield 6
        for ds in [*objects[:2], *foreign, *objects[2:]]:
            yield 0xFF00, ds

    with archive(*STUDY_ROOT, find=find_among(objects), get=get) as peer, run_node(peer) as node:
        pull = _until(
            lambda: [
                one for one in node.ledger.pulls.of_study(study.uid) if one.attempts and one.arrived == 4
            ]
        )[0]
        assert "failed" in (pull.error or "")
        assert [one.StudyInstanceUID for one in node.ledger.studies()] == [study.uid]
        # All of it is here, so that nothing is asked for again.
        (pull,) = _until(lambda: _series(node, study, "pulled"))
        assert (pull.arrived, node.scp.attendance.attended().objects) == (4, 4)


def test_a_peer_that_says_success_and_sends_nothing_is_given_up_with_words(run_node, study, objects):
    def get(_event):
        yield 0

    with archive(*STUDY_ROOT, find=find_among(objects), get=get) as peer, run_node(peer) as node:
        (pull,) = _until(lambda: _series(node, study, "failed"), timeout_s=60)
        assert "0 of 4 objects are here" in pull.error
        assert pull.attempts == 5
        looked_at = node.ledger.pulls.rule("rule").looked_at
        _until(lambda: node.ledger.pulls.rule("rule").looked_at > looked_at)
        assert _series(node, study, "failed")


def test_a_peer_with_patient_root_alone_is_asked_with_the_patient(run_node, study, objects):
    with (
        archive(*PATIENT_ROOT, find=find_among(objects), get=get_among(objects)) as peer,
        run_node(peer) as node,
    ):
        (pull,) = _until(lambda: _series(node, study, "pulled"))
        assert (pull.PatientID, pull.arrived) == ("P1", 4)


def test_a_node_that_stops_in_a_retrieval_goes_on_with_it_later(run_node, study, objects):
    honest, asked = get_among(objects), []

    def get(event):
        asked.append(True)
        if len(asked) > 1:
            yield from honest(event)
            return
        yield len(objects)
        yield 0xFF00, objects[0]
        for _ in range(100):
            if event.is_cancelled:
                yield 0xFE00, None
                return
            time.sleep(0.1)
        yield 0xFE00, None

    with archive(*STUDY_ROOT, find=find_among(objects), get=get) as peer:
        with run_node(peer) as node:
            _until(lambda: node.scp.attendance.attended().objects or _counted(node))
            started = time.monotonic()
        assert time.monotonic() - started < 30
        with run_node(peer) as node:
            (pull,) = _until(lambda: _series(node, study, "pulled"))
            assert (pull.arrived, pull.attempts) == (4, 1)


# The thread's death is the point of the test; it is seen, logged and mended.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("point", ["thread.puller", "thread.pulling"])
def test_a_puller_that_fails_goes_on(run_node, study, objects, point):
    failpoints.arm(f"{point}=raise:RuntimeError@1")
    try:
        with (
            archive(*STUDY_ROOT, find=find_among(objects), get=get_among(objects)) as peer,
            run_node(peer) as node,
        ):
            (pull,) = _until(lambda: _series(node, study, "pulled"))
            # A try that failed counts, whatever it failed by: another series is first then.
            assert (pull.arrived, pull.attempts) == (4, 2 if point == "thread.pulling" else 1)
    finally:
        failpoints.disarm()


@pytest.mark.parametrize("bad", ["\u0416-1", "REFUSED"])
def test_an_arrival_whose_priors_cannot_be_asked_for_keeps_no_other_from_its_own(
    tmp_path, study, objects, bad
):
    honest = find_among(objects)

    def find(event):
        if event.identifier.get("PatientID", "") == "REFUSED":
            yield 0xA900, None
            return
        yield from honest(event)

    now = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)
    arriving = []
    for patient in (bad, study.patient_id):
        (ds,) = ct_series(Study(patient_id=patient, taken=now), slices=1, size=32)
        ds.SpecificCharacterSet = "ISO_IR 192"
        arriving.append(write_all([ds], tmp_path / str(len(arriving))))
    with archive(*STUDY_ROOT, find=find, get=get_among(objects)) as peer:
        rule = {"name": "priors", "peer": "bad", "priors": True, "priors_years": 100, "by": "get"}
        node = Node(
            Settings(
                node=NodeSettings(spool=tmp_path / "spool", port=0, quiet_s=0.2, accept="anyone"),
                peers={"bad": Peer(ae_title=peer.ae_title, host=peer.host, port=peer.port)},
                pulls=[Pull(**rule, character_set="ISO_IR 100", per_minute=100000)],
                rules=({"name": "all", "action": "keep"},),
            )
        )
        try:
            node.start()
            _until(node.ledger.pulls.rules)
            us = scu.PeerAddress("DAE_PACS", "127.0.0.1", node.scp.port)
            for paths in arriving:
                files = [scu.outgoing(path) for path in paths]
                scu.send(us, files, calling_ae="CT", on_result=lambda _result: None)
            (pull,) = _until(lambda: _series(node, study, "pulled"))
            assert pull.arrived == 4
            assert node.ledger.pulls.rule("priors").failures == 0
        finally:
            node.stop()


class _Refusing:
    """An archive that refuses what is asked of some patients, until it changes its mind."""

    def __init__(self, objects, refused, status):
        self.refused = refused
        self.asked = []
        self._status = status
        self._honest = find_among(objects)

    def __call__(self, event):
        patient = event.identifier.get("PatientID", "")
        self.asked.append(patient)
        if patient in self.refused:
            yield self._status, None
            return
        yield from self._honest(event)


@pytest.fixture
def run_priors(tmp_path):
    @contextmanager
    def run(peer):
        rule = {"name": "priors", "peer": "bad", "priors": True, "priors_years": 100, "by": "get"}
        settings = Settings(
            node=NodeSettings(spool=tmp_path / "spool", port=0, quiet_s=0.2, accept="anyone"),
            peers={"bad": Peer(ae_title=peer.ae_title, host=peer.host, port=peer.port)},
            pulls=[Pull(**rule, per_minute=100000)],
            rules=({"name": "all", "action": "keep"},),
        )
        node = Node(settings)
        try:
            node.start()
            _until(node.ledger.pulls.rules)
            yield node
        finally:
            node.stop()

    return run


def _arrive(node, folder, patients):
    us = scu.PeerAddress("DAE_PACS", "127.0.0.1", node.scp.port)
    now = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)
    for patient in patients:
        paths = write_all(
            ct_series(Study(patient_id=patient, taken=now), slices=1, size=32), folder / patient
        )
        files = [scu.outgoing(path) for path in paths]
        scu.send(us, files, calling_ae="CT", on_result=lambda _result: None)


@pytest.mark.parametrize("status", [0x0124, 0xA700, 0xA7FF])
def test_a_patient_who_is_refused_for_now_is_put_off_while_others_go_on(
    tmp_path, run_priors, study, objects, status
):
    protected = Study(patient_id="P2")
    all_objects = [*objects, *ct_series(protected, slices=2, size=32)]
    find = _Refusing(all_objects, {"P2"}, status)
    with archive(*STUDY_ROOT, find=find, get=get_among(all_objects)) as peer, run_priors(peer) as node:
        _arrive(node, tmp_path, ["P2", study.patient_id])
        _until(lambda: _series(node, study, "pulled"))
        assert node.ledger.pulls.rule("priors").failures == 0
        assert not node.ledger.pulls.of_study(protected.uid)
        find.refused = set()
        (pull,) = _until(lambda: _series(node, protected, "pulled"))
        assert pull.arrived == 2
        assert len(node.ledger.pulls.arrivals("priors", limit=9)) == 0


def test_who_was_put_off_is_asked_for_again_after_a_restart(tmp_path, run_priors, study, objects):
    protected = Study(patient_id="P2")
    all_objects = [*objects, *ct_series(protected, slices=2, size=32)]
    find = _Refusing(all_objects, {"P2"}, 0x0124)
    with archive(*STUDY_ROOT, find=find, get=get_among(all_objects)) as peer:
        with run_priors(peer) as node:
            _arrive(node, tmp_path, ["P2", study.patient_id])
            _until(lambda: _series(node, study, "pulled"))
        find.refused = set()
        with run_priors(peer) as node:
            _until(lambda: _series(node, protected, "pulled"))
            assert len(_series(node, study, "pulled")) == 1  # what was done is not done again


def test_an_archive_that_refuses_one_patient_after_another_is_left_alone(tmp_path, run_priors, objects):
    patients = [f"B{number}" for number in range(5)]
    find = _Refusing(objects, set(patients), 0xA700)
    with archive(*STUDY_ROOT, find=find, get=get_among(objects)) as peer, run_priors(peer) as node:
        _arrive(node, tmp_path, patients)
        _until(lambda: node.ledger.pulls.rule("priors").failures)
        assert "A700" in node.ledger.pulls.rule("priors").error


def _counted(node):
    return node.ledger.counts()["instances"].get("received kept", 0)


@pytest.fixture
def silent_service():
    """Give the port of a service that takes connections and never answers, and what it took."""
    taken = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def take():
            with suppress(OSError):
                while True:
                    taken.append(server.accept()[0])

        thread = threading.Thread(target=take)
        thread.start()
        yield server.getsockname()[1], taken
        socket.socket.shutdown(server, socket.SHUT_RDWR)
        thread.join()
    for connection in taken:
        connection.close()


@pytest.fixture
def stopping_node(tmp_path, silent_service):
    """A node whose pullers wait for a service that is silent, and the thread that stops it."""
    port, taken = silent_service
    service = WebPeer(url=f"http://127.0.0.1:{port}", answer_timeout_s=300)
    node = Node(
        Settings(
            node=NodeSettings(spool=tmp_path / "spool", port=0, quiet_s=0.2),
            web_peers={"silent": service},
            pulls=[Pull(name=name, peer="silent", every_s=0.5, patient="P1") for name in "abc"],
            rules=({"name": "all", "action": "keep"},),
        )
    )
    node.start()
    thread = threading.Thread(target=node.stop, daemon=True)
    try:
        _until(lambda: len(taken) == 3)
        yield node, thread
    finally:
        for connection in list(taken):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        thread.join(60)


def test_a_silent_service_does_not_keep_the_node_from_its_end(stopping_node):
    _node, thread = stopping_node
    thread.start()
    thread.join(60)
    assert not thread.is_alive()


def test_a_node_that_stops_receives_no_more_while_its_pullers_end(stopping_node, monkeypatch):
    monkeypatch.setattr(pulling, "_STOP_S", 600.0)
    node, thread = stopping_node
    port = node.scp.port

    def is_closed():
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except ConnectionRefusedError:
            return True
        return False

    thread.start()
    _until(is_closed)
    assert all(puller._thread.is_alive() for puller in node._pullers)
