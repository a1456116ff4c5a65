"""What `dae-pacs status` says of the cluster."""

import time
from collections.abc import Iterator

from rich.console import RenderableType
from rich.text import Text

from dae_pacs.node.cluster_watch import ClusterReport


def parts(report: ClusterReport | None) -> Iterator[RenderableType]:
    """Say what there is to say: nothing where the cluster works, or there is none."""
    if report is not None and report.unreachable_since is not None:
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(report.unreachable_since))
        words = f"Cluster {report.address} unreachable since {since}; work waits for it. {report.why}"
        yield Text(words, style="red")
