"""`dae-pacs fetch`: list what a peer has, ask, and have it sent here."""

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Final

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.prompt import Confirm

from dae_pacs.audit.events import this_process
from dae_pacs.audit.trail import open_trail
from dae_pacs.cli import tables
from dae_pacs.cli.failures import FAILED, INTERRUPTED, OK, say_error
from dae_pacs.cli.fetch_app import FetchOptions
from dae_pacs.cli.fetch_folder import Folder
from dae_pacs.cli.fetch_targets import Goal, IntoFolder, IntoNode, NoNode, ThroughFolder, check_node
from dae_pacs.cli.peers import resolve
from dae_pacs.cli.spool import open_ledger
from dae_pacs.config import moments
from dae_pacs.config.load import load
from dae_pacs.config.model import Settings
from dae_pacs.dimse import library
from dae_pacs.dimse.getting import Receiving
from dae_pacs.dimse.retrieval import Progress as Counts
from dae_pacs.dimse.retrieval import Watch
from dae_pacs.errors import ConfigError, PeerError
from dae_pacs.node.auditing import Auditor
from dae_pacs.node.catalogue import Instance, Search, Series, Wanted, list_instances, list_series
from dae_pacs.node.pull_rules import asked_of
from dae_pacs.node.pulling import Asked
from dae_pacs.node.ways import ByGet, ByMove, ByWeb, Dicom, Way
from dae_pacs.node.web_peers import service_of
from dae_pacs.spool.files import LEDGER_NAME

_MOST_NAMED: Final = 500
_PAUSE_S: Final = 20.0
"""Between two looks at the clock, outside the hours."""
_PIPE_COLUMNS: Final = 160


@dataclass(frozen=True)
class Candidate:
    """A series that a peer has, and how much of it is here."""

    series: Series
    held: frozenset[str]
    instances: tuple[Instance, ...] | None = None
    """Its objects, where they were compared."""

    @property
    def missing(self) -> tuple[Instance, ...]:
        """Objects that are not here."""
        return tuple(one for one in self.instances or () if one.SOPInstanceUID not in self.held)

    @property
    def is_whole(self) -> bool:
        """Whether all of it is here."""
        if self.instances is not None:
            return not self.missing
        return bool(self.held) and len(self.held) >= (self.series.instances or 0)

    @property
    def expected(self) -> int:
        """Objects that should be here in the end; 0 where nobody says."""
        return len(self.instances) if self.instances is not None else self.series.instances or 0


def run(peer: str, options: FetchOptions) -> int:
    """List, ask, fetch, sum up.

    Raises:
        ConfigError: settings or options are wrong.
        PeerError: the peer is unknown, can't be reached, or refuses.
        ServiceError: the objects go to the node, and it does not answer.
        SpoolError: the node's ledger can't be used.
    """
    settings = load(options.config)
    wanted = _wanted(options)
    library.prepare()
    with ExitStack() as held:
        us = this_process(settings.node.ae_title)
        audit = Auditor(open_trail(settings.audit, us, spool=settings.node.spool), us)
        held.callback(audit.stopped)
        stopping = held.enter_context(_interruptible())
        fetching = _Fetching(peer, settings, options, audit=audit, stopping=stopping, held=held)
        return fetching.run(wanted)


def _wanted(options: FetchOptions) -> Wanted:
    try:
        dates = moments.date_range(options.date, datetime.now().astimezone().date()) if options.date else ""
        if options.hours:
            moments.hours_of(options.hours)
    except ValueError as error:
        raise ConfigError(f"--date {options.date!r} or --hours {options.hours!r}: {error}") from error
    wanted = Wanted(
        patient_id=options.patient,
        patient_name=options.name,
        accession=options.accession,
        study=options.study,
        dates=dates,
        modalities=tuple(one.upper() for one in options.modality),
        body_parts=options.body_part,
        descriptions=options.description,
    )
    if not wanted.keys() and not wanted.descriptions and not wanted.body_parts:
        raise ConfigError(
            "Nothing says what to fetch, which would be the whole archive. Give --patient, --name, "
            "--accession, --study, --date, --modality or --description"
        )
    return wanted


