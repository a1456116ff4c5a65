"""Keeping: once, twice, under the same UID with other bytes, and our own coming back."""

from dataclasses import replace

import pytest

from dae_pacs.errors import SpoolError
from dae_pacs.spool.records import KeepOutcome, Plan

FORWARD = Plan(action="forward", rule="f", destinations=("PACS", "ARCHIVE"))


def test_a_new_object_is_kept_with_all_that_the_rules_want(spool):
    assert spool.keep() == KeepOutcome.NEW
    story = spool.ledger.study_story("1.2")
    (instance,) = story.instances
    (job,) = story.jobs
    assert (instance.status, instance.action, instance.SOPInstanceUID) == ("kept", "denoise", "1.2.3")
    assert (job.status, job.image_count, job.strength, job.destinations) == ("collecting", 1, 0.7, ("PACS",))
    assert instance.path.exists()
    assert not story.deliveries


def test_the_same_object_again_changes_nothing(spool):
    spool.keep()
    spool.denoise()
    before = spool.ledger.study_story("1.2")
    assert spool.keep(received_at=500.0, association="a2") == KeepOutcome.AGAIN
    assert spool.ledger.study_story("1.2") == before


def test_other_bytes_under_the_same_uid_are_quarantined_once_and_the_first_stays(spool):
    spool.keep()
    for _ in range(2):
        assert spool.keep(content=b"other") == KeepOutcome.CONFLICT
    first, second = spool.ledger.study_story("1.2").instances
    assert (first.status, second.status) == ("kept", "quarantined")
    assert second.path.parent == spool.files.quarantine
    assert first.path.exists()
    assert second.path.read_bytes().endswith(b"1.2.3other")
    assert spool.ledger.jobs()[0].image_count == 1
    assert spool.ledger.reconcile(spool.files).is_clean


def test_forwarded_original_is_owed_to_each_destination_once(spool):
    spool.keep(plan=FORWARD)
    spool.keep(plan=FORWARD)
    assert sorted(d.destination for d in spool.ledger.deliveries()) == ["ARCHIVE", "PACS"]
    assert not spool.ledger.jobs()


def test_what_can_not_be_denoised_is_passed_over_and_still_forwarded(spool):
    spool.keep(plan=Plan("pass_over", reason="colour", destinations=("PACS",), forward_original=True))
    (instance,) = spool.ledger.study_story("1.2").instances
    assert (instance.status, instance.reason) == ("passed_over", "colour")
    assert len(spool.due(now=1000)) == 1


def test_what_matches_no_rule_is_kept_with_the_reason(spool):
    spool.keep(plan=Plan("keep", reason="no rule matches"))
    (instance,) = spool.ledger.study_story("1.2").instances
    assert (instance.status, instance.reason) == ("kept", "no rule matches")


def test_our_own_result_coming_back_makes_no_job_whatever_the_rules_say(spool):
    spool.keep()
    spool.denoise()
    derived_uid = spool.made().SOPInstanceUID
    assert spool.ledger.is_ours(derived_uid)
    assert not spool.ledger.is_ours("1.2.3")
    plan = Plan("denoise", rule="ct", destinations=("PACS",), forward_original=True)
    before = spool.ledger.counts()
    assert spool.keep(derived_uid, plan, SeriesInstanceUID="2.25.1") == KeepOutcome.NEW
    after = spool.ledger.counts()
    assert after["jobs"] == before["jobs"]
    assert after["deliveries"] == before["deliveries"]
    assert after["instances"]["received passed_over"] == 1


def test_an_own_object_by_its_header_is_never_sent(spool):
    spool.keep(plan=Plan("own", reason="ours", destinations=("PACS",), forward_original=True))
    assert spool.ledger.counts()["deliveries"] == {}
    assert spool.ledger.counts()["instances"] == {"received passed_over": 1}


def test_an_object_without_its_file_is_not_recorded(spool):
    new = spool.received()
    new.path.unlink()
    with pytest.raises(SpoolError, match="looking for the file"):
        spool.ledger.keep(new, FORWARD)
    assert spool.ledger.counts()["instances"] == {}


def test_an_object_cut_short_is_not_recorded(spool):
    new = spool.received()
    new.path.write_bytes(b"cut")
    with pytest.raises(SpoolError, match="holds 3 bytes"):
        spool.ledger.keep(new, FORWARD)


def test_an_object_outside_the_spool_is_not_recorded(spool, tmp_path):
    (tmp_path / "elsewhere.dcm").write_bytes(b"x")
    new = spool.received(path=tmp_path / "elsewhere.dcm", size_bytes=1)
    with pytest.raises(SpoolError, match="outside the spool"):
        spool.ledger.keep(new, FORWARD)


def test_a_refused_object_leaves_no_file_unless_one_kept_before_stands_on_it(spool):
    new = spool.received()
    with pytest.raises(SpoolError, match="bytes where"):
        spool.ledger.keep(replace(new, size_bytes=1), FORWARD)
    assert not new.path.exists()
    spool.keep()
    with pytest.raises(SpoolError, match="bytes where"):
        spool.ledger.keep(replace(spool.received(), size_bytes=1), FORWARD)
    assert new.path.exists()


def test_several_objects_share_one_transaction_all_or_none(spool):
    good = [(spool.received(f"1.{n}"), FORWARD) for n in range(5)]
    assert spool.ledger.keep_all(good) == [KeepOutcome.NEW] * 5
    bad = spool.received("1.7")
    bad.path.unlink()
    with pytest.raises(SpoolError):
        spool.ledger.keep_all([(spool.received("1.6"), FORWARD), (bad, FORWARD)])
    assert spool.ledger.counts()["instances"] == {"received kept": 5}


def test_two_patients_under_one_series_uid_keep_their_own_names(spool):
    spool.keep("1.2.3")
    spool.keep("1.2.4", PatientID="P2")
    assert {i.PatientID for i in spool.ledger.study_story("1.2").instances} == {"P1", "P2"}


def test_a_spool_may_be_moved(new_spool, tmp_path):
    spool = new_spool("spool")
    spool.keep()
    spool.ledger.close()
    (tmp_path / "spool").rename(tmp_path / "moved")
    moved = new_spool("moved")
    (instance,) = moved.ledger.study_story("1.2").instances
    assert instance.path.exists()
