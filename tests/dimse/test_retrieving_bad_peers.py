"""Peers that never end, answer something else, fail, or break off: bounded, and what came stays."""

import itertools
import ssl
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import Dataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from pynetdicom.sop_class import (
    PatientRootQueryRetrieveInformationModelFind,
    PatientRootQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelMove,
)

from dae_pacs.demo.phantoms import Study, ct_series
from dae_pacs.dimse import finding, getting, identifiers, moving
from dae_pacs.dimse.reception import Incoming, Store
from dae_pacs.dimse.refusals import Answer
from dae_pacs.dimse.retrieval import Patience, Progress, Target, Watch
from dae_pacs.dimse.tls_client import ClientTls
from dae_pacs.errors import PeerError, ProtocolError
from dae_pacs.node.catalogue import Wanted, list_series

sys.path.insert(0, str(Path(__file__).parents[1]))  # for the tests' own module

from scripted_archive import archive

# pynetdicom's own requestor, which a C-MOVE's provider uses, leaves its socket open when nobody answers.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning"
)

FIND, GET, MOVE = (
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelMove,
)
KEYS = {"PatientID": "", "StudyInstanceUID": ""}
TARGET = Target("1.2.3", "1.2.3.4")


def _match(number: int, **more: str) -> Dataset:
    ds = Dataset()
    ds.QueryRetrieveLevel = "STUDY"
    ds.StudyInstanceUID = f"1.2.{number}"
    ds.PatientID = f"P{number}"
    for keyword, value in more.items():
        setattr(ds, keyword, value)
    return ds


class _Taken:
    """Objects in memory."""

    def __init__(self) -> None:
        self.kept: list[Incoming] = []
        self.ended: list[str] = []

    def receiving(self) -> getting.Receiving:
        return getting.Receiving(Store(_File, self._keep, 1 << 30), "US", association_ended=self.ended.append)

    def _keep(self, incoming: Incoming) -> Answer:
        self.kept.append(incoming)
        return Answer(0)


class _File:
    def write(self, data):
        pass

    def discard(self):
        pass


def test_a_hundred_thousand_matches_are_cut_and_the_peer_is_told_to_stop():
    cancelled = []

    def find(event):
        for number in range(100_000):
            if event.is_cancelled:
                cancelled.append(number)
                yield 0xFE00, None
                return
            time.sleep(0.001)  # or pynetdicom puts thousands in line, and says them all before it hears us
            yield 0xFF00, _match(number + 1)

    with archive(FIND, find=find) as peer, finding.finder(peer, calling_ae="US") as finder:
        found = finder.find("STUDY", KEYS, finding.Bounds(most=200))
    assert (len(found.found), found.is_cut) == (200, True)
    assert cancelled, "the peer heard it before it had said all"


def test_a_peer_that_goes_on_after_being_told_to_stop_is_cut_off(monkeypatch):
    monkeypatch.setattr(finding, "_DRAIN_S", 1.0)

    def find(_event):
        for number in itertools.count(1):
            yield 0xFF00, _match(number)

    started = time.monotonic()
    with (
        archive(FIND, find=find) as peer,
        finding.finder(peer, calling_ae="US") as finder,
        pytest.raises(PeerError, match="goes on answering after C-CANCEL"),
    ):
        finder.find("STUDY", KEYS, finding.Bounds(most=5))
    assert time.monotonic() - started < 60


def test_a_peer_that_falls_silent_is_given_up():
    def find(_event):
        yield 0xFF00, _match(1)
        time.sleep(3)
        yield 0x0000, None

    with (
        archive(FIND, find=find) as peer,
        finding.finder(peer, calling_ae="US") as finder,
        pytest.raises(PeerError, match="no answer within"),
    ):
        finder.find("STUDY", KEYS, finding.Bounds(silence_s=0.6))


