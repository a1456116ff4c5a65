"""What a person is told, and that the retry does what it says."""

import pytest

from dae_pacs.errors import SpoolError
from dae_pacs.spool.records import Plan, Retried


def test_a_study_tells_its_whole_story(spool):
    spool.keep("1.1")
    spool.keep("1.1", content=b"other")
    spool.keep("1.2", Plan("pass_over", reason="report"), SeriesInstanceUID="1.2.2", Modality="SR")
    spool.denoise()
    spool.deliver()
    (study,) = spool.ledger.studies()
    assert (study.received, study.derived, study.passed_over, study.quarantined) == (2, 1, 1, 1)
    assert (study.done_jobs, study.open_jobs, study.failed_jobs) == (1, 0, 0)
    assert (study.delivered_deliveries, study.waiting_deliveries) == (1, 0)
    assert set(study.modalities.split(",")) == {"CT", "SR"}
    story = spool.ledger.study_story("1.2")
    assert story.study == study
    assert len(story.instances) == 4
    assert [job.stages for job in story.jobs] == [{"denoise": 1.0}]
    with pytest.raises(SpoolError, match="no study of that UID"):
        spool.ledger.study_story("9.9")


def test_studies_come_latest_first_and_lists_are_bounded(spool):
    for number in range(4):
        spool.keep(f"1.{number}", StudyInstanceUID=f"9.{number}", received_at=100.0 + number)
    assert [s.StudyInstanceUID for s in spool.ledger.studies(limit=2)] == ["9.3", "9.2"]
    assert len(spool.ledger.jobs(limit=3)) == 3
    assert len(spool.ledger.jobs(study="9.1")) == 1
    assert spool.ledger.jobs(status="done") == []


def test_retry_requeues_failed_jobs_of_one_study_or_all(spool):
    for number in range(2):
        spool.keep(f"1.{number}", StudyInstanceUID=f"9.{number}")
        spool.ledger.fail_job(spool.claim(), "worker", reason="boom", max_attempts=1, now=200.0)
    assert spool.ledger.retry(study="9.0", now=300.0) == Retried(jobs=1, images=0, deliveries=0)
    assert spool.ledger.retry(now=300.0) == Retried(jobs=1, images=0, deliveries=0)
    assert spool.ledger.retry(now=300.0) == Retried(jobs=0, images=0, deliveries=0)
    job = spool.ledger.claim_job("worker", lease_s=60, now=300.0)
    assert job is not None
    assert job.attempts == 1


def test_retry_opens_the_rejected_images_of_a_done_job_only_when_its_study_is_named(spool):
    spool.keep("1.1")
    spool.keep("1.2")
    job_id = spool.claim()
    one, two = spool.ledger.pending_instances(job_id)
    spool.ledger.reject_instance(job_id, one.id, reason="codec")
    spool.ledger.record_derived(job_id, two.id, new=spool.made("1.2"))
    spool.ledger.finish_job(job_id, "worker", stages={}, now=201.0)
    assert spool.ledger.retry(now=300.0).images == 0
    assert spool.ledger.retry(study="1.2", now=300.0) == Retried(jobs=1, images=1, deliveries=0)
    assert [i.SOPInstanceUID for i in spool.ledger.pending_instances(job_id)] == ["1.1"]
