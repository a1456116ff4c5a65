"""Once to each destination; back-off and breaker that survive restarts."""

import pytest

from dae_pacs.errors import SpoolError, TransitionError
from dae_pacs.spool.backoff import backoff_s
from dae_pacs.spool.outbox import Fate, Told
from dae_pacs.spool.records import Plan

FORWARD = Plan(action="forward", destinations=("PACS",))


@pytest.fixture
def taken(spool):
    spool.keep(plan=FORWARD)
    return spool.take(now=100.0)


def test_what_is_taken_tells_all_that_a_sender_needs(spool, taken):
    (delivery,) = taken
    assert delivery.path.exists()
    assert (delivery.SOPInstanceUID, delivery.transfer_syntax_uid) == ("1.2.3", "1.2.840.10008.1.2.1")
    assert not spool.take("ELSEWHERE", now=100.0)


def test_delivered_keeps_the_warning_and_is_final(spool, taken):
    spool.tell(taken, Fate.TAKEN, "B007", now=150.0)
    spool.tell(taken, Fate.TAKEN, now=160.0)
    (delivery,) = spool.ledger.deliveries()
    assert (delivery.status, delivery.warning, delivery.delivered_at) == ("delivered", "B007", 150.0)
    with pytest.raises(TransitionError):
        spool.tell(taken, Fate.TRY_AGAIN, "late")
    assert spool.take(now=1e9) == []


def test_only_what_is_under_way_can_be_delivered(spool):
    spool.keep(plan=FORWARD)
    with pytest.raises(TransitionError, match="waiting and can't become delivered"):
        spool.tell(spool.due(now=1e9), Fate.TAKEN)


def test_a_postponed_delivery_waits_for_its_time_across_restarts(spool, taken):
    spool.tell(taken, Fate.TRY_AGAIN, "A700", now=100.0)
    spool.reopen()
    spool.ledger.recover(100.1)
    (delivery,) = spool.ledger.deliveries()
    assert (delivery.error, delivery.attempts) == ("A700", 1)
    assert spool.take(now=delivery.next_try_at - 0.1) == []
    assert len(spool.take(now=delivery.next_try_at)) == 1


def test_a_time_that_a_clock_set_back_put_years_away_is_forgotten_at_start(spool, taken):
    spool.tell(taken, Fate.TRY_AGAIN, "A700", now=1e9)
    spool.ledger.outbox.failed("PACS", error="down", now=1e9)
    spool.ledger.recover(200.0)
    assert len(spool.take(now=200.0)) == 1


def test_what_was_given_up_comes_back_by_retry_alone(spool, taken):
    spool.tell(taken, Fate.HOPELESS, "A900")
    spool.ledger.recover(1e9)
    assert spool.take(now=1e9) == []
    assert spool.ledger.deliveries(status="dead")[0].error == "A900"
    assert spool.ledger.retry(study="9.9", now=300.0).deliveries == 0
    assert spool.ledger.retry(study="1.2", now=300.0).deliveries == 1
    assert len(spool.take(now=300.0)) == 1


def test_a_failing_destination_is_left_alone_ever_longer_across_restarts(spool):
    spool.keep(plan=FORWARD)
    waits = []
    for _ in range(12):
        waits.append(spool.ledger.outbox.failed("PACS", error="down", now=1000.0) - 1000.0)
        spool.reopen()
    assert 1.0 <= waits[0] <= 2.0
    assert 150.0 <= waits[-1] <= 300.0
    assert spool.take(now=1000.0) == []
    assert len(spool.take(now=1300.0)) == 1
    spool.ledger.outbox.worked("PACS")
    assert spool.ledger.outbox.failed("PACS", error="down", now=1000.0) <= 1002.0


def test_back_off_stays_between_one_second_and_five_minutes_and_is_spread():
    for failures in range(1000):
        assert 1.0 <= backoff_s(failures) <= 300.0
    assert len({backoff_s(9) for _ in range(50)}) > 10


def test_an_unknown_delivery_is_named(spool):
    with pytest.raises(SpoolError, match="no delivery 5"):
        spool.ledger.outbox.tell([Told(5, Fate.HOPELESS, "x")], now=1.0)
