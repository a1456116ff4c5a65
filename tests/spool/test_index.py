"""Rows behind the answer: in order, together, again when the ledger comes back, and never without bound."""

import threading

import pytest

from dae_pacs.errors import SpoolError
from dae_pacs.spool import index as module
from dae_pacs.spool.index import Arrival
from dae_pacs.spool.records import KeepOutcome, Plan

KEEP = Plan("keep")


@pytest.fixture
def arrive(spool):
    """Put an object on the disk and into the index: `arrive("1.2.3", settle=..., **changes)`."""

    def make(uid="1.2.3", *, settle=None, content=b"", **changes):
        new = spool.received(uid, content=content, **changes)
        file = spool.files.open_incoming()
        file.path, file.is_settled = new.path, True
        spool.ledger.index.claim(uid)
        return Arrival(uid, file, settle or (lambda: (new, KEEP)))

    return make


def test_what_was_added_is_in_the_ledger_in_its_order_and_seen_by_every_report(spool, arrive):
    uids = [f"1.{number}" for number in range(20)]
    for uid in uids:
        spool.ledger.index.add(arrive(uid))
    spool.ledger.association_ended("a1")
    assert [i.SOPInstanceUID for i in spool.ledger.study_story("1.2").instances] == uids
    assert spool.ledger.counts()["instances"] == {"received kept": 20}


def test_objects_of_a_burst_share_a_transaction(spool, arrive, monkeypatch):
    sizes, write = [], spool.ledger.index._writes.keep_all
    arrivals = [arrive(f"1.{number}") for number in range(20)]
    object.__setattr__(
        spool.ledger.index._writes, "keep_all", lambda items: sizes.append(len(items)) or write(items)
    )
    for arrival in arrivals:
        spool.ledger.index.add(arrival)
    assert spool.ledger.index.drain(10)
    assert sum(sizes) == 20
    assert len(sizes) < 10


def test_uid_is_claimed_until_its_row_is_there(spool, arrive):
    index = spool.ledger.index
    arrival = arrive("1.1")
    assert not index.claim("1.1")
    index.release("1.1")
    index.add(arrival)
    assert index.drain(10)
    assert index.claim("1.1")
    index.release("1.1")


def test_other_bytes_under_a_uid_on_its_way_are_set_apart(spool, arrive):
    index = spool.ledger.index
    index.add(arrive("1.1"))
    assert index.record(arrive("1.1", content=b"other")) is KeepOutcome.CONFLICT
    assert index.record(arrive("1.1")) is KeepOutcome.AGAIN


def test_ledger_that_fails_refuses_newcomers_and_forgets_nobody(spool, arrive, monkeypatch):
    monkeypatch.setattr(module, "_FAILING_PATIENCE_S", 0.05)
    index, is_down = spool.ledger.index, threading.Event()
    is_down.set()
    arrival = arrive("1.1")
    new, plan = arrival.settle()

    def settle():
        if is_down.is_set():
            raise SpoolError("down")
        return new, plan

    arrival.settle = settle
    index.add(arrival)
    assert not index.drain(0.2)
    with pytest.raises(SpoolError, match="down"):
        index.await_room()
    is_down.clear()
    index.await_room()
    assert index.drain(10)
    assert spool.ledger.received("1.1") is not None


def test_an_object_that_fails_alone_stops_no_other(spool, arrive):
    index = spool.ledger.index
    bad = arrive("1.2")
    new, _plan = bad.settle()
    new.path.write_bytes(b"cut")
    for arrival in (arrive("1.1"), bad, arrive("1.3")):
        index.add(arrival)
    assert bad.done.wait(20)
    index.await_room()
    assert {i.SOPInstanceUID for i in spool.ledger.study_story("1.2").instances} == {"1.1", "1.3"}


def test_more_than_may_wait_is_refused(spool, arrive, monkeypatch):
    monkeypatch.setattr(module, "MOST_WAITING", 2)
    monkeypatch.setattr(module, "_PATIENCE_S", 0.05)
    index, may_go = spool.ledger.index, threading.Event()
    arrivals = [arrive(f"1.{number}") for number in range(2)]
    settled = [arrival.settle() for arrival in arrivals]
    for arrival, result in zip(arrivals, settled, strict=True):
        arrival.settle = lambda result=result: may_go.wait(20) and result
        index.add(arrival)
    with pytest.raises(SpoolError, match="does not keep up"):
        index.await_room()
    may_go.set()
    assert index.drain(10)
    index.await_room()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # that is the fault
def test_thread_that_dies_is_replaced_and_its_objects_are_recorded(spool, arrive):
    index, died = spool.ledger.index, []
    arrival = arrive("1.1")
    result = arrival.settle()

    def settle():
        if not died:
            died.append(True)
            raise RuntimeError("a fault")
        return result

    arrival.settle = settle
    index.add(arrival)
    index._thread.join(20)
    index.keep_running()
    assert index.drain(10)
    assert spool.ledger.received("1.1") is not None
