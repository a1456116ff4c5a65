"""How a node's computing is judged by its figures: one worker or several, with a cluster or without."""

import os
from dataclasses import replace

import pytest

from dae_pacs.config.model import Settings
from dae_pacs.denoise.protocol import DeviceState, ModelIdentity
from dae_pacs.node.answers import answers_of
from dae_pacs.node.asking import Figures
from dae_pacs.node.cluster_watch import ClusterReport, ClusterWatch
from dae_pacs.node.events import Loaded
from dae_pacs.node.figures import NodeFigures, Worker
from dae_pacs.node.health import State, health_of
from dae_pacs.node.lifecycle import Node
from dae_pacs.node.processes import process, together
from dae_pacs.node.tally import Worked, WorkTally
from dae_pacs.web.exposition import Seen, samples_of

WITH_MODEL = Loaded("m", ModelIdentity("m", "1", "d", 0.5), DeviceState("cuda:0"))
WITHOUT = Loaded("m", None, None, "no room")


@pytest.fixture(scope="module")
def at_rest(tmp_path_factory) -> NodeFigures:
    """The figures of a real node that was not started."""
    node = Node(Settings(node={"spool": tmp_path_factory.mktemp("spool"), "port": 0}))
    try:
        return answers_of(node.parts)[Figures](Figures())
    finally:
        node.stop()


def worked(**spoken: Loaded) -> Worked:
    tally = WorkTally()
    for name, said in spoken.items():
        tally.worker_spoke(name, said)
    return tally.worked()


def worker(name: str, *, is_fed: bool = True, is_working: bool = True) -> Worker:
    return Worker(name, is_fed=is_fed, is_working=is_working, process=None)


def compute(figures: NodeFigures):
    return health_of(figures, None, Settings()).compute


TWO = (worker("gpu0"), worker("gpu1"))


def test_all_workers_with_the_model_are_ready(at_rest):
    part = compute(replace(at_rest, workers=TWO, worked=worked(gpu0=WITH_MODEL, gpu1=WITH_MODEL)))
    assert (part.state, part.reason) == (State.READY, "m 1 on cuda:0")


def test_one_worker_with_the_model_is_enough_and_those_without_are_named(at_rest):
    part = compute(replace(at_rest, workers=TWO, worked=worked(gpu1=WITH_MODEL)))
    assert part.state is State.READY
    assert "1 of 2 workers have it. gpu0: the worker is loading" in part.reason
    part = compute(replace(at_rest, workers=TWO, worked=worked(gpu0=WITHOUT, gpu1=WITH_MODEL)))
    assert part.state is State.DEGRADED  # it works, and a person should look
    assert "gpu0: the model can't be loaded" in part.reason


def test_the_first_worker_alone_says_nothing_of_the_others(at_rest):
    first_is_gone = (worker("gpu0", is_working=False), worker("gpu1"))
    part = compute(replace(at_rest, workers=first_is_gone, worked=worked(gpu1=WITH_MODEL)))
    assert part.state is State.READY
    assert "gpu0: no worker process runs" in part.reason


def test_without_any_model_computing_is_starting_or_down(at_rest):
    assert compute(replace(at_rest, workers=TWO, worked=worked(gpu0=WITHOUT))).state is State.STARTING
    both = worked(gpu0=WITHOUT, gpu1=WITHOUT)
    assert compute(replace(at_rest, workers=TWO, worked=both)).state is State.DOWN
    unfed = tuple(replace(one, is_fed=False) for one in TWO)
    assert compute(replace(at_rest, workers=unfed, worked=worked())).state is State.DOWN
    assert compute(replace(at_rest, workers=unfed, worked=worked(gpu0=WITH_MODEL))).state is State.DOWN


def test_a_cluster_that_is_away_is_down_with_since_when_and_why_until_it_is_back(at_rest, tmp_path):
    watch = ClusterWatch(tmp_path / "cluster.json", "head:6379")

    def seen() -> NodeFigures:
        ready = replace(at_rest, workers=TWO, worked=worked(gpu0=WITH_MODEL, gpu1=WITH_MODEL))
        return replace(ready, cluster=watch.report)

    assert compute(seen()).state is State.READY
    watch.is_away("Cluster head:6379: nobody answers there. Start its head, or correct compute.address.")
    part = compute(seen())
    assert part.state is State.DOWN
    assert "the cluster is away since 20" in part.reason
    assert "nobody answers there" in part.reason
    assert "head:6379" not in part.reason  # whoever asks is nobody we know
    assert metric(seen(), "dae_pacs_cluster_up") == 0
    watch.is_there()
    assert compute(seen()).state is State.READY
    assert metric(seen(), "dae_pacs_cluster_up") == 1


def test_metrics_tell_how_many_workers_have_the_model(at_rest):
    figures = replace(at_rest, workers=TWO, worked=worked(gpu0=WITHOUT, gpu1=WITH_MODEL))
    assert metric(figures, "dae_pacs_workers") == 2
    assert metric(figures, "dae_pacs_workers_with_model") == metric(figures, "dae_pacs_model_loaded") == 1
    assert metric(replace(figures, cluster=None), "dae_pacs_cluster_up") is None


def test_what_workers_take_adds_up():
    one = process(os.getpid())
    both = together([one, None, one])
    assert both.resident_bytes == 2 * one.resident_bytes
    assert both.open_files == 2 * one.open_files
    assert together([None]) is None


def test_a_report_without_a_cluster_says_nothing(at_rest):
    assert at_rest.cluster is None
    there = replace(at_rest, cluster=ClusterReport("head:6379"), workers=TWO, worked=worked(gpu0=WITH_MODEL))
    assert compute(there).state is State.READY


def metric(figures: NodeFigures, name: str) -> float | None:
    seen = Seen(figures, None, None, 0, None, {})
    return next((sample.value for sample in samples_of(seen) if sample.name == name), None)
