"""A few rounds of crash.py, and its judge: it calls lost what is lost, and doubled what is doubled."""

import dataclasses

import pytest
from counting_pacs import Arrival, CountingPacs
from crash import NODE_POINTS, WORKER_POINTS, crash

from dae_pacs import failpoints

PIXELS = "p" * 64
ORIGINAL = Arrival(1, "1.2", "a", PIXELS, "")
DERIVED = Arrival(1, "2.25.1", "b", "q" * 64, "1.2")


@pytest.mark.slow
def test_node_killed_under_load_loses_and_doubles_nothing(tmp_path):
    found = crash(tmp_path, rounds=4, seed=2, network_every=0)
    assert found["rounds"] == 4
    assert found["acknowledged"] >= 4 * 4 * 5
    assert found["delivered"] == 2 * found["acknowledged"]
    assert (found["lost"], found["doubled"], found["left_in_incoming"]) == ([], [], 0)


def test_every_point_of_the_way_of_an_object_is_killed_at():
    elsewhere = {point for point in failpoints.POINTS if point.startswith(("thread.", "retention."))}
    elsewhere |= {"receive.quarantining"}
    assert set(NODE_POINTS) | set(WORKER_POINTS) == set(failpoints.POINTS) - elsewhere


def judged(*arrivals):
    with CountingPacs() as pacs:
        pacs.arrivals += arrivals
        return pacs.judge({"1.2": PIXELS})


def test_original_and_result_once_is_what_is_wanted():
    assert judged(ORIGINAL, DERIVED) == judged(DERIVED, ORIGINAL)
    assert dataclasses.astuple(judged(ORIGINAL, DERIVED)) == ((), (), 0)


@pytest.mark.parametrize("arrivals", [(), (ORIGINAL,), (DERIVED,)])
def test_what_did_not_come_is_lost(arrivals):
    assert judged(*arrivals).lost == ("1.2",)


def test_original_with_other_pixels_is_lost():
    assert judged(dataclasses.replace(ORIGINAL, pixels="other"), DERIVED).lost == ("1.2",)


def test_same_bytes_again_after_a_kill_are_a_repeat():
    verdict = judged(ORIGINAL, DERIVED, dataclasses.replace(DERIVED, life=2))
    assert dataclasses.astuple(verdict) == ((), (), 1)


@pytest.mark.parametrize(
    "again",
    [
        DERIVED,
        dataclasses.replace(DERIVED, life=2, digest="other"),
        dataclasses.replace(DERIVED, life=2, uid="2.25.2"),
    ],
    ids=["within one life", "with other bytes", "a second result"],
)
def test_again_for_no_reason_is_doubled(again):
    assert len(judged(ORIGINAL, DERIVED, again).doubled) == 1
