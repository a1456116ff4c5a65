"""What the ledger says is still to be done."""

from dae_pacs.spool.backlog import Owed
from dae_pacs.spool.destinations import Breaker
from dae_pacs.spool.outbox import Fate


def test_an_empty_ledger_has_nothing_to_do(spool):
    seen = spool.ledger.backlog(now=1.0, breaker_after=5)
    assert seen.jobs == {"collecting": 0, "ready": 0, "running": 0, "failed": 0}
    assert (seen.oldest_job_at, seen.owed, seen.quarantined, seen.held) == (None, {}, 0, 0)


def test_jobs_and_the_oldest_that_waits_are_told(spool):
    spool.keep("1.2.3")
    assert spool.ledger.backlog(now=1.0, breaker_after=5).jobs["collecting"] == 1
    spool.ledger.association_ended("a1")
    spool.ledger.promote_ready(500.0, quiet_s=0, idle_s=0)
    seen = spool.ledger.backlog(now=500.0, breaker_after=5)
    assert seen.jobs == {"collecting": 0, "ready": 1, "running": 0, "failed": 0}
    assert seen.oldest_job_at == 100.0
    assert seen.held == 1
    spool.denoise()
    seen = spool.ledger.backlog(now=500.0, breaker_after=5)
    assert sum(seen.jobs.values()) == 0
    assert seen.oldest_job_at is None
    assert seen.held == 2


def test_each_destination_says_what_it_is_owed(spool):
    spool.keep("1.2.3")
    spool.ledger.association_ended("a1")
    spool.denoise(now=200.0)
    assert spool.ledger.backlog(now=201.0, breaker_after=1).owed == {"PACS": Owed(waiting=1, oldest_at=200.0)}
    spool.ledger.outbox.failed("PACS", error="no answer", now=201.0)
    assert spool.ledger.backlog(now=201.0, breaker_after=1).owed["PACS"].breaker is Breaker.OPEN
    spool.ledger.outbox.worked("PACS")
    taken = spool.take("PACS", now=1000.0)
    assert spool.ledger.backlog(now=1000.0, breaker_after=1).owed["PACS"].sending == 1
    spool.tell(taken, Fate.HOPELESS, now=1000.0)
    owed = spool.ledger.backlog(now=1000.0, breaker_after=1).owed["PACS"]
    assert (owed.dead, owed.waiting, owed.oldest_at, owed.breaker) == (1, 0, None, Breaker.CLOSED)


def test_what_is_in_quarantine_is_counted(spool):
    spool.keep("1.2.3")
    spool.keep("1.2.3", content=b"other")
    assert spool.ledger.backlog(now=1.0, breaker_after=5).quarantined == 1
