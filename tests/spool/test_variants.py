"""Several outputs of one rule: each is a job of its own, and they keep together."""

import pytest

from dae_pacs.spool.records import REMOVED_DESCRIPTION, Plan

PLAN = Plan(
    action="denoise",
    rule="ct",
    model="m",
    strength=0.7,
    destinations=("PACS",),
    description="{source} denoised",
    strengths=(0.3, 1.0),
    removed=True,
    compression="jpegls",
)


def test_a_rule_without_extras_makes_the_one_job_that_it_always_made(spool):
    spool.keep()
    (job,) = spool.ledger.jobs()
    assert (job.variant, job.kind, job.strength, job.compression) == ("", "denoised", 0.7, "uncompressed")


def test_each_output_is_a_job_of_its_own(spool):
    spool.keep("1.1", PLAN)
    spool.keep("1.2", PLAN)
    jobs = sorted(spool.ledger.jobs(), key=lambda job: job.id)
    assert [(job.variant, job.kind, job.strength) for job in jobs] == [
        ("", "denoised", 0.7),
        ("s=0.3", "denoised", 0.3),
        ("s=1", "denoised", 1.0),
        ("removed", "removed", 0.7),
    ]
    assert {job.image_count for job in jobs} == {2}
    assert {job.compression for job in jobs} == {"jpegls"}
    assert jobs[0].description == "{source} denoised"
    assert jobs[3].description == REMOVED_DESCRIPTION


def test_a_late_image_joins_every_output_and_starts_none(spool):
    spool.keep("1.1", PLAN)
    for k in range(4):
        spool.denoise_as(f"of {k}")
    more = Plan(action="denoise", rule="ct", model="m", destinations=("PACS",), strengths=(0.1,))
    spool.keep("1.2", more, received_at=300.0)
    jobs = spool.ledger.jobs()
    assert len(jobs) == 4
    assert {job.status.value for job in jobs} == {"collecting"}


def test_the_outputs_have_series_numbers_of_their_own(spool):
    spool.keep("1.1", PLAN)
    numbers = [spool.ledger.set_series_number(job.id, 1003) for job in spool.ledger.jobs()]
    assert sorted(numbers) == [1003, 1004, 1005, 1006]


def test_the_noise_of_a_series_is_measured_once_for_all_outputs(spool):
    spool.keep("1.1", PLAN)
    spool.keep("1.2", PLAN, SeriesInstanceUID="1.2.9")
    first = spool.claim()
    spool.ledger.set_noise(first, "{}")
    series = spool.ledger.job(first).SeriesInstanceUID
    assert {job.noise for job in spool.ledger.jobs() if job.SeriesInstanceUID == series} == {"{}"}
    assert {job.noise for job in spool.ledger.jobs() if job.SeriesInstanceUID != series} == {None}


def test_a_lost_result_is_made_again_by_the_job_that_made_it(spool):
    spool.keep("1.1", PLAN)
    jobs = [spool.denoise_as(f"of {k}") for k in range(4)]
    lost = spool.made_as["of 3"].path
    lost.unlink()
    spool.ledger.recover(300.0)
    assert spool.ledger.reconcile(spool.files).remade == 1
    status = {job.id: job.status.value for job in spool.ledger.jobs()}
    assert status[jobs[3]] == "ready"
    assert [status[job] for job in jobs[:3]] == ["done"] * 3


def test_one_failed_output_does_not_hold_up_the_others(spool):
    spool.keep("1.1", PLAN)
    job_id = spool.claim()
    (instance,) = spool.ledger.pending_instances(job_id)
    spool.ledger.reject_instance(job_id, instance.id, reason="no place for it")
    spool.ledger.finish_job(job_id, "worker", stages={}, now=201.0)
    spool.denoise_as("another")
    assert sorted(job.status.value for job in spool.ledger.jobs()) == ["done", "failed", "ready", "ready"]


@pytest.fixture
def spool(spool):
    """The usual spool, with results that are named by the output that they belong to."""
    spool.made_as = {}

    def denoise_as(name: str) -> int:
        job_id = spool.claim()
        for instance in spool.ledger.pending_instances(job_id):
            made = spool.made(instance.SOPInstanceUID + name)
            spool.made_as[name] = made
            spool.ledger.record_derived(job_id, instance.id, new=made)
        spool.ledger.finish_job(job_id, "worker", stages={}, now=200.0)
        return job_id

    spool.denoise_as = denoise_as
    return spool
