"""The simulation, against closed forms of queueing theory, and against a node that was measured."""

import json
import statistics
from dataclasses import replace
from pathlib import Path

import pytest

from dae_pacs.capacity.measured import Measured
from dae_pacs.capacity.simulate import Arrival, poisson, run
from dae_pacs.capacity.workload import StudyKind, Workload

CASE = Path(__file__).parents[2] / "benchmarks" / "plan_case.json"
WITHIN = 0.2
"""How far simulation and measurement may be apart (issue 7)."""
INSTANT = Measured(
    name="instant",
    machine="made up",
    receive_s_an_object=0.0,
    receive_mb_a_second=1e12,
    decode_s_a_megapixel=0.0,
    denoise_s_a_megapixel=0.0,
    encode_s_a_megapixel=0.0,
    image_s=0.0,
    series_s=0.0,
    send_s_an_object=0.0,
    send_mb_a_second=1e12,
    quiet_s=0.0,
)
ONE = StudyKind("one", images=1, megapixels=1.0)


@pytest.mark.parametrize("load", [0.3, 0.6, 0.8])
def test_waits_for_one_worker_are_those_of_pollaczek_and_khinchine(load: float) -> None:
    """M/D/1: a mean wait of load / (2 (1 - load)) services."""
    service_s = 10.0
    measured = replace(INSTANT, series_s=service_s)
    workload = Workload(((ONE, 3600 * load / service_s),), peak=1.0)

    passages = run(poisson(workload, hours=400), measured, workers=1)

    waits = statistics.fmean(passage.wait_s for passage in passages)
    assert waits == pytest.approx(service_s * load / (2 * (1 - load)), rel=0.1)


def test_all_work_is_done_once_and_no_worker_does_two_things_at_a_time() -> None:
    measured = replace(INSTANT, denoise_s_a_megapixel=7.0, send_s_an_object=1.0, quiet_s=2.0)
    kinds = (StudyKind("small", 2, 0.5), StudyKind("large", 3, 4.0))
    workload = Workload(tuple((kind, 120.0) for kind in kinds), peak=1.0)
    arrivals = poisson(workload, hours=2)

    passages = run(arrivals, measured, workers=3)

    assert sorted(id(passage.arrival) for passage in passages) == sorted(id(arrival) for arrival in arrivals)
    edges = sorted(
        [(passage.started_s, 1) for passage in passages] + [(passage.computed_s, -1) for passage in passages]
    )
    busy = most = 0
    for _, step in edges:
        busy += step
        most = max(most, busy)
    assert most == 3
    for passage in passages:
        assert passage.started_s >= passage.received_s + measured.quiet_s
        assert passage.delivered_s > passage.computed_s > passage.started_s


def test_an_urgent_study_goes_before_those_that_wait() -> None:
    measured = replace(INSTANT, series_s=100.0)
    arrivals = [Arrival(0.0, ONE, 2), Arrival(1.0, ONE, 2), Arrival(2.0, ONE, 2), Arrival(3.0, ONE, 0)]

    passages = run(arrivals, measured, workers=1)

    assert [passage.arrival.at_s for passage in passages] == [0.0, 3.0, 1.0, 2.0]


def test_several_outputs_take_the_worker_several_times() -> None:
    measured = replace(INSTANT, series_s=10.0)

    (passage,) = run([Arrival(0.0, ONE)], measured, workers=1, outputs=3)

    assert passage.computed_s == pytest.approx(30.0)


def test_a_measured_burst_is_told_to_within_a_fifth() -> None:
    """The case is written by benchmarks/plan.py: constants, arrivals, and what a real node made of them."""
    case = json.loads(CASE.read_text())
    measured = Measured(**case["measured"])
    arrivals = [
        Arrival(one["at_s"], StudyKind(one["kind"], one["images"], one["megapixels"]))
        for one in case["arrivals"]
    ]

    passages = run(arrivals, measured, workers=1)

    assert max(passage.delivered_s for passage in passages) == pytest.approx(
        case["last_delivered_s"], rel=WITHIN
    )
    mean_s = statistics.fmean(passage.total_s for passage in passages)
    assert mean_s == pytest.approx(case["mean_total_s"], rel=WITHIN)
