"""What a person has the ledger do."""

import os
import threading
from dataclasses import replace

import pytest

from dae_pacs.errors import SpoolError
from dae_pacs.spool.again import Wish
from dae_pacs.spool.outbox import Fate
from dae_pacs.spool.records import Plan
from dae_pacs.spool.states import InstanceStatus, JobStatus

DENOISE = Plan(
    "denoise", rule="ct", model="m", destinations=("PACS",), description="{source} s={strength:.1f}"
)
DEFAULTS = {"m": 0.7, "n": 0.5}


def _again(ledger, model="m", strength=0.4):
    return ledger.acts.make_again("1.2", Wish(model, strength), defaults=DEFAULTS, now=500.0)


def test_a_study_is_made_again_beside_what_there_is(spool):
    spool.keep("1.1", DENOISE)
    spool.keep("1.2", DENOISE)
    first = spool.denoise()
    remade = _again(spool.ledger)
    assert (remade.jobs, remade.images) == (1, 2)
    job = spool.ledger.claim_job("worker", lease_s=60, now=501.0)
    assert (job.model, job.strength, job.rule, job.destinations) == ("m", 0.4, "ct", ("PACS",))
    assert len(spool.ledger.pending_instances(job.id)) == 2
    assert spool.ledger.job(first).status is JobStatus.DONE


def test_another_model_is_named_in_the_new_series_and_measures_the_noise_anew(spool):
    spool.keep("1.1", DENOISE)
    first = spool.denoise()
    spool.ledger.set_noise(first, "{}")
    _again(spool.ledger, "n")
    _again(spool.ledger, "m")
    other, same, _ = spool.ledger.jobs()[::-1][1], spool.ledger.jobs()[0], None
    assert other.description == "{source} s={strength:.1f} {model}"
    assert (other.noise, same.noise) == (None, "{}")


@pytest.mark.parametrize("wish", [("m", 0.7), ("m", 0.4)])
def test_what_there_is_already_is_not_made_again(spool, wish):
    spool.keep("1.1", DENOISE)
    spool.denoise()
    _again(spool.ledger, "m", 0.4)
    remade = _again(spool.ledger, *wish)
    assert (remade.jobs, remade.same) == (0, 1)


def test_late_images_join_both(spool):
    spool.keep("1.1", DENOISE)
    spool.denoise()
    _again(spool.ledger)
    spool.keep("1.2", DENOISE)
    assert {job.image_count for job in spool.ledger.jobs()} == {2}


def test_what_retention_deleted_is_not_made_again(spool):
    spool.keep("1.1", DENOISE)
    spool.denoise()
    spool.deliver()
    for instance in spool.ledger.removable(1e9):
        spool.ledger.remove(instance.id)
    remade = _again(spool.ledger)
    assert (remade.jobs, remade.gone) == (0, 1)


@pytest.fixture
def conflict(spool):
    """An object that was denoised, and another of its UID in quarantine; how to release one."""
    spool.keep("1.1", DENOISE)
    spool.denoise()
    spool.deliver()
    spool.keep("1.1", DENOISE, content=b"other", PatientID="P2")

    def release(plan=DENOISE):
        (held,) = spool.ledger.views.story(1).quarantined or spool.ledger.views.story(2).quarantined
        new = spool.received("1.1", content=b"unused", path=held.path)
        new = replace(new, path=held.path, digest=held.digest, size_bytes=held.size_bytes, received_at=700.0)
        target = spool.files.object_path("1.1", new.transfer_syntax_uid, digest=held.digest)
        spool.ledger.acts.release(held.id, new=new, plan=plan, target=target)
        return held

    return release


def test_a_released_object_takes_the_place_of_the_first(spool, conflict):
    before = spool.ledger.received("1.1")
    content = before.path.read_bytes()
    held = conflict()
    now = spool.ledger.received("1.1")
    assert (now.id, now.digest, now.PatientID) == (before.id, held.digest, "P2")
    assert now.path.is_file()
    assert not held.path.exists()
    (aside,) = spool.ledger.views.story(1).quarantined
    assert aside.path.read_bytes() == content
    assert (aside.status, aside.digest, aside.PatientID) == (
        InstanceStatus.QUARANTINED,
        before.digest,
        "P1",
    )
    assert not before.path.exists()


def test_a_released_object_is_denoised_and_owed(spool, conflict):
    conflict()
    job_id = spool.claim(now=900.0)
    (pending,) = spool.ledger.pending_instances(job_id)
    assert pending.SOPInstanceUID == "1.1"
    spool.ledger.record_derived(job_id, pending.id, new=spool.made("another", now=901.0))