@contextmanager
def _interruptible() -> Iterator[threading.Event]:
    """Let the first Ctrl-C end things in good order, and the second at once."""
    stopping = threading.Event()

    def interrupt(_number: int, _frame: object) -> None:
        if stopping.is_set():
            raise KeyboardInterrupt
        stopping.set()
        say_error("cancelled; what came stays. Ctrl-C again ends at once")

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield stopping
    finally:
        signal.signal(signal.SIGINT, before)


class _Fetching:
    """One run of the command."""

    def __init__(  # the command's parts, put together in one place
        self,
        peer: str,
        settings: Settings,
        options: FetchOptions,
        *,
        audit: Auditor,
        stopping: threading.Event,
        held: ExitStack,
    ) -> None:
        self._peer = peer
        self._settings = settings
        self._options = options
        self._audit = audit
        self._stopping = stopping
        self._console = Console(soft_wrap=True, highlight=False)
        by = options.by or ("wado" if peer in settings.web_peers else "get" if options.to else "move")
        self._goal, folder = self._aim(by, held)
        self._folder = folder
        self._asked, self._way = self._ways(by, folder)

    def _aim(self, by: str, held: ExitStack) -> tuple[Goal, Folder | None]:
        """Say where objects go, and the folder that they come to where this command receives them."""
        options, settings = self._options, self._settings
        if options.to is not None:
            if by == "move":
                raise ConfigError(
                    "--by move: the peer would send to the node, not into --to; leave one of them out"
                )
            folder = Folder(options.to, self._audit.object_received)
            return IntoFolder(folder), folder
        if not options.dry_run:
            check_node(settings)
        node: IntoNode | NoNode = NoNode()
        if not options.dry_run or (settings.node.spool / LEDGER_NAME).exists():
            node = IntoNode(settings, held.enter_context(open_ledger(settings)))
        if by == "move":
            return node, None
        through = ThroughFolder(settings, node, held)
        return through, through.folder

    def _ways(self, by: str, folder: Folder | None) -> tuple[Asked, Way]:
        settings, options, own = self._settings, self._options, self._settings.node.ae_title
        receiving = None
        if folder is not None:
            receiving = Receiving(folder.store(), own, self._audit.association_ended)
        if self._peer in settings.web_peers:
            if by != "wado" or receiving is None:
                raise ConfigError(f"--by {by}: {self._peer} is a DICOMweb service, which is asked by wado")
            service = service_of(self._peer, settings.web_peers[self._peer], settings.tls)
            return asked_of(settings, self._peer), ByWeb(self._peer, service, receiving)
        if by == "wado":
            raise ConfigError(
                f"--by wado: {self._peer} is none of web_peers; add a table [web_peers.NAME] with its url"
            )
        address = resolve(self._peer, settings)
        dicom = Dicom(address, own, options.character_set)
        asked = Asked(address.ae_title, address.host)
        if receiving is None:
            return asked, ByMove(dicom, options.destination or own)
        return asked, ByGet(dicom, receiving)

    def _may_go_on(self) -> bool:
        return not self._stopping.is_set()

    def run(self, wanted: Wanted) -> int:
        """List, ask, fetch, sum up."""
        self._audit.queried(self._asked.ae_title, self._asked.host, wanted.keys())
        with self._way.search(self._may_go_on) as search:
            listing = list_series(search, wanted, most=self._options.limit)
            candidates = [self._candidate(search, one) for one in listing.series]
        if self._stopping.is_set():
            return INTERRUPTED
        if not candidates:
            say_error(f"{self._peer} has nothing of what is asked for; ask for less, or see its own list.")
            return FAILED
        self._show(candidates, is_cut=listing.is_cut, foreign=listing.foreign)
        due = [one for one in candidates if not one.is_whole]
        if not due:
            self._console.print("All of it is here.")
            return OK
        if self._options.dry_run:
            return OK
        if not self._is_sure(len(due)):
            return FAILED
        return self._fetch_all(due)

    def _candidate(self, search: Search, series: Series) -> Candidate:
        held = self._goal.held(series)
        has_to_look = self._options.exact or series.instances is None
        return Candidate(series, held, list_instances(search, series) if has_to_look else None)

    def _show(self, candidates: Sequence[Candidate], *, is_cut: bool, foreign: int) -> None:
        console = Console(highlight=False)
        if not console.is_terminal:
            console.width = max(console.width, _PIPE_COLUMNS)
        rows = [(one.series, one.expected, len(one.held), one.is_whole) for one in candidates]
        console.print(tables.fetchable(rows))
        if is_cut:
            words = f"{self._peer} has more than these: narrow it down, or raise --limit."
            self._console.print(words, style="yellow", markup=False)
        if foreign:
            words = f"{self._peer} also answered {foreign} that were not asked for; they are left out."
            self._console.print(words, style="yellow", markup=False)

    def _is_sure(self, count: int) -> bool:
        if self._options.is_sure:
            return True
        if not sys.stdin.isatty():
            say_error("Nothing was fetched: add --yes, since nobody is there to ask.")
            return False
        return Confirm.ask(f"Fetch {count} series?", default=True)

    def _fetch_all(self, due: Sequence[Candidate]) -> int:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        fetched, problems = 0, 0
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            total = sum(max(one.expected - len(one.held), 1) for one in due)
            task = bar.add_task("Images", total=total)
            for number, candidate in enumerate(due):
                self._await_hours(bar.console)
                if self._stopping.is_set():
                    break
                done = sum(max(one.expected - len(one.held), 1) for one in due[:number])
                trouble = self._fetch(candidate, partial(_advance, bar, task, done))
                fetched += not trouble
                problems += bool(trouble)
                if trouble:
                    say_error(f"Series {candidate.series.SeriesInstanceUID}: {trouble}")
        left = len(due) - fetched - problems
        words = f"{self._peer}: {fetched} series fetched, {problems} failed"
        self._console.print(words + (f", {left} not tried." if left else "."), markup=False)
        if self._stopping.is_set():
            return INTERRUPTED
        return FAILED if problems else OK

    def _fetch(self, candidate: Candidate, tell: Callable[[int], None]) -> str:
        """Fetch one series, and say in words what is wrong with it; empty where nothing is."""
        series, started = candidate.series, time.monotonic()
        missing = candidate.missing
        is_part = bool(candidate.held) and 0 < len(missing) <= _MOST_NAMED
        count_before = self._folder.count if self._folder else 0

        def note(counts: Counts) -> None:
            came = self._folder.count - count_before if self._folder else counts.completed + counts.warning
            tell(came)

        trouble = ""
        try:
            result = self._way.fetch(
                series,
                missing if is_part else candidate.instances or (),
                is_part=is_part,
                watch=Watch(on_progress=note, may_go_on=self._may_go_on),
            )
            trouble = result.words
        except PeerError as error:
            trouble = str(error)
        came = self._goal.came(series, 0 if trouble else candidate.expected)
        trouble = trouble or came.trouble
        if not trouble and came.here < max(candidate.expected, 1):
            words = f"{came.here} of {candidate.expected or 'its'} objects are here"
            trouble = (
                f"the peer says that it has sent all, but {words}: does it send to this node, and may it?"
            )
        self._goal.note(series, self._peer, came=came, error=trouble or None)
        self._rest(max(came.here - len(candidate.held), 0), time.monotonic() - started)
        return trouble

    def _rest(self, images: int, took_s: float) -> None:
        if self._options.per_minute is not None:
            self._stopping.wait(max(0.0, 60.0 * images / self._options.per_minute - took_s))

    def _await_hours(self, console: Console) -> None:
        hours, has_told = self._options.hours, False
        while hours and not moments.is_within(hours, datetime.now().astimezone()):
            if not has_told:
                console.print(f"Waiting for the hours {hours}.", markup=False)
                has_told = True
            if self._stopping.wait(_PAUSE_S):
                return


def _advance(bar: Progress, task: TaskID, done: int, came: int) -> None:
    bar.update(task, completed=done + came)
