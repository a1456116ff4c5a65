"""Since when the cluster is away: told by the dispatchers, and kept as a file for `dae-pacs status`."""

import json
import logging
import threading
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

logger = logging.getLogger(__name__)

FILE_NAME: Final = "cluster.json"
"""In the spool's folder; there while the node works with a cluster."""


@dataclass(frozen=True)
class ClusterReport:
    """What is known of the cluster."""

    address: str
    unreachable_since: float | None = None
    """Seconds since the epoch; None while it does its work, as far as is known."""
    why: str = ""


class ClusterWatch:
    """Hears from the dispatchers whether the cluster does its work; for any thread.

    Args:
        path: of the file that `read` reads.
        address: of the cluster; None where the node works without one, and any old report goes.
    """

    def __init__(self, path: Path, address: str | None) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._report: ClusterReport | None = None
        if address is None:
            with suppress(OSError):
                path.unlink(missing_ok=True)
        else:
            self._say(ClusterReport(address))

    @property
    def report(self) -> ClusterReport | None:
        """What is known; None where the node works without a cluster."""
        return self._report

    def is_away(self, why: str) -> None:
        """Note that work came back undone."""
        with self._lock:
            if self._report is None:
                return
            before = self._report.unreachable_since
            if before is None:
                logger.error("cluster unreachable", extra={"address": self._report.address, "why": why})
            self._say(ClusterReport(self._report.address, time.time() if before is None else before, why))

    def is_there(self) -> None:
        """Note that work was done."""
        with self._lock:
            if self._report is None or self._report.unreachable_since is None:
                return
            away_s = round(time.time() - self._report.unreachable_since)
            logger.info("cluster is back", extra={"address": self._report.address, "seconds": away_s})
            self._say(ClusterReport(self._report.address))

    def _say(self, report: ClusterReport) -> None:
        self._report = report
        part = self._path.with_suffix(".part")
        try:
            part.write_text(json.dumps(asdict(report)), encoding="utf-8")
            part.replace(self._path)
        except OSError as error:  # the report alone is lost
            logger.debug("report on the cluster not written", extra={"error": error.strerror or str(error)})


def read(path: Path) -> ClusterReport | None:
    """Read the report of a node, running or not; None where there is none that can be read."""
    try:
        return ClusterReport(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