def test_releasing_twice_is_as_before(spool, conflict):
    before = spool.ledger.received("1.1")
    conflict()
    conflict(Plan("forward", destinations=("PACS",)))
    assert spool.ledger.received("1.1").digest == before.digest
    assert len(spool.due(now=2000.0)) == 1
    assert len(list(spool.files.quarantine.iterdir())) == 1


def test_two_people_who_release_the_same_object_do_so_once(spool, conflict):
    before = spool.ledger.received("1.1").path.read_bytes()
    outcomes = []

    def once():
        try:
            outcomes.append(conflict())
        except (SpoolError, ValueError) as error:  # too late, or the list was empty already
            outcomes.append(error)

    people = [threading.Thread(target=once) for _ in range(4)]
    for person in people:
        person.start()
    for person in people:
        person.join()

    released = [outcome for outcome in outcomes if not isinstance(outcome, Exception)]
    now = spool.ledger.received("1.1")
    assert now.path.is_file()
    held = {one.id: one for study in (1, 2) for one in spool.ledger.views.story(study).quarantined}
    assert [one.path.is_file() for one in held.values()] == [True]
    contents = {now.path.read_bytes(), *(one.path.read_bytes() for one in held.values())}
    assert before in contents
    assert len(contents) == 2, f"both objects are there after {len(released)} releases"
    assert now.PatientID == {True: "P1", False: "P2"}[now.path.read_bytes() == before]


def test_a_page_that_is_old_can_not_mean_what_was_set_aside(spool, conflict):
    held = conflict()
    (aside,) = spool.ledger.views.story(1).quarantined
    assert aside.id != held.id
    with pytest.raises(SpoolError, match="somebody has decided"):
        spool.ledger.acts.delete(held.id)
    assert aside.path.is_file()


@pytest.mark.parametrize("plan", [Plan("pass_over", reason="no image"), Plan("own")])
def test_an_object_may_be_released_to_another_fate(spool, conflict, plan):
    conflict(plan)
    assert spool.ledger.received("1.1").status is InstanceStatus.PASSED_OVER
    conflict(DENOISE)
    assert spool.ledger.received("1.1").status is InstanceStatus.KEPT


def test_an_object_at_work_is_not_replaced(spool, conflict):
    spool.keep("1.9", DENOISE)
    spool.claim(now=800.0)
    with pytest.raises(SpoolError, match="right now"):
        conflict()
    assert len(list(spool.files.objects.glob("*/*.dcm"))) == 3  # 1.1, 1.9 and the fixture's own


def test_a_released_object_whose_first_is_gone_leaves_the_quarantine_empty(spool, conflict):
    for instance in spool.ledger.removable(1e9):
        spool.ledger.remove(instance.id)
    conflict()
    assert list(spool.files.quarantine.iterdir()) == []
    assert spool.ledger.received("1.1").status is InstanceStatus.KEPT


def test_a_crash_between_links_and_rows_loses_nothing(spool, conflict):
    (held,) = spool.ledger.views.story(2).quarantined
    os.link(held.path, spool.files.objects / "00" / held.path.name)
    spool.reopen()
    spool.ledger.reconcile(spool.files)
    assert spool.ledger.received("1.1").path.is_file()
    assert held.path.is_file()


def test_an_object_of_the_quarantine_is_deleted_once(spool, conflict):
    (held,) = spool.ledger.views.story(2).quarantined
    spool.ledger.acts.delete(held.id)
    assert not held.path.exists()
    assert spool.ledger.views.instance(held.id) is None
    with pytest.raises(SpoolError, match="not in quarantine"):
        spool.ledger.acts.delete(held.id)
    kept = spool.ledger.received("1.1")
    with pytest.raises(SpoolError, match="not in quarantine"):
        spool.ledger.acts.delete(kept.id)
    assert kept.path.is_file()


def test_what_people_did_is_in_the_story(spool):
    spool.keep()
    spool.ledger.acts.note("1.2", account="maria", words="Requeued.", now=300.0)
    (act,) = spool.ledger.views.story(1).acts
    assert (act.account, act.words) == ("maria", "Requeued.")


def test_what_waits_of_a_study_is_tried_at_once(spool):
    spool.keep("1.1", Plan("forward", destinations=("PACS",)))
    spool.keep("1.2", Plan("forward", destinations=("PACS",)), StudyInstanceUID="9.9")
    spool.tell(spool.take(now=200.0), Fate.TRY_AGAIN, "busy", now=200.0)
    spool.ledger.outbox.failed("PACS", error="down", now=200.0)
    assert spool.take(now=201.0) == []
    assert spool.ledger.acts.hurry("1.2", now=201.0) == 1
    assert [delivery.SOPInstanceUID for delivery in spool.take(now=201.0)] == ["1.1"]
