"""The node is killed, stopped and cut off from its PACS: what it acknowledged arrives all the same, once."""

import time

import pytest

from dae_pacs.demo.phantoms import Study, ct_series, write_all

pytestmark = [pytest.mark.pacs, pytest.mark.slow]


def test_killed_after_its_answer_it_delivers_everything_once(open_hospital, tmp_path):
    hospital, study = open_hospital(), Study()
    paths = write_all(ct_series(study, slices=6, size=256), tmp_path / "study")
    hospital.modality_sends(*paths)  # storescu fails unless each was answered with 0x0000
    hospital.node.kill()
    hospital.node.start()
    hospital.await_derived(study, 2)
    hospital.node.kill()  # and once more, in mid-job
    hospital.node.start()
    hospital.await_derived(study, len(paths))
    hospital.settle()
    derived = [str(ds.SOPInstanceUID) for ds in hospital.derived(study)]
    assert len(derived) == len(set(derived)) == len(paths)
    assert hospital.pacs.rest.count_instances() == len(paths)


def test_pacs_that_was_down_gets_what_it_lacks_and_nothing_twice(open_hospital, tmp_path):
    hospital, first, second = open_hospital(), Study(), Study(patient_id="PHANTOM-2")
    hospital.modality_sends(*write_all(ct_series(first, slices=2), tmp_path / "first"))
    hospital.await_derived(first, 2)
    hospital.settle()
    hospital.pacs.stop()
    hospital.modality_sends(*write_all(ct_series(second, slices=3), tmp_path / "second"))
    hospital.wait_until_owed(3)
    hospital.pacs.start()
    hospital.await_derived(second, 3)
    hospital.settle()
    tries = hospital.tries_of_delivered()
    assert tries == [1] * 5, "an object is tried when its turn comes, and none was sent twice"


def test_the_pacs_commits_itself_to_what_it_got(open_hospital, tmp_path):
    hospital, study = open_hospital("commitment = true"), Study()
    hospital.modality_sends(*write_all(ct_series(study, slices=3, size=64), tmp_path / "study"))
    hospital.await_derived(study, 3)
    hospital.settle()
    with hospital.ledger() as ledger:
        (state,) = ledger.outbox.states(now=time.time(), breaker_after=5)
    assert (state.delivered, state.committed, state.uncommitted) == (3, 3, 0)


def test_sigterm_stops_cleanly_and_what_was_in_work_is_done_after_restart(open_hospital, tmp_path):
    hospital, study = open_hospital(), Study()
    paths = write_all(ct_series(study, slices=6, size=256), tmp_path / "study")
    hospital.modality_sends(*paths)
    assert hospital.node.stop() == 0
    assert "Traceback" not in hospital.node.log_path.read_text()
    hospital.node.start()
    hospital.await_derived(study, len(paths))
