"""Each step of receiving fails once, in each way that a disk can: the answer is true, and nothing is left."""

import time

import pytest
from stranger import data_set_of, small_ct

from dae_pacs import failpoints

BEFORE_THE_ANSWER = sorted(
    {point for point in failpoints.POINTS if point.startswith("receive.")}
    - {"receive.answered", "receive.association_ended", "receive.quarantining"}
)
WAYS = ("enospc", "eio", "raise:MemoryError", "raise:SpoolFullError")
REFUSED = {0xA700, 0x0110}


@pytest.fixture(autouse=True)
def disarmed():
    yield
    failpoints.disarm()


@pytest.fixture
def ds():
    return small_ct()


def await_row(gate, uid):
    """Wait until the ledger has an object; the row may come behind the answer."""
    deadline = time.monotonic() + 30
    while (known := gate.ledger.received(uid)) is None:
        assert time.monotonic() < deadline, "acknowledged, and not in the ledger"
        time.sleep(0.02)
    return known


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("point", BEFORE_THE_ANSWER)
def test_step_that_fails_once_is_answered_truly_and_the_next_object_is_kept(gate, ds, point, way):
    uid, body = str(ds.SOPInstanceUID), data_set_of(ds)
    stranger = gate.dial().associate()
    failpoints.arm(f"{point}={way}")
    status = stranger.store(uid, body).status
    failpoints.disarm()
    if status:
        assert status in REFUSED
        assert stranger.store(uid, body).status == 0, "the same object, sent again"
    known = await_row(gate, uid)
    assert known.path.read_bytes().endswith(body)
    stranger.release()
    gate.settled(1)
    gate.still_works()


@pytest.mark.parametrize("way", ["raise:SpoolFullError", "raise:SpoolError"])
def test_journal_that_fails_once_loses_nothing(gate, ds, way):
    uid, body = str(ds.SOPInstanceUID), data_set_of(ds)
    stranger = gate.dial().associate()
    failpoints.arm(f"journal.writing={way}")
    status = stranger.store(uid, body).status
    if status:
        assert stranger.store(uid, body).status == 0
    assert await_row(gate, uid).path.read_bytes().endswith(body)
    stranger.release()
    gate.still_works()


def test_quarantine_that_fails_refuses_and_keeps_the_first(gate, ds):
    uid, body = str(ds.SOPInstanceUID), data_set_of(ds)
    stranger = gate.dial().associate()
    assert stranger.store(uid, body).status == 0
    kept = await_row(gate, uid)
    other = body[:-2] + b"\xff\x7f"
    failpoints.arm("receive.quarantining=eio")
    assert stranger.store(uid, other).status in {0xA700, 0x0111}, "refused, or tried again by the node"
    assert stranger.store(uid, other).status == 0x0111
    assert await_row(gate, uid).digest == kept.digest
    assert kept.path.read_bytes().endswith(body)
    gate.still_works()
