"""What senders take and tell: once to each destination, with a breaker that survives restarts and clocks."""

import pytest

from dae_pacs.spool.outbox import Fate, Told
from dae_pacs.spool.records import Plan

FORWARD = Plan(action="forward", destinations=("PACS",))


def claim(spool, *, now=100.0, limit=9, breaker_after=3):
    return spool.ledger.outbox.claim("PACS", now=now, limit=limit, breaker_after=breaker_after)


def tell(spool, delivery, fate, words=None, *, now=100.0, **more):
    spool.ledger.outbox.tell([Told(delivery.id, fate, words)], now=now, **more)


def keep(spool, count):
    for number in range(count):
        spool.keep(f"1.2.{number}", FORWARD)


def trip(spool, *, times=3, now=100.0):
    for _ in range(times):
        until = spool.ledger.outbox.failed("PACS", error="connection refused", now=now)
    return until


def test_what_is_taken_is_taken_once(spool):
    keep(spool, 3)
    assert len(claim(spool, limit=2)) == 2
    assert len(claim(spool, limit=2)) == 1
    assert claim(spool) == []


def test_each_fate_is_written_down(spool):
    keep(spool, 4)
    taken, again, untried, hopeless = claim(spool)
    tell(spool, taken, Fate.TAKEN, "B007")
    tell(spool, again, Fate.TRY_AGAIN, "A700")
    tell(spool, untried, Fate.UNTRIED, "not sent")
    tell(spool, hopeless, Fate.HOPELESS, "A900")
    rows = {row.id: row for row in spool.ledger.deliveries()}
    assert (rows[taken.id].status, rows[taken.id].warning) == ("delivered", "B007")
    assert (rows[again.id].status, rows[again.id].attempts, rows[again.id].error) == ("waiting", 1, "A700")
    assert rows[again.id].next_try_at > 100.0
    assert (rows[untried.id].status, rows[untried.id].attempts) == ("waiting", 0)
    assert (rows[hopeless.id].status, rows[hopeless.id].error) == ("dead", "A900")
    assert [delivery.id for delivery in claim(spool)] == [untried.id], "at once, and it alone"


def test_what_a_dead_sender_held_waits_again(spool):
    keep(spool, 2)
    held, done = claim(spool)
    tell(spool, done, Fate.TAKEN)
    assert spool.ledger.outbox.give_back([held.id, done.id], now=100.0) == 1
    assert [delivery.id for delivery in claim(spool)] == [held.id]


def test_an_open_breaker_lets_one_object_through_when_its_time_has_come(spool):
    keep(spool, 5)
    until = trip(spool)
    spool.reopen()
    assert claim(spool, now=until - 0.1) == []
    (probe,) = claim(spool, now=until + 0.1)
    assert claim(spool, now=until + 0.1) == [], "one probe at a time"
    tell(spool, probe, Fate.TAKEN, now=until)
    spool.ledger.outbox.worked("PACS")
    assert len(claim(spool, now=until + 0.2)) == 4


def test_below_the_threshold_a_failing_destination_is_only_given_a_pause(spool):
    keep(spool, 5)
    until = trip(spool, times=2)
    assert claim(spool, now=100.1) == []
    assert len(claim(spool, now=until + 0.1)) == 5


def test_the_probe_is_not_the_object_that_has_failed_most(spool):
    keep(spool, 2)
    culprit, _other = claim(spool)
    tell(spool, culprit, Fate.TRY_AGAIN, "aborted", now=90.0)
    tell(spool, _other, Fate.UNTRIED, "not sent", now=99.0)
    until = trip(spool)
    (probe,) = claim(spool, now=until + 10.0)
    assert probe.id == _other.id


def test_a_probe_whose_sender_died_with_the_node_does_not_keep_the_breaker_shut(spool):
    keep(spool, 1)
    until = trip(spool)
    assert claim(spool, now=until + 1.0)
    spool.reopen()
    spool.ledger.recover(until + 2.0)
    assert len(claim(spool, now=until + 2.0)) == 1


def test_a_permanent_refusal_is_asked_seldom(spool):
    until = spool.ledger.outbox.failed("PACS", error="unknown AE", now=100.0, is_permanent=True)
    assert until == 400.0


@pytest.mark.parametrize("back_s", [3600.0, 86400.0 * 365])
def test_a_clock_that_is_set_back_keeps_nothing_waiting(spool, back_s):
    keep(spool, 2)
    first, _ = claim(spool, now=1e9)
    tell(spool, first, Fate.TRY_AGAIN, "A700", now=1e9)
    tell(spool, _, Fate.UNTRIED, "not sent", now=1e9)
    trip(spool, times=1, now=1e9)
    assert len(claim(spool, now=1e9 - back_s)) == 2


def test_a_clock_that_is_set_back_a_little_delays_no_longer_than_a_back_off(spool):
    keep(spool, 1)
    (first,) = claim(spool, now=1000.0)
    tell(spool, first, Fate.UNTRIED, "not sent", now=1000.0)
    assert claim(spool, now=800.0) == []
    assert len(claim(spool, now=1000.0)) == 1
