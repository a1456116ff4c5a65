"""What jobs and deliveries came to, in numbers."""

from pathlib import Path

from dae_pacs.denoise.protocol import DeviceState, ModelIdentity
from dae_pacs.dimse.outgoing import Outgoing, SendResult
from dae_pacs.dimse.statuses import Outcome
from dae_pacs.node.events import Loaded
from dae_pacs.node.tally import JOB_BOUNDS_S, SEND_BOUNDS_S, Histogram, SendTally, WorkTally, all_sent

CT = Outgoing(Path("x"), "1.2", "1.3", "1.2.840.10008.1.2.1")


def test_a_value_on_a_bound_belongs_to_its_bucket_and_a_long_one_to_the_last():
    histogram = Histogram((1.0, 2.0))
    for seconds in (0.5, 1.0, 1.5, 99.0):
        histogram.add(seconds)
    seen = histogram.read()
    assert seen.counts == (2, 1, 1)
    assert seen.sum == 102.0


def test_jobs_are_counted_by_their_end_and_their_stages():
    tally = WorkTally()
    tally.job_claimed(3.0)
    tally.job_claimed(-5.0)  # a clock that was set back
    tally.job_ended("done", {"decode": 0.2, "whole": 2.0})
    tally.job_ended("failed", {})
    tally.image_done("derived")
    seen = tally.worked()
    assert seen.jobs == {"done": 1, "failed": 1}
    assert seen.images == {"derived": 1}
    assert sum(seen.stages["decode"].counts) == sum(seen.stages["whole"].counts) == 1
    assert seen.waited.sum == 3.0
    assert seen.waited.bounds == JOB_BOUNDS_S


def test_a_new_worker_is_unknown_until_it_speaks():
    tally = WorkTally()
    tally.worker_started("cpu")
    assert tally.worked().loaded is None
    spoken = Loaded("m", ModelIdentity("m", "1", "d", 0.5), DeviceState("cpu"))
    tally.worker_spoke("cpu", spoken)
    assert tally.worked().loaded == spoken
    tally.worker_lost("cpu")
    tally.worker_started("cpu")
    seen = tally.worked()
    assert (seen.loaded, seen.starts) == (None, 2)


def test_one_worker_of_several_with_a_model_speaks_for_all():
    tally = WorkTally()
    with_model = Loaded("m", ModelIdentity("m", "1", "d", 0.5), DeviceState("cpu"))
    tally.worker_spoke("one", Loaded("m", None, None, "no room"))
    tally.worker_spoke("other", with_model)
    tally.worker_started("third")
    assert tally.worked().loaded == with_model
    tally.worker_lost("other")
    assert tally.worked().loaded.reason == "no room"


def test_what_couriers_of_one_destination_sent_adds_up():
    one, other = SendTally(), SendTally()
    one.note(SendResult(CT, Outcome.SENT, 0, "", size_bytes=100, seconds=0.002))
    one.note(SendResult(CT, Outcome.RETRY, None, "", size_bytes=100, has_broken=True))
    other.note(SendResult(CT, Outcome.WARNING, 0xB000, "", size_bytes=50, seconds=0.5))
    other.note(SendResult(CT, Outcome.RETRY, None, "not sent", was_tried=False))
    other.failures += 1
    seen = all_sent([one.read(), other.read()])
    assert seen.outcomes == {"sent": 1, "retry": 1, "warning": 1}
    assert (seen.size_bytes, seen.failures) == (150, 1)
    assert sum(seen.seconds.counts) == 2
    assert all_sent([]).seconds.counts == (0,) * (len(SEND_BOUNDS_S) + 1)