def test_a_query_that_is_not_wanted_any_more_holds_nobody_up(monkeypatch):
    monkeypatch.setattr(finding, "_CANCEL_S", 0.2)

    def find(_event):
        time.sleep(4)
        yield 0x0000, None

    started = time.monotonic()
    with (
        archive(FIND, find=find) as peer,
        finding.finder(peer, calling_ae="US", may_go_on=lambda: False) as finder,
        pytest.raises(PeerError, match="no answer within"),
    ):
        finder.find("STUDY", KEYS, finding.Bounds(silence_s=30))
    assert time.monotonic() - started < 25


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (0xA700, "A700H"),
        (0xA900, "does not accept the query's keys"),
        (0xC001, "unable to process it"),
    ],
)
def test_a_refusal_of_a_query_is_said_in_words(status, words):
    def find(_event):
        yield status, None

    with (
        archive(FIND, find=find) as peer,
        finding.finder(peer, calling_ae="US") as finder,
        pytest.raises(PeerError, match=words),
    ):
        finder.find("STUDY", KEYS, finding.Bounds())


def test_answers_about_something_else_are_left_out():
    def find(event):
        level = event.identifier.QueryRetrieveLevel
        if level == "STUDY":
            yield 0xFF00, _match(1, PatientID="P1", StudyDate="20260105")
            yield 0xFF00, _match(2, PatientID="P2", StudyDate="20260105")
            yield 0xFF00, _match(3, PatientID="P1", StudyDate="20200105")
            yield 0xFF00, _match(4, StudyInstanceUID="../../etc", PatientID="P1", StudyDate="20260105")
            return
        for study, series in (("1.2.1", "1.2.1.1"), ("1.2.9", "1.2.9.1"), ("1.2.1", "x")):
            ds = _match(1, StudyInstanceUID=study, SeriesInstanceUID=series, Modality="CT")
            ds.NumberOfSeriesRelatedInstances = "12"
            yield 0xFF00, ds

    with (
        pytest.warns(UserWarning, match="Invalid value"),
        archive(FIND, find=find) as peer,
        finding.finder(peer, calling_ae="US") as finder,
    ):
        found = list_series(finder, Wanted(patient_id="P1", dates="20260101-20260131"), most=10)
    (series,) = found.series
    assert (series.StudyInstanceUID, series.SeriesInstanceUID, series.instances) == ("1.2.1", "1.2.1.1", 12)
    assert found.foreign == 5


def test_a_peer_that_knows_patient_root_alone_is_asked_by_patient():
    asked = []

    def find(event):
        identifier = event.identifier
        level = identifier.QueryRetrieveLevel
        asked.append((level, identifier.get("PatientID", "")))
        if level in {"PATIENT", "STUDY"}:
            yield 0xFF00, _match(1, PatientID="P1")
        else:
            yield 0xFF00, _match(1, SeriesInstanceUID="1.2.1.1", Modality="CT")

    with (
        archive(PatientRootQueryRetrieveInformationModelFind, find=find) as peer,
        finding.finder(peer, calling_ae="US") as finder,
    ):
        found = list_series(finder, Wanted(patient_name="Miller*"), most=10)
    assert asked == [("PATIENT", ""), ("STUDY", "P1"), ("SERIES", "P1")]
    assert found.series[0].instances is None


def _objects(count: int = 3) -> list[Dataset]:
    made = ct_series(Study(), slices=count, size=32)
    for ds in made:
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return made


@pytest.mark.parametrize(
    "model",
    [GET, PatientRootQueryRetrieveInformationModelGet],
    ids=["study root", "patient root"],
)
def test_objects_come_from_another_product_over_c_get(model):
    def get(_event):
        objects = _objects()
        yield len(objects)
        for ds in objects:
            yield 0xFF00, ds

    taken, seen = _Taken(), []
    with archive(model, get=get) as peer:
        result = getting.get(
            peer,
            TARGET,
            taken.receiving(),
            sop_classes=[CTImageStorage],
            watch=Watch(on_progress=seen.append),
        )
    assert result.is_whole
    assert (len(taken.kept), len(taken.ended)) == (3, 1)
    assert seen[-1] == Progress(completed=3)


