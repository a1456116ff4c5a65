from pathlib import Path

from dae_pacs.node.cluster_watch import ClusterReport, ClusterWatch, read


def test_report_says_since_when_and_keeps_that_until_it_is_back(tmp_path: Path):
    path = tmp_path / "cluster.json"
    watch = ClusterWatch(path, "head:6379")
    assert read(path) == ClusterReport("head:6379")
    watch.is_away("nobody answers")
    first = read(path)
    assert first.unreachable_since is not None
    watch.is_away("still nobody")
    assert read(path) == ClusterReport("head:6379", first.unreachable_since, "still nobody")
    watch.is_there()
    assert read(path) == watch.report == ClusterReport("head:6379")


def test_node_without_a_cluster_leaves_no_report(tmp_path: Path):
    path = tmp_path / "cluster.json"
    ClusterWatch(path, "head:6379")
    watch = ClusterWatch(path, None)
    watch.is_away("nobody")
    watch.is_there()
    assert (read(path), watch.report) == (None, None)


def test_report_that_can_t_be_read_is_none(tmp_path: Path):
    (tmp_path / "cluster.json").write_text('{"other": 1}')
    assert read(tmp_path / "cluster.json") is None


def test_report_that_can_t_be_written_stops_nothing(tmp_path: Path):
    watch = ClusterWatch(tmp_path / "no such folder" / "cluster.json", "head:6379")
    watch.is_away("nobody")
    assert watch.report.why == "nobody"
