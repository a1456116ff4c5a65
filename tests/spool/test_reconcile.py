"""Where ledger and disk disagree at start-up."""

from dataclasses import replace

import pytest

from dae_pacs import part10
from dae_pacs.errors import SpoolError
from dae_pacs.part10 import FileMeta
from dae_pacs.spool.files import SpoolFiles
from dae_pacs.spool.receipt import Receipt
from dae_pacs.spool.records import KeepOutcome, Plan

CT = "1.2.840.10008.5.1.4.1.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"


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


def acknowledged(spool, uid, *, content=b"", settled=False):
    """Leave the file of an object that was acknowledged, as a crash before its row leaves it."""
    incoming = spool.files.open_incoming()
    meta = FileMeta(CT, uid, EXPLICIT)
    incoming.write(part10.encode(meta, calling_ae="CT1", called_ae="DAE_PACS") + uid.encode() + content)
    sequence = int(uid[-1])
    incoming.seal(Receipt("CT1", "DAE_PACS", "127.0.0.1", "a9", 100.0 + sequence, sequence, ""))
    incoming.flush()
    if settled:
        spool.files.settle(incoming, SOPInstanceUID=uid, transfer_syntax_uid=EXPLICIT)
    return incoming.path


def adopted_as(spool):
    like = spool.received("0.0")
    like.path.unlink()

    def adopt(sealed):
        new = replace(
            like,
            SOPInstanceUID=sealed.meta.SOPInstanceUID,
            digest=sealed.digest(),
            path=sealed.path,
            size_bytes=sealed.size_bytes,
            association=sealed.receipt.association,
        )
        return new, Plan("forward", rule="all", destinations=("PACS",))

    return adopt


@pytest.mark.parametrize("settled", [False, True])
def test_what_was_acknowledged_without_a_row_is_recorded_and_delivered_once(spool, settled):
    for uid in ("1.1", "1.2"):
        acknowledged(spool, uid, settled=settled)
    result = spool.ledger.reconcile(spool.files, adopt=adopted_as(spool))
    assert (result.adopted, result.orphans, result.swept) == (2, (), 0)
    assert [i.SOPInstanceUID for i in spool.ledger.study_story("1.2").instances] == ["1.1", "1.2"]
    assert spool.ledger.reconcile(spool.files, adopt=adopted_as(spool)).is_clean
    assert spool.deliver() == 2


def test_row_whose_file_a_power_cut_put_back_under_its_old_name_finds_it_again(spool):
    acknowledged(spool, "1.1")
    spool.ledger.reconcile(spool.files, adopt=adopted_as(spool))
    kept = spool.ledger.received("1.1").path
    kept.replace(spool.files.incoming / "0123.dcm")
    result = spool.ledger.reconcile(spool.files, adopt=adopted_as(spool))
    assert result.is_clean
    assert kept.exists()


def test_torn_file_is_never_adopted(spool):
    path = acknowledged(spool, "1.1", content=bytes(5000))
    content = bytearray(path.read_bytes())
    content[-512:] = b"x" * 512
    path.write_bytes(content)
    result = spool.ledger.reconcile(spool.files, adopt=adopted_as(spool))
    assert (result.adopted, result.swept) == (0, 1)
    assert not path.exists()


def test_file_made_ahead_is_neither_adopted_nor_swept(spool):
    slot = spool.files.ready / "0123.slot"
    slot.write_bytes(bytes(100_000))
    assert spool.ledger.reconcile(spool.files, adopt=adopted_as(spool)).is_clean
    assert slot.exists()


def test_second_object_of_a_uid_that_was_never_acknowledged_is_set_apart(spool):
    acknowledged(spool, "1.1")
    spool.ledger.reconcile(spool.files, adopt=adopted_as(spool))
    acknowledged(spool, "1.1", content=b"other")
    spool.ledger.reconcile(spool.files, adopt=adopted_as(spool))
    assert spool.ledger.counts()["instances"] == {"received kept": 1, "received quarantined": 1}
