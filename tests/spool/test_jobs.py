"""Completeness, leases, attempts, late images."""

import pytest

from dae_pacs.errors import SpoolError, TransitionError
from dae_pacs.spool.records import Plan

SOON = {"quiet_s": 2.0, "idle_s": 10.0}
PLAN = Plan(action="denoise", rule="ct", model="m", destinations=("PACS",))


def test_a_series_is_ready_when_its_association_is_over_and_it_is_quiet(spool):
    spool.keep(received_at=100.0)
    assert spool.ledger.promote_ready(105.0, **SOON) == 0, "the association is open"
    spool.ledger.association_ended("a1")
    assert spool.ledger.promote_ready(101.0, **SOON) == 0, "not quiet yet"
    assert spool.ledger.promote_ready(102.5, **SOON) == 1


def test_a_series_over_two_associations_waits_for_both(spool):
    spool.keep("1.1", association="a1")
    spool.keep("1.2", association="a2")
    spool.ledger.association_ended("a1")
    assert spool.ledger.promote_ready(105.0, **SOON) == 0
    spool.ledger.association_ended("a2")
    assert spool.ledger.promote_ready(105.0, **SOON) == 1


def test_an_association_that_lingers_holds_a_series_up_for_idle_s_at_most(spool):
    spool.keep(received_at=100.0)
    assert spool.ledger.promote_ready(109.0, **SOON) == 0
    assert spool.ledger.promote_ready(110.0, **SOON) == 1


def test_a_series_with_its_expected_count_is_ready_at_once(spool):
    spool.keep("1.1", expected_count=2)
    assert spool.ledger.promote_ready(100.0, **SOON) == 0
    spool.keep("1.2", expected_count=2)
    assert spool.ledger.promote_ready(100.0, **SOON) == 1


def test_a_clock_set_back_does_not_hold_a_series_up(spool):
    spool.keep(received_at=1e9)
    spool.ledger.association_ended("a1")
    assert spool.ledger.promote_ready(100.0, **SOON) == 1


def test_an_association_that_never_stored_anything_may_end(spool):
    spool.ledger.association_ended("echo only")


def test_one_series_under_two_rules_is_two_jobs(spool):
    spool.keep("1.1", Plan(action="denoise", rule="a", destinations=("PACS",)))
    spool.keep("1.2", Plan(action="denoise", rule="b", destinations=("PACS",)))
    assert {job.rule for job in spool.ledger.jobs()} == {"a", "b"}


def test_the_urgent_come_first_then_the_oldest(spool):
    for number, priority in enumerate(["LOW", "MEDIUM", "MEDIUM", "HIGH", "STAT"]):
        plan = Plan(action="denoise", rule=f"{number}", destinations=("PACS",), priority=priority)
        spool.keep(f"1.{number}", plan, received_at=100.0 + number)
    spool.ledger.promote_ready(300.0, **SOON)
    claimed = [spool.ledger.claim_job("w", lease_s=60, now=300.0) for _ in range(6)]
    assert [job.rule for job in claimed if job] == ["4", "3", "1", "2", "0"]
    assert claimed[-1] is None


def test_a_job_goes_to_one_worker_and_ends_done(spool):
    spool.keep()
    job_id = spool.claim("one")
    assert spool.ledger.claim_job("two", lease_s=60, now=200.0) is None
    (instance,) = spool.ledger.pending_instances(job_id)
    spool.ledger.record_derived(job_id, instance.id, new=spool.made())
    assert not spool.ledger.pending_instances(job_id)
    assert spool.ledger.finish_job(job_id, "one", stages={"decode": 0.5}, now=201.0) == "done"
    job = spool.ledger.job(job_id)
    assert (job.status, job.stages, job.finished_at) == ("done", {"decode": 0.5}, 201.0)
    assert len(spool.due(now=201.0)) == 1


def test_recording_a_derived_object_twice_owes_it_once(spool):
    spool.keep()
    job_id = spool.claim()
    (instance,) = spool.ledger.pending_instances(job_id)
    first = spool.ledger.record_derived(job_id, instance.id, new=spool.made())
    assert spool.ledger.record_derived(job_id, instance.id, new=spool.made()) == first
    assert len(spool.ledger.deliveries()) == 1
    assert spool.ledger.counts()["instances"] == {"derived kept": 1, "received kept": 1}


def test_a_second_derived_object_of_one_image_is_refused(spool):
    spool.keep()
    job_id = spool.claim()
    (instance,) = spool.ledger.pending_instances(job_id)
    spool.ledger.record_derived(job_id, instance.id, new=spool.made())
    with pytest.raises(SpoolError, match="has a derived object already"):
        spool.ledger.record_derived(job_id, instance.id, new=spool.made("by another model"))
    assert len(spool.ledger.deliveries()) == 1


