"""Where `dae-pacs fetch` fetches to: the running node, or a folder; and what is there already."""

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import Final, Protocol

from dae_pacs.cli.fetch_folder import Folder
from dae_pacs.config.model import Settings
from dae_pacs.dimse import scu
from dae_pacs.dimse.addresses import PeerAddress
from dae_pacs.errors import PeerError, ServiceError
from dae_pacs.node.catalogue import Series
from dae_pacs.node.peers import own_address
from dae_pacs.spool.ledger import Ledger
from dae_pacs.spool.pulls import Wish

_ROWS_S: Final = 10.0
"""For the node's rows of what it has acknowledged."""
_LOOK_S: Final = 0.2


@dataclass(frozen=True)
class Came:
    """What is there of a series once it was fetched."""

    here: int
    trouble: str = ""
    """Why some of it did not get where it belongs."""


class Goal(Protocol):
    """Where fetched objects belong."""

    def held(self, series: Series) -> frozenset[str]:
        """List what is there of a series, by SOP Instance UID."""
        ...

    def came(self, series: Series, expected: int) -> Came:
        """Say what is there after a retrieval; the last objects may take a moment."""
        ...

    def note(self, series: Series, peer: str, *, came: Came, error: str | None) -> None:
        """Remember what was fetched."""
        ...


class IntoFolder:
    """A folder of files."""

    def __init__(self, folder: Folder) -> None:
        self.folder = folder

    def held(self, series: Series) -> frozenset[str]:
        """List the files of a series."""
        return self.folder.held(series.StudyInstanceUID, series.SeriesInstanceUID)

    def came(self, series: Series, expected: int) -> Came:
        """Count the files of a series."""
        return Came(len(self.held(series)))

    def note(self, series: Series, peer: str, *, came: Came, error: str | None) -> None:
        """Nothing: the files say it."""


class NoNode:
    """A node that never ran: nothing is there."""

    def held(self, series: Series) -> frozenset[str]:
        """Nothing."""
        return frozenset()

    def came(self, series: Series, expected: int) -> Came:
        """Nothing."""
        return Came(0)

    def note(self, series: Series, peer: str, *, came: Came, error: str | None) -> None:
        """There is no ledger to write to."""


class IntoNode:
    """The node that runs beside this command, and its ledger."""

    def __init__(self, settings: Settings, ledger: Ledger) -> None:
        self._settings = settings
        self._ledger = ledger

    def held(self, series: Series) -> frozenset[str]:
        """List the objects of a series that the node holds."""
        return self._ledger.pulls.held(series.SeriesInstanceUID, series.StudyInstanceUID)

    def came(self, series: Series, expected: int) -> Came:
        """Wait for the rows of what the node has acknowledged."""
        deadline = time.monotonic() + _ROWS_S
        while (here := len(self.held(series))) < expected and time.monotonic() < deadline:
            time.sleep(_LOOK_S)
        return Came(here)

    def note(self, series: Series, peer: str, *, came: Came, error: str | None) -> None:
        """Write into the ledger who asked for the series."""
        wish = Wish(
            series.StudyInstanceUID,
            series.SeriesInstanceUID,
            series.instances,
            "dae-pacs fetch",
            series.PatientID,
        )
        self._ledger.pulls.note(peer, wish=wish, now=time.time(), arrived=came.here, error=error)


class ThroughFolder:
    """Objects that come to this command, which hands them on to the node, a series at a time."""

    def __init__(self, settings: Settings, node: IntoNode | NoNode, held: ExitStack) -> None:
        """Make a folder of a moment, for our eyes only; it goes with `held`."""
        self._own = own_address(settings)
        self._calling_ae = settings.node.ae_title
        self._node = node
        root = Path(mkdtemp(prefix="dae-pacs-fetch-"))
        held.callback(_remove, root)
        self.folder = Folder(root, lambda _incoming, _summary: None)

    def held(self, series: Series) -> frozenset[str]:
        """List the objects of a series that the node holds."""
        return self._node.held(series)

    def came(self, series: Series, expected: int) -> Came:
        """Send what came to the node, and wait for its rows."""
        files = self.folder.files(series.StudyInstanceUID, series.SeriesInstanceUID)
        failed = _sent(self._own, files, calling_ae=self._calling_ae)
        for path in files:
            path.unlink(missing_ok=True)
        came = self._node.came(series, expected)
        return Came(came.here, f"{len(failed)} not taken by this node: {failed[0]}" if failed else "")

    def note(self, series: Series, peer: str, *, came: Came, error: str | None) -> None:
        """Write into the ledger who asked for the series."""
        self._node.note(series, peer, came=came, error=error)


def check_node(settings: Settings) -> None:
    """Ask the node whether it is there, before an archive sends to it.

    Raises:
        ServiceError: it is not.
    """
    own = own_address(settings)
    try:
        scu.echo(own, calling_ae=settings.node.ae_title)
    except PeerError as error:
        raise ServiceError(
            f"This node ({own}) does not answer: {error}. Start it with `dae-pacs serve`, or fetch into a "
            "folder with --to DIR"
        ) from error


def _sent(own: PeerAddress, files: Sequence[Path], *, calling_ae: str) -> list[str]:
    """Send files to the node; says in words what it did not take."""
    failed: list[str] = []

    def note(result: scu.SendResult) -> None:
        if result.outcome not in {scu.Outcome.SENT, scu.Outcome.WARNING}:
            failed.append(result.message)

    if files:
        try:
            scu.send(own, [scu.outgoing(path) for path in files], calling_ae=calling_ae, on_result=note)
        except PeerError as error:
            failed.append(str(error))
    return failed


def _remove(root: Path) -> None:
    for path in sorted(root.rglob("*"), reverse=True):
        if path.is_dir():
            path.rmdir()
        else:
            path.unlink(missing_ok=True)
    root.rmdir()
