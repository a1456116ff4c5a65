"""What associations brought, in numbers."""

import time
from pathlib import Path

import pytest
from pydicom.data import get_testdata_file

from dae_pacs.dimse import statuses
from dae_pacs.dimse.attendance import Attendance
from dae_pacs.dimse.entrance import Entrance
from dae_pacs.dimse.pdus import CALLED_AE_NOT_RECOGNIZED
from dae_pacs.dimse.scp import Answer
from dae_pacs.dimse.scu import outgoing, send
from dae_pacs.errors import RejectedError

CT = Path(str(get_testdata_file("CT_small.dcm")))


def _settled(node):
    """Read the sums once the node has noticed the release."""
    deadline = time.monotonic() + 10
    while node.scp.attendance.attended().under_way and time.monotonic() < deadline:
        time.sleep(0.01)
    return node.scp.attendance.attended()


def test_what_is_under_way_counts_as_well_as_what_is_over():
    attendance = Attendance()
    over, under_way = attendance.begin(), attendance.begin()
    over.answered(statuses.SUCCESS, 100)
    over.answered(statuses.OUT_OF_RESOURCES, 30)
    attendance.end(over, "released")
    under_way.answered(statuses.SUCCESS, 7)
    seen = attendance.attended()
    assert (seen.objects, seen.size_bytes) == (2, 107)
    assert seen.answers == {statuses.SUCCESS: 2, statuses.OUT_OF_RESOURCES: 1}
    assert (seen.accepted, seen.under_way, seen.endings) == (2, 1, {"released": 1})


def test_each_answer_of_a_real_association_is_counted_once(start_node):
    answers = iter([Answer(statuses.SUCCESS), Answer(statuses.MISMATCH, "no"), Answer(statuses.SUCCESS)])
    node = start_node(keep=lambda _incoming: next(answers))
    ct = outgoing(CT)
    send(node.peer, [ct, ct, ct], calling_ae="TESTER", on_result=lambda _result: None)
    seen = _settled(node)
    assert seen.objects == 2
    assert seen.size_bytes == 2 * (seen.size_bytes // 2) > 30000
    assert seen.answers == {statuses.SUCCESS: 2, statuses.MISMATCH: 1}
    assert (seen.accepted, seen.endings, seen.rejections) == (1, {"released": 1}, {})


def test_a_rejected_caller_is_counted_by_the_reason(start_node):
    node = start_node(entrance=Entrance(admit=lambda **_call: CALLED_AE_NOT_RECOGNIZED))
    ct = outgoing(CT)
    with pytest.raises(RejectedError):
        send(node.peer, [ct], calling_ae="TESTER", on_result=lambda _result: None)
    seen = node.scp.attendance.attended()
    assert seen.rejections == {CALLED_AE_NOT_RECOGNIZED.words: 1}
    assert seen.accepted == 0