def test_a_derived_object_without_its_file_is_not_recorded(spool):
    spool.keep()
    job_id = spool.claim()
    (instance,) = spool.ledger.pending_instances(job_id)
    new = spool.made()
    new.path.unlink()
    with pytest.raises(SpoolError, match="looking for the file"):
        spool.ledger.record_derived(job_id, instance.id, new=new)
    assert len(spool.ledger.pending_instances(job_id)) == 1


def test_a_job_is_not_finished_over_images_nobody_touched(spool):
    spool.keep()
    job_id = spool.claim()
    with pytest.raises(SpoolError, match="1 of its images were neither"):
        spool.ledger.finish_job(job_id, "worker", stages={}, now=201.0)
    assert spool.ledger.job(job_id).status == "running"


def test_images_that_join_a_running_job_make_it_ready_again(spool):
    spool.keep("1.1")
    job_id = spool.claim()
    (first,) = spool.ledger.pending_instances(job_id)
    spool.keep("1.2")
    spool.ledger.record_derived(job_id, first.id, new=spool.made("1.1"))
    assert spool.ledger.finish_job(job_id, "worker", stages={}, now=201.0) == "ready"
    again = spool.ledger.claim_job("worker", lease_s=60, now=201.0)
    assert again is not None
    assert [i.SOPInstanceUID for i in spool.ledger.pending_instances(job_id)] == ["1.2"]


def test_a_late_image_re_opens_a_done_job_with_its_noise_and_series_number(spool):
    spool.keep("1.1")
    job_id = spool.claim()
    assert spool.ledger.set_noise(job_id, "first") == "first"
    assert spool.ledger.set_noise(job_id, "second") == "first"
    assert spool.ledger.set_series_number(job_id, 1003) == 1003
    (image,) = spool.ledger.pending_instances(job_id)
    spool.ledger.record_derived(job_id, image.id, new=spool.made("1.1"))
    spool.ledger.finish_job(job_id, "worker", stages={}, now=201.0)
    assert spool.keep(
        "1.2", Plan("denoise", rule="ct", model="changed", destinations=("X",)), received_at=300.0
    )
    job = spool.ledger.job(job_id)
    assert (job.status, job.noise, job.series_number) == ("collecting", "first", 1003)
    assert (job.model, job.destinations, job.image_count) == ("ct_denoising", ("PACS",), 2)
    assert spool.denoise(now=400.0) == job_id
    assert {d.destination for d in spool.ledger.deliveries()} == {"PACS"}
    assert len(spool.ledger.deliveries()) == 2


def test_series_numbers_of_a_study_do_not_collide(spool):
    spool.keep("1.1", SeriesNumber=3)
    spool.keep("1.2", SeriesInstanceUID="1.2.2", SeriesNumber=None)
    one, two = spool.claim(), spool.claim()
    assert spool.ledger.taken_series_numbers("1.2") == {3}
    assert spool.ledger.set_series_number(one, 3) == 4
    assert spool.ledger.set_series_number(two, 4) == 5
    assert spool.ledger.taken_series_numbers("1.2") == {3, 4, 5}


def test_a_lease_that_is_renewed_holds_and_one_that_is_not_expires(spool):
    spool.keep()
    job_id = spool.claim("one", now=200.0)
    assert spool.ledger.heartbeat(job_id, "one", lease_s=60, now=250.0)
    assert spool.ledger.release_expired(300.0) == []
    assert spool.ledger.release_expired(310.0) == [job_id]
    assert not spool.ledger.heartbeat(job_id, "one", lease_s=60, now=311.0)
    assert spool.ledger.claim_job("two", lease_s=60, now=310.0) is None, "after a pause"
    assert spool.ledger.claim_job("two", lease_s=60, now=320.0) is not None


def test_a_worker_that_lost_its_lease_can_neither_finish_nor_fail_the_job(spool):
    spool.keep()
    job_id = spool.claim("one", now=200.0)
    spool.ledger.release_expired(300.0)
    assert spool.ledger.claim_job("two", lease_s=60, now=400.0) is not None
    assert spool.ledger.finish_job(job_id, "one", stages={}, now=401.0) is None
    assert spool.ledger.fail_job(job_id, "one", reason="x", max_attempts=1, now=401.0) is None
    assert not spool.ledger.release_job(job_id, "one")
    assert spool.ledger.heartbeat(job_id, "two", lease_s=60, now=402.0)