def test_objects_come_over_tls(authority):
    issued = authority.issue("archive")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(issued.certificate, issued.key)
    objects = ct_series(Study(), slices=2, size=256)
    for ds in objects:
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian

    def get(_event):
        yield len(objects)
        for ds in objects:
            yield 0xFF00, ds

    taken = _Taken()
    with archive(GET, get=get, tls=context) as peer:
        secure = replace(peer, tls=ClientTls(None, trust=authority.certificate))
        assert getting.get(secure, TARGET, taken.receiving(), watch=Watch()).is_whole
    assert len(taken.kept) == 2


def test_a_connection_cut_in_the_middle_keeps_what_came():
    def get(event):
        objects = _objects()
        yield len(objects)
        yield 0xFF00, objects[0]
        yield 0xFF00, objects[1]
        event.assoc.abort()
        yield 0xFE00, None

    taken = _Taken()
    with archive(GET, get=get) as peer, pytest.raises(PeerError, match="what came is kept"):
        getting.get(peer, TARGET, taken.receiving(), watch=Watch())
    assert (len(taken.kept), len(taken.ended)) == (2, 1)


def test_a_retrieval_that_is_not_wanted_any_more_is_cancelled():
    told = []

    def get(event):
        objects = _objects(40)
        yield len(objects)
        for ds in objects:
            if event.is_cancelled:
                told.append(True)
                yield 0xFE00, None
                return
            yield 0xFF00, ds

    taken = _Taken()
    with archive(GET, get=get) as peer:
        result = getting.get(
            peer, TARGET, taken.receiving(), watch=Watch(may_go_on=lambda: len(taken.kept) < 3)
        )
    assert told
    assert "cancelled" in result.words
    assert 3 <= len(taken.kept) < 40


def test_sub_operations_that_fail_are_counted():
    def move(_event):
        yield "127.0.0.1", 1, {}
        yield 3

    with archive(MOVE, move=move) as peer:
        result = moving.move(peer, TARGET, calling_ae="US", destination="US", watch=Watch())
    assert not result.is_whole
    assert result.words


def test_a_move_to_nowhere_is_explained():
    def move(_event):
        yield None, None

    with archive(MOVE, move=move) as peer:
        result = moving.move(peer, TARGET, calling_ae="US", destination="US_TOO", watch=Watch())
    assert result.words.startswith("A801H (the peer does not know where to send the objects); have the AE")
    assert "US_TOO" in result.words


def test_a_move_that_is_silent_is_given_up_and_one_that_is_unwanted_is_cancelled():
    def move(_event):
        time.sleep(4)
        yield None, None

    with archive(MOVE, move=move) as peer:
        with pytest.raises(PeerError, match=r"said nothing for 0\.5 s"):
            moving.move(
                peer,
                TARGET,
                calling_ae="US",
                destination="US",
                watch=Watch(patience=Patience(silence_s=0.5)),
            )
        result = moving.move(
            peer, TARGET, calling_ae="US", destination="US", watch=Watch(may_go_on=lambda: False)
        )
        assert not result.is_whole


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200), st.booleans())
def test_bytes_that_are_no_identifier_are_refused_in_words(data, is_explicit):
    try:
        found = identifiers.decode(data, ("PatientName", "StudyInstanceUID"), is_explicit=is_explicit)
    except ProtocolError:
        return
    assert set(found) == {"PatientName", "StudyInstanceUID"}


@settings(max_examples=100, deadline=None)
@given(st.text(st.characters(blacklist_categories=("Cc", "Cs")), max_size=20), st.booleans())
def test_what_is_written_is_read_again(text, is_explicit):
    name = text.strip(" \0").replace("\\", "")
    data = identifiers.encode({"PatientName": name, "StudyInstanceUID": "1.2"}, is_explicit=is_explicit)
    found = identifiers.decode(data, ("PatientName", "StudyInstanceUID"), is_explicit=is_explicit)
    assert found == {"PatientName": name.strip(" "), "StudyInstanceUID": "1.2"}
