"""What is owed stays."""

import pytest

from dae_pacs.errors import SpoolError
from dae_pacs.spool.outbox import Fate
from dae_pacs.spool.records import KeepOutcome, Plan

LONG_AFTER = 1e6


def removable(spool, before=LONG_AFTER):
    return {(i.origin, i.SOPInstanceUID) for i in spool.ledger.removable(before)}


def test_original_and_result_stay_until_the_result_is_delivered(spool):
    spool.keep("1.1")
    assert removable(spool) == set(), "its job is collecting"
    job_id = spool.claim()
    assert removable(spool) == set(), "its job is running"
    (image,) = spool.ledger.pending_instances(job_id)
    spool.ledger.record_derived(job_id, image.id, new=spool.made("1.1"))
    spool.ledger.finish_job(job_id, "worker", stages={}, now=201.0)
    assert removable(spool) == set(), "the result waits"
    taken = spool.take(now=300.0)
    assert removable(spool) == set(), "the result is under way"
    spool.tell(taken, Fate.HOPELESS, "A900")
    assert removable(spool) == set(), "a person may retry it"
    spool.ledger.retry(now=300.0)
    spool.deliver()
    assert removable(spool) == {("received", "1.1"), ("derived", spool.made("1.1").SOPInstanceUID)}


def test_images_of_a_failed_job_stay(spool):
    spool.keep()
    spool.ledger.fail_job(spool.claim(), "worker", reason="boom", max_attempts=1, now=200.0)
    assert removable(spool) == set()


def test_forwarded_original_stays_until_every_destination_has_it(spool):
    spool.keep(plan=Plan(action="forward", destinations=("PACS", "ARCHIVE")))
    spool.deliver("PACS")
    assert removable(spool) == set()
    spool.deliver("ARCHIVE")
    assert removable(spool) == {("received", "1.2.3")}


def test_only_the_old_go_oldest_first(spool):
    for number in range(5):
        spool.keep(f"1.{number}", Plan("keep"), received_at=100.0 - number)
    assert [i.SOPInstanceUID for i in spool.ledger.removable(98.5)] == ["1.4", "1.3", "1.2"]
    assert len(spool.ledger.removable(98.5, limit=1)) == 1


def test_removing_deletes_the_file_and_remembers_the_object(spool):
    spool.keep(plan=Plan("pass_over", reason="colour"))
    (instance,) = spool.ledger.removable(LONG_AFTER)
    assert spool.ledger.remove(instance.id)
    assert not instance.path.exists()
    assert not spool.ledger.remove(instance.id)
    assert spool.ledger.counts()["instances"] == {"received removed": 1}
    assert spool.ledger.reconcile(spool.files).is_clean


def test_what_became_owed_since_it_was_listed_is_not_removed(spool):
    spool.keep("1.1")
    job_id = spool.denoise()
    spool.deliver()
    listed = spool.ledger.removable(LONG_AFTER)
    assert len(listed) == 2
    spool.keep("1.2", received_at=500.0)
    original = next(i for i in listed if i.origin == "received")
    assert spool.ledger.job(job_id).status == "collecting"
    assert not spool.ledger.remove(original.id), "its job was re-opened"
    assert original.path.exists()


def test_an_object_sent_again_after_its_removal_is_on_disk_again_and_makes_no_job(spool):
    spool.keep()
    spool.denoise()
    spool.deliver()
    for instance in spool.ledger.removable(LONG_AFTER):
        spool.ledger.remove(instance.id)
    before = spool.ledger.counts()
    assert spool.keep(received_at=9e5) == KeepOutcome.AGAIN
    after = spool.ledger.counts()
    assert after["instances"] == {"derived removed": 1, "received kept": 1}
    assert (after["jobs"], after["deliveries"]) == (before["jobs"], before["deliveries"])
    instance = spool.ledger.study_story("1.2").instances[0]
    assert instance.path.exists()
    assert instance.received_at == 9e5


def test_a_file_that_retention_deletes_under_a_sender_is_never_acknowledged(spool):
    spool.keep(plan=Plan("keep"))
    (instance,) = spool.ledger.removable(LONG_AFTER)
    again = spool.received()
    assert again.path == instance.path
    spool.ledger.remove(instance.id)
    with pytest.raises(SpoolError, match="looking for the file"):
        spool.ledger.keep(again, Plan("keep"))
    assert spool.keep(plan=Plan("keep")) == KeepOutcome.AGAIN
    assert instance.path.exists()
