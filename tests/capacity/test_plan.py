"""The calculator, on constants that make its sums easy to do by hand."""

from dataclasses import replace

import pytest

from dae_pacs.capacity import measured, plan
from dae_pacs.capacity.measured import Measured
from dae_pacs.capacity.workload import StudyKind, Workload

PLAIN = Measured(
    name="plain",
    machine="made up",
    receive_s_an_object=0.5,
    receive_mb_a_second=4.0,
    decode_s_a_megapixel=1.0,
    denoise_s_a_megapixel=7.0,
    encode_s_a_megapixel=2.0,
    image_s=3.0,
    series_s=20.0,
    send_s_an_object=1.0,
    send_mb_a_second=8.0,
)
KIND = StudyKind("made up", images=10, megapixels=2.0)  # 20 megapixels, 40 MB


def test_a_worker_on_shared_cores_does_one_thing_after_the_other() -> None:
    assert PLAIN.compute_s(10, 2.0) == 20 + 20 * (1 + 7 + 2) + 10 * 3


def test_on_a_gpu_the_slower_of_the_network_and_all_else_decides() -> None:
    gpu = replace(PLAIN, shares_cores=False, denoise_s_a_megapixel=0.1)

    assert gpu.compute_s(10, 2.0) == 20 + 20 * (1 + 2) + 10 * 3
    assert replace(gpu, denoise_s_a_megapixel=9).compute_s(10, 2.0) == 20 + 180


def test_each_station_gets_servers_for_the_busiest_hour() -> None:
    workload = Workload(((KIND, 6.0),), peak=2.0, outputs=2, keep_hours=10, destinations=3)

    result = plan.needed(workload, PLAIN)

    busy = {station.name: station.busy_s for station in result.stations}
    assert busy == {
        "receive": 12 * (10 * 0.5 + 40 / 4),
        "compute": 12 * 2 * 250,
        "deliver": 12 * 2 * (10 * 1 + 40 / 8),
    }
    assert {station.name: station.servers for station in result.stations} == {
        "receive": 1,
        "compute": 3,  # 6,000 s of an hour's 3,600, none above 70 %
        "deliver": 1,
    }
    assert result.in_mb_a_second == pytest.approx(12 * 40 / 3600)
    assert result.out_mb_a_second == pytest.approx(12 * 40 * 2 * 3 / 3600)
    assert result.spool_gb == pytest.approx(6 * 40 * 3 * 10 / 1000)


def test_the_bottleneck_is_what_fills_up_first() -> None:
    workload = Workload(((KIND, 6.0),), peak=1.0)

    few = plan.needed(workload, PLAIN, workers=1)
    many = plan.needed(workload, PLAIN, workers=100)

    assert few.bottleneck.name == "compute"
    assert few.bottleneck.headroom == pytest.approx(plan.MOST_BUSY * 3600 / (6 * 250))
    assert many.bottleneck.name in {"receive", "deliver"}


def test_an_archive_is_done_in_the_time_that_is_given() -> None:
    workload = Workload(((KIND, 6.0),), peak=3.0)
    instances = 1e6  # 100,000 studies of 250 s of compute, 15 s of receiving

    result = plan.archive(workload, PLAIN, instances=instances, hours=100, workers=None)

    assert result.workers == 70  # 6,944 hours of work in 100
    assert result.hours <= 100
    assert result.nodes == 6  # 417 hours of receiving, each node busy for 70 %
    assert result.terabytes == pytest.approx(4.0)
    assert result.in_mb_a_second == pytest.approx(4e6 / (result.hours * 3600))


def test_the_machines_that_were_measured_can_be_read() -> None:
    machines = measured.known()

    assert {"cpu", "h100"} <= set(machines)
    assert machines["cpu"].compute_s(1, 1) > machines["h100"].compute_s(1, 1)
