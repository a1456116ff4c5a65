"""One real Ray cluster for the whole folder: a head without cores, and two machines of one core each."""

from collections.abc import Iterator

import pytest

from dae_pacs.demo.ray_cluster import RayCluster

TWO = ("one", "two")


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayCluster]:
    """A cluster that runs; no process of it is left behind."""
    with RayCluster(tmp_path_factory.mktemp("cluster")) as running:
        for name in TWO:
            running.add(name)
        yield running
    assert running.left() == set()


@pytest.fixture
def whole_cluster(cluster: RayCluster) -> RayCluster:
    """The cluster with all its machines, whatever the test before did to them."""
    if "head" not in cluster.machines:
        cluster.start_head()
    for name in TWO:
        if name not in cluster.machines:
            cluster.add(name)
    return cluster