def test_a_job_that_fails_is_tried_again_after_a_pause_and_then_given_up(spool):
    spool.keep()
    job_id = spool.claim(now=200.0)
    assert spool.ledger.fail_job(job_id, "worker", reason="boom", max_attempts=2, now=200.0) == "ready"
    assert spool.ledger.claim_job("worker", lease_s=60, now=200.0) is None
    assert spool.ledger.claim_job("worker", lease_s=60, now=203.0) is not None
    assert spool.ledger.fail_job(job_id, "worker", reason="boom", max_attempts=2, now=203.0) == "failed"
    job = spool.ledger.job(job_id)
    assert (job.status, job.reason, job.attempts) == ("failed", "boom", 2)


def test_a_poison_job_that_kills_its_workers_fails(spool):
    spool.keep()
    now = 200.0
    for _ in range(3):
        job_id = spool.claim(now=now)
        now += 1000.0
        assert spool.ledger.release_expired(now, max_attempts=3) == [job_id]
        now += 1000.0
    assert spool.ledger.job(job_id).status == "failed"
    assert "3 times" in (spool.ledger.job(job_id).reason or "")


def test_a_worker_told_to_stop_gives_its_job_back_uncounted(spool):
    spool.keep()
    job_id = spool.claim()
    assert spool.ledger.release_job(job_id, "worker")
    job = spool.ledger.claim_job("worker", lease_s=60, now=200.0)
    assert job is not None
    assert job.attempts == 1


def test_a_job_whose_images_are_all_rejected_fails_and_one_with_a_single_good_one_is_done(spool):
    spool.keep("1.1")
    spool.keep("1.2")
    job_id = spool.claim()
    one, two = spool.ledger.pending_instances(job_id)
    spool.ledger.reject_instance(job_id, one.id, reason="bad pixels")
    spool.ledger.reject_instance(job_id, two.id, reason="bad pixels")
    assert spool.ledger.finish_job(job_id, "worker", stages={}, now=201.0) == "failed"
    assert [r.reason for r in spool.ledger.study_story("1.2").rejected] == ["bad pixels"] * 2
    assert spool.ledger.retry(now=300.0).images == 2
    assert spool.claim(now=300.0) == job_id
    spool.ledger.reject_instance(job_id, one.id, reason="bad pixels")
    spool.ledger.record_derived(job_id, two.id, new=spool.made("1.2"))
    assert spool.ledger.finish_job(job_id, "worker", stages={}, now=301.0) == "done"


def test_a_derived_image_can_not_be_rejected(spool):
    spool.keep()
    job_id = spool.claim()
    (image,) = spool.ledger.pending_instances(job_id)
    spool.ledger.record_derived(job_id, image.id, new=spool.made())
    with pytest.raises(TransitionError, match="is derived and can't become rejected"):
        spool.ledger.reject_instance(job_id, image.id, reason="late")


def test_an_unknown_job_or_image_is_named(spool):
    with pytest.raises(SpoolError, match="no job 9"):
        spool.ledger.job(9)
    spool.keep()
    with pytest.raises(SpoolError, match="has no instance 9"):
        spool.ledger.reject_instance(spool.claim(), 9, reason="x")


def test_a_job_that_brings_the_node_down_each_time_steps_back_and_at_last_fails(spool):
    spool.keep()
    now = 200.0
    for crash in range(1, 6):
        job_id = spool.claim(now=now)
        spool.ledger.recover(now)
        job = spool.ledger.job(job_id)
        assert job.status == ("failed" if crash == 5 else "ready")
        assert (spool.ledger.claim_job("other", lease_s=60, now=now) is None) == (crash > 1)
        if crash == 1:
            spool.ledger.release_job(job_id, "other")
        now += 1000.0
    assert "went down" in (spool.ledger.job(job_id).reason or "")


def test_a_pause_that_a_clock_set_back_made_endless_is_forgotten_at_start(spool):
    spool.keep()
    spool.ledger.fail_job(spool.claim(now=1e9), "worker", reason="x", max_attempts=3, now=1e9)
    spool.ledger.recover(200.0)
    assert spool.ledger.claim_job("worker", lease_s=60, now=200.0) is not None


def test_recover_takes_back_what_the_last_node_had_in_hand(spool):
    spool.keep("1.1")
    job_id = spool.denoise()
    assert spool.take(now=300.0)
    spool.keep("1.2", SeriesInstanceUID="1.2.9", association="a2")
    spool.claim(now=300.0)
    spool.reopen()
    assert spool.ledger.deliveries()[0].status == "sending", "opening alone changes nothing"
    recovery = spool.ledger.recover(400.0)
    assert (recovery.jobs, recovery.deliveries, recovery.associations) == (1, 1, 2)
    assert spool.ledger.job(job_id).status == "done"
    assert len(spool.due(now=400.0)) == 1
    assert spool.ledger.claim_job("worker", lease_s=60, now=400.0) is not None
