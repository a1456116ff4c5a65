"""Once to each destination; back-off and breaker that survive restarts."""

import pytest

from dae_pacs.errors import SpoolError, TransitionError
from dae_pacs.spool.backoff import backoff_s
from dae_pacs.spool.records import Plan

FORWARD = Plan(action="forward", destinations=("PACS",))


@pytest.fixture
def delivery_id(spool):
    spool.keep(plan=FORWARD)
    (delivery,) = spool.ledger.due("PACS", now=100.0, limit=9)
    return delivery.id


def test_due_tells_all_that_a_sender_needs(spool, delivery_id):
    (delivery,) = spool.ledger.due("PACS", now=100.0, limit=9)
    assert delivery.path.exists()
    assert (delivery.SOPInstanceUID, delivery.transfer_syntax_uid) == ("1.2.3", "1.2.840.10008.1.2.1")
    assert delivery.id == delivery_id
    assert not spool.ledger.due("ELSEWHERE", now=100.0, limit=9)


def test_two_senders_never_take_the_same_delivery(spool, delivery_id):
    assert spool.ledger.sending([delivery_id]) == [delivery_id]
    assert spool.ledger.sending([delivery_id]) == []
    assert not spool.ledger.due("PACS", now=1e9, limit=9)
    assert spool.ledger.next_due("PACS") is None


def test_delivered_keeps_the_warning_and_is_final(spool, delivery_id):
    spool.ledger.sending([delivery_id])
    spool.ledger.delivered(delivery_id, warning="B007", now=150.0)
    spool.ledger.delivered(delivery_id, now=160.0)
    (delivery,) = spool.ledger.deliveries()
    assert (delivery.status, delivery.warning, delivery.delivered_at) == ("delivered", "B007", 150.0)
    with pytest.raises(TransitionError):
        spool.ledger.postpone(delivery_id, error="late", next_try_at=0)
    assert spool.ledger.sending([delivery_id]) == []


def test_only_what_is_under_way_can_be_delivered(spool, delivery_id):
    with pytest.raises(TransitionError, match="waiting and can't become delivered"):
        spool.ledger.delivered(delivery_id, now=150.0)


def test_a_postponed_delivery_waits_for_its_time_across_restarts(spool, delivery_id):
    spool.ledger.sending([delivery_id])
    spool.ledger.postpone(delivery_id, error="A700", next_try_at=500.0)
    spool.reopen()
    spool.ledger.recover(200.0)
    assert not spool.ledger.due("PACS", now=499.0, limit=9)
    assert spool.ledger.next_due("PACS") == 500.0
    (delivery,) = spool.ledger.due("PACS", now=500.0, limit=9)
    assert (delivery.error, delivery.attempts) == ("A700", 1)


def test_a_time_that_a_clock_set_back_put_years_away_is_forgotten_at_start(spool, delivery_id):
    spool.ledger.sending([delivery_id])
    spool.ledger.postpone(delivery_id, error="A700", next_try_at=1e9)
    spool.ledger.destination_failed("PACS", now=1e9)
    spool.ledger.recover(200.0)
    assert len(spool.ledger.due("PACS", now=200.0, limit=9)) == 1


def test_a_buried_delivery_comes_back_by_retry_alone(spool, delivery_id):
    spool.ledger.sending([delivery_id])
    spool.ledger.bury(delivery_id, error="A900")
    spool.ledger.recover(1e9)
    assert not spool.ledger.due("PACS", now=1e9, limit=9)
    assert spool.ledger.deliveries(status="dead")[0].error == "A900"
    assert spool.ledger.retry(study="9.9", now=300.0).deliveries == 0
    assert spool.ledger.retry(study="1.2", now=300.0).deliveries == 1
    assert len(spool.ledger.due("PACS", now=300.0, limit=9)) == 1


def test_a_failing_destination_is_left_alone_ever_longer_across_restarts(spool, delivery_id):
    waits = []
    for _ in range(12):
        waits.append(spool.ledger.destination_failed("PACS", now=1000.0) - 1000.0)
        spool.reopen()
    assert 1.0 <= waits[0] <= 2.0
    assert waits[-1] <= 300.0
    assert waits[-1] >= 150.0
    assert not spool.ledger.due("PACS", now=1000.0, limit=9)
    assert spool.ledger.next_due("PACS") == pytest.approx(1000.0 + waits[-1])
    assert len(spool.ledger.due("PACS", now=1300.0, limit=9)) == 1
    spool.ledger.destination_ok("PACS")
    assert len(spool.ledger.due("PACS", now=1000.0, limit=9)) == 1
    assert spool.ledger.destination_failed("PACS", now=1000.0) <= 1002.0


def test_back_off_stays_between_one_second_and_five_minutes_and_is_spread():
    for failures in range(1000):
        assert 1.0 <= backoff_s(failures) <= 300.0
    assert len({backoff_s(9) for _ in range(50)}) > 10


def test_an_unknown_delivery_is_named(spool):
    with pytest.raises(SpoolError, match="no delivery 5"):
        spool.ledger.bury(5, error="x")
