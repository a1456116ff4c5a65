"""Where ledger and disk disagree at start-up."""

import pytest

from dae_pacs.errors import SpoolError
from dae_pacs.spool.files import SpoolFiles
from dae_pacs.spool.records import KeepOutcome, Plan


def test_agreement_is_clean(spool):
    spool.keep("1.1")
    spool.keep("1.1", content=b"other")
    spool.denoise()
    result = spool.ledger.reconcile(spool.files)
    assert result.is_clean
    assert not result.missing


def test_a_settled_object_that_was_never_committed_goes_to_quarantine(spool):
    spool.keep("1.1")
    orphan = spool.received("1.2")
    result = spool.ledger.reconcile(spool.files)
    assert not orphan.path.exists()
    (path,) = result.orphans
    assert path.parent == spool.files.quarantine
    assert path.stat().st_size == orphan.size_bytes
    assert spool.ledger.reconcile(spool.files).is_clean
    assert spool.keep("1.2") == KeepOutcome.NEW


def test_a_derived_file_that_was_never_recorded_is_deleted_since_it_can_be_made_again(spool):
    spool.keep()
    orphan = spool.made()
    part = orphan.path.with_name(".x.part")
    part.write_bytes(b"x")
    result = spool.ledger.reconcile(spool.files)
    assert result.swept == 2
    assert not orphan.path.exists()
    assert not part.exists()
    assert not result.orphans


def test_what_was_still_arriving_is_deleted(spool):
    spool.files.open_incoming().flush()
    assert spool.ledger.reconcile(spool.files).swept == 1
    assert not list(spool.files.incoming.iterdir())


def test_a_lost_original_is_reported_and_rejected_and_repaired_by_sending_it_again(spool):
    spool.keep("1.1", Plan("denoise", rule="ct", destinations=("PACS",), forward_original=True))
    (instance,) = spool.ledger.study_story("1.2").instances
    instance.path.unlink()
    result = spool.ledger.reconcile(spool.files)
    assert [i.SOPInstanceUID for i in result.missing] == ["1.1"]
    job_id = spool.claim()
    assert not spool.ledger.pending_instances(job_id)
    assert spool.ledger.finish_job(job_id, "worker", stages={}, now=200.0) == "failed"
    assert "send it again" in spool.ledger.study_story("1.2").rejected[0].reason
    assert not spool.due(now=1e9)
    assert spool.ledger.retry(now=200.0).deliveries == 0, "there is nothing to send"
    assert spool.keep("1.1", received_at=300.0) == KeepOutcome.AGAIN
    assert len(spool.due(now=300.0)) == 1
    assert spool.denoise(now=400.0) == job_id
    assert spool.deliver() == 2


def test_a_lost_result_that_is_owed_is_made_again_from_its_source_and_delivered_once(spool):
    spool.keep("1.1")
    job_id = spool.denoise()
    spool.made("1.1").path.unlink()
    result = spool.ledger.reconcile(spool.files)
    assert result.remade == 1
    assert not spool.due(now=1e9), "not while its file is gone"
    assert spool.denoise(now=300.0) == job_id
    assert spool.deliver() == 1
    assert spool.ledger.counts()["deliveries"] == {"delivered": 1}


def test_a_lost_result_that_was_delivered_is_only_reported(spool):
    spool.keep("1.1")
    spool.denoise()
    spool.deliver()
    spool.made("1.1").path.unlink()
    result = spool.ledger.reconcile(spool.files)
    assert (len(result.missing), result.remade) == (1, 0)
    assert spool.ledger.jobs()[0].status == "done"


def test_result_and_source_both_lost_are_made_again_once_the_source_is_sent_again(spool):
    spool.keep("1.1")
    spool.denoise()
    for instance in spool.ledger.study_story("1.2").instances:
        instance.path.unlink()
    result = spool.ledger.reconcile(spool.files)
    assert (len(result.missing), result.remade) == (2, 0)
    assert spool.ledger.counts()["deliveries"] == {"dead": 1}
    assert spool.keep("1.1", received_at=300.0) == KeepOutcome.AGAIN
    spool.denoise(now=400.0)
    assert spool.deliver() == 1


def test_a_disk_that_was_not_mounted_loses_nothing(spool):
    for number in range(3):
        spool.keep(f"1.{number}", Plan("denoise", rule="ct", destinations=("PACS",), forward_original=True))
    spool.files.objects.rename(spool.root / "away")
    files = SpoolFiles(spool.root)
    assert len(spool.ledger.reconcile(files).missing) == 3
    for shard in files.objects.iterdir():
        shard.rmdir()
    files.objects.rmdir()
    (spool.root / "away").rename(files.objects)
    result = spool.ledger.reconcile(files)
    assert (result.found_again, result.missing, result.orphans) == (3, (), ())
    spool.denoise()
    assert spool.deliver() == 6


def test_a_file_that_retention_had_given_up_is_deleted(spool):
    spool.keep(plan=Plan("keep"))
    (instance,) = spool.ledger.removable(1e9)
    content = instance.path.read_bytes()
    spool.ledger.remove(instance.id)
    instance.path.write_bytes(content)
    assert spool.ledger.reconcile(spool.files).swept == 1
    assert not instance.path.exists()


def test_a_person_may_empty_the_quarantine(spool):
    spool.keep("1.1")
    spool.keep("1.1", content=b"other")
    next(spool.files.quarantine.iterdir()).unlink()
    assert spool.ledger.reconcile(spool.files).is_clean
    assert spool.keep("1.1", content=b"other") == KeepOutcome.CONFLICT
    assert spool.ledger.reconcile(spool.files).is_clean


def test_a_ledger_is_not_compared_with_another_spool(spool, tmp_path):
    with pytest.raises(SpoolError, match="does not belong"):
        spool.ledger.reconcile(SpoolFiles(tmp_path / "other"))
