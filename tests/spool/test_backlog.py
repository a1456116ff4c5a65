"""What the ledger says is still to be done."""

from dae_pacs.spool.destinations import Breaker
from dae_pacs.spool.outbox import Fate


def seen(spool, *, now=1000.0, breaker_after=1):
    return spool.ledger.backlog(now=now, breaker_after=breaker_after)


def waiting(counts):
    return {status: number for status, number in counts.items() if number}


def test_an_empty_ledger_has_nothing_to_do(spool):
    empty = seen(spool)
    assert (empty.jobs, empty.oldest_job_at, empty.owed, empty.instances) == ({}, None, {}, {})


def test_jobs_and_the_oldest_that_waits_are_told(spool):
    spool.keep("1.2.3")
    assert waiting(seen(spool).jobs) == {"collecting": 1}
    spool.ledger.association_ended("a1")
    spool.ledger.promote_ready(500.0, quiet_s=0, idle_s=0)
    assert waiting(seen(spool).jobs) == {"ready": 1}
    assert seen(spool).oldest_job_at == 100.0
    spool.denoise()
    assert waiting(seen(spool).jobs) == {"done": 1}
    assert seen(spool).oldest_job_at is None


def test_each_destination_says_what_it_is_owed(spool):
    spool.keep("1.2.3")
    spool.ledger.association_ended("a1")
    spool.denoise(now=200.0)
    owed = seen(spool).owed["PACS"]
    assert (waiting(owed.deliveries), owed.oldest_at, owed.breaker) == ({"waiting": 1}, 200.0, Breaker.CLOSED)
    spool.ledger.outbox.failed("PACS", error="no answer", now=999.9)
    owed = seen(spool).owed["PACS"]
    assert (owed.breaker, owed.failures) == (Breaker.OPEN, 1)
    spool.ledger.outbox.worked("PACS")
    taken = spool.take("PACS", now=1000.0)
    assert waiting(seen(spool).owed["PACS"].deliveries) == {"sending": 1}
    spool.tell(taken, Fate.HOPELESS, now=1000.0)
    owed = seen(spool).owed["PACS"]
    assert (waiting(owed.deliveries), owed.oldest_at, owed.breaker) == ({"dead": 1}, None, Breaker.CLOSED)


def test_what_is_on_the_disk_and_in_quarantine_is_told_with_its_size(spool):
    spool.keep("1.2.3")
    spool.keep("1.2.3", content=b"other")
    instances = seen(spool).instances
    assert instances["received", "kept"].objects == instances["received", "quarantined"].objects == 1
    assert instances["received", "quarantined"].size_bytes > instances["received", "kept"].size_bytes > 0
