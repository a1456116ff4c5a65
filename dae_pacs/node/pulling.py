"""Fetch what a pull rule asks for: one thread for each rule, one association at a time, never in a hurry.

What is to be fetched, and what came of it, stands in the ledger (`spool.pulls`); a thread that dies, or a
node that stops, loses nothing and fetches nothing twice.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from dae_pacs.config import moments
from dae_pacs.config.pulls import Pull as Rule
from dae_pacs.dimse import statuses
from dae_pacs.dimse.retrieval import Progress, Retrieved, Watch
from dae_pacs.errors import PeerError, SpoolError
from dae_pacs.failpoints import reach
from dae_pacs.node.arrivals import Arrivals
from dae_pacs.node.auditing import Auditor
from dae_pacs.node.catalogue import Instance, Listing, Series, Wanted, list_instances, list_series
from dae_pacs.node.ways import Way
from dae_pacs.privacy import where
from dae_pacs.spool.files import SpoolFiles
from dae_pacs.spool.ledger import Ledger
from dae_pacs.spool.pulls import Pull, RuleState, Wish
from dae_pacs.spool.states import PullStatus

logger = logging.getLogger(__name__)

MOST_TRIES: Final = 5
"""At a series; then it is given up, until the peer has more of it."""
_LOOK_S: Final = 1.0
"""Between two looks at the clock and the ledger."""
_ARRIVE_S: Final = 10.0
"""For the rows of what a peer says it has sent."""
_STOP_S: Final = 3.0
"""How long a retrieval may take to end once it was cancelled; then the connection is cut."""
_LONGEST_WAIT_S: Final = 3600.0
"""Beyond any pause of ours: a time that lies further ahead comes from a clock that was set back."""
_MOST_NAMED: Final = 500
"""Objects that one request names: their UIDs must fit into one element."""


@dataclass(frozen=True)
class Here:
    """The node that things are fetched into."""

    files: SpoolFiles
    ledger: Ledger
    audit: Auditor
    least_free_mb: float
    """With less room than this on the disk nothing is fetched."""


@dataclass(frozen=True)
class Asked:
    """The peer, as the audit trail names it."""

    ae_title: str
    host: str


class Puller:
    """One thread that does what one pull rule says."""

    def __init__(self, rule: Rule, asked: Asked, here: Here, make_way: "MakeWay") -> None:
        """Prepare; nothing is asked before `keep_running`.

        Args:
            rule: what to fetch, and when.
            asked: whom.
            here: where to.
            make_way: gives how, told what is to be called with what cuts a connection.
        """
        self._rule = rule
        self._asked = asked
        self._here = here
        self._pulls = here.ledger.pulls
        self._way = make_way(self._note_cut)
        self._arrivals = Arrivals(rule, here.files.root, self._pulls, ask=self._listed, wish=self._wish)
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._cut: Callable[[], None] | None = None
        self._cut_at = 0.0
        self._rests_until = 0.0
        self._known: dict[str, str] = {}
        """Studies whose series were asked for, and how many objects the peer said that each has: while that
        stays so, it is not asked for its series again."""

    @property
    def name(self) -> str:
        """The rule's."""
        return self._rule.name

    def keep_running(self) -> None:
        """Start the thread, or another in its place when an error ended it."""
        if self._stopping.is_set() or (self._thread is not None and self._thread.is_alive()):
            return
        if self._thread is not None:
            logger.critical("puller died, starting another", extra=self._fields())
        self._thread = threading.Thread(target=self._run, name=f"puller {self._rule.name}")
        self._thread.start()

    def ask_to_stop(self) -> None:
        """Cancel what is under way, and do not wait for it."""
        self._cut_at = time.monotonic() + _STOP_S
        self._stopping.set()

    def stop(self) -> None:
        """Cancel what is under way, then end; what came stays, and the rest is fetched another time."""
        if not self._stopping.is_set():
            self.ask_to_stop()
        if self._thread is None:
            return
        self._thread.join(max(0.0, self._cut_at - time.monotonic()))
        while self._thread.is_alive():
            cut = self._cut
            if cut is not None:
                cut()
            self._thread.join(_LOOK_S)  # and again: it may have connected only now

    def _note_cut(self, cut: Callable[[], None]) -> None:
        self._cut = cut

    def _fields(self) -> dict[str, object]:
        return {"rule": self._rule.name, "peer": self._rule.peer}

    def _run(self) -> None:
        self._pulls.rule(self._rule.name)
        while not self._stopping.wait(_LOOK_S):
            reach("thread.puller")
            try:
                self._step()
            except SpoolError as error:  # a full disk passes
                logger.error("ledger not writable", extra=self._fields() | {"why": str(error)})  # noqa: TRY400

    def _step(self) -> None:
        """Do what is due: ask the peer what it has, fetch one series."""
        state, now = self._pulls.rule(self._rule.name), time.time()
        if now < state.next_try_at <= now + _LONGEST_WAIT_S or time.monotonic() < self._rests_until:
            return
        reason = self._reason_to_rest()
        if reason or not state.failures:
            self._pulls.remark(self._rule.name, reason or None)
        if reason:
            return
        try:
            if self._is_due(state, now):
                self._look()
            for pull in self._pulls.due(self._rule.name, now=now, limit=1):
                self._fetch(pull)
        except PeerError as error:
            self._failed(str(error))
        except SpoolError:
            raise
        # Whatever it is: a peer's answers are data sets of its own making, and one that fails us must count
        # as that peer's failure, or a new thread would ask for it again at once, for ever.
        except Exception as error:  # noqa: BLE001
            # Where it happened, but not its text, which may quote a value of a data set.
            fields = {"error": type(error).__name__, "where": where(error.__traceback__)}
            logger.error("pulling failed, unexpected", extra=self._fields() | fields)  # noqa: TRY400
            self._failed(f"unexpected failure of this node ({type(error).__name__}); see its log")

    def _failed(self, words: str) -> None:
        if self._stopping.is_set():
            return  # it was us who ended it
        next_try_at = self._pulls.failed(self._rule.name, error=words, now=time.time())
        wait_s = round(next_try_at - time.time())
        logger.warning("pull rule rests", extra=self._fields() | {"why": words, "seconds": wait_s})

    def _reason_to_rest(self) -> str:
        """Say why nothing is fetched now; empty when nothing stands in the way."""
        rule = self._rule
        if rule.hours is not None and not moments.is_within(rule.hours, datetime.now().astimezone()):
            return f"outside its hours ({rule.hours})"
        if self._here.files.free_mb() < self._here.least_free_mb:
            # The same words each time, since a change of them is written down.
            return f"the disk is low: less than {self._here.least_free_mb:.0f} MB are free"
        if self._pulls.backlog(most=rule.most_waiting) >= rule.most_waiting:
            return f"{rule.most_waiting} jobs or deliveries of this node wait"
        return ""

    def _is_due(self, state: RuleState, now: float) -> bool:
        rule = self._rule
        if rule.priors:
            return self._arrivals.is_due()
        if rule.at is not None:
            return state.looked_at < moments.last_time(rule.at, datetime.now().astimezone()).timestamp()
        return now - state.looked_at >= rule.every_s or state.looked_at > now

    def _may_go_on(self) -> bool:
        return not self._stopping.is_set()

    def _look(self) -> None:
        """Ask the peer what it has, and note what is to be fetched of it.

        Raises:
            PeerError: it can't be asked.
        """
        rule = self._rule
        if rule.priors:
            self._arrivals.look(self._may_go_on)
            self._pulls.looked(rule.name, now=time.time())
            self._pulls.worked(rule.name)
            return
        wanted = wanted_of(rule, datetime.now().astimezone())
        seen: dict[str, str] = {}

        def is_known(study: str, instances: str) -> bool:
            seen[study] = instances
            return bool(instances) and self._known.get(study) == instances

        found = self._listed(wanted, is_known)
        added = self._wish(found.series, f"pull rule {rule.name}")
        # What did not fit into this look is asked for again with the next.
        self._known = seen if added < rule.most_at_once and not found.is_cut else {}
        self._pulls.looked(rule.name, now=time.time())
        self._pulls.worked(rule.name)

    def _listed(
        self, wanted: Wanted, is_known: Callable[[str, str], bool] = lambda _study, _instances: False
    ) -> Listing:
        self._here.audit.queried(self._asked.ae_title, self._asked.host, wanted.keys())
        with self._way.search(self._may_go_on) as search:
            found = list_series(search, wanted, most=_MOST_LISTED, is_known=is_known)
        fields = {"series": len(found.series), "foreign": found.foreign, "cut": found.is_cut}
        logger.info("peer asked what it has", extra=self._fields() | fields)
        return found

    def _wish(self, series: tuple[Series, ...], reason: str) -> int:
        """Note what is to be fetched; of more than one look may add, the rest comes with the next look."""
        wishes = [
            Wish(one.StudyInstanceUID, one.SeriesInstanceUID, one.instances, reason, one.PatientID)
            for one in series
        ]
        rule = self._rule
        added = self._pulls.wish(rule.name, rule.peer, wishes=wishes, now=time.time(), most=rule.most_at_once)
        if added:
            logger.info("series to be fetched", extra=self._fields() | {"count": added})
        return added

    def _fetch(self, pull: Pull) -> None:
        """Fetch one series, or what is missing of it, and rest as long as that asks for.

        Raises:
            PeerError: the peer can't be asked; the series waits.
        """
        started = time.monotonic()
        before = self._held(pull)
        missed = "unexpected failure of this node; see its log"
        try:
            result, expected = self._retrieved(pull, before)
            missed = ""
        except PeerError as error:
            missed = str(error)
            raise
        except SpoolError:
            missed = ""  # a full disk passes
            raise
        finally:
            self._cut = None
            came = len(self._held(pull)) - len(before)
            took_s = time.monotonic() - started
            # Never more than half of the peer's time, however slow it is.
            self._rests_until = time.monotonic() + max(took_s, 60.0 * came / self._rule.per_minute - took_s)
            if missed:  # whatever it was: this series would else be the first again, for ever
                self._missed(pull, missed)
        self._judge(pull, result, expected)

    def _retrieved(self, pull: Pull, before: frozenset[str]) -> tuple[Retrieved, int]:
        """Fetch a series, or what is missing of it; gives what came of that, and how many objects it has."""
        series, instances = _series_of(pull), self._instances(pull)
        missing = tuple(one for one in instances if one.SOPInstanceUID not in before)
        expected = len(instances) or pull.announced or 0
        if instances and not missing:
            return Retrieved(statuses.SUCCESS, Progress(), ""), expected
        is_part = bool(before) and 0 < len(missing) <= _MOST_NAMED
        reach("thread.pulling")
        result = self._way.fetch(
            series,
            missing if is_part else instances,
            is_part=is_part,
            watch=Watch(may_go_on=self._may_go_on),
        )
        return result, expected

    def _instances(self, pull: Pull) -> tuple[Instance, ...]:
        """Ask for a series' objects; a peer that is not asked so far down is asked for the whole series."""
        try:
            with self._way.search(self._may_go_on) as search:
                return list_instances(search, _series_of(pull))
        except PeerError as error:
            logger.info("objects of a series not listed", extra=self._fields() | {"why": str(error)})
            return ()

    def _held(self, pull: Pull) -> frozenset[str]:
        self._here.ledger.index.drain(_ARRIVE_S)
        return self._pulls.held(pull.SeriesInstanceUID, pull.StudyInstanceUID)

    def _judge(self, pull: Pull, result: Retrieved, expected: int) -> None:
        """Write down what came of a series."""
        here = len(self._held(pull))
        if self._stopping.is_set() and not result.is_whole:
            return  # cancelled by us: it waits for the next start, and no try is counted
        if not result.is_whole:
            self._missed(pull, result.words)
            if not result.is_passing:
                self._failed(result.words)
            return
        if here < max(expected, 1):
            words = f"the peer says that it has sent all, but {here} of {expected or 'its'} objects are here"
            self._missed(pull, f"{words}: does it send to this node, and may it?")
            return
        self._pulls.pulled(pull.id, arrived=here, now=time.time())
        self._pulls.worked(self._rule.name)
        logger.info("series fetched", extra=self._fields() | {"objects": here})

    def _missed(self, pull: Pull, words: str) -> None:
        if self._stopping.is_set():
            return
        here = len(self._held(pull))
        status = self._pulls.missed(
            pull.id, arrived=here, error=words, now=time.time(), most_tries=MOST_TRIES
        )
        level = logging.ERROR if status is PullStatus.FAILED else logging.WARNING
        logger.log(level, "series not fetched whole", extra=self._fields() | {"why": words, "objects": here})


_MOST_LISTED: Final = 5000
"""Series that one look takes from a peer's answers."""

MakeWay = Callable[[Callable[[Callable[[], None]], None]], Way]


def wanted_of(rule: Rule, now: datetime) -> Wanted:
    """Say what a rule looks for on this day."""
    return Wanted(
        patient_id=rule.patient,
        accession=rule.accession,
        dates=moments.date_range(rule.dates, now.date()) if rule.dates else "",
        modalities=rule.modality,
        body_parts=rule.body_part,
        descriptions=rule.description,
    )


def _series_of(pull: Pull) -> Series:
    """Name a series by what fetching it takes."""
    return Series(
        StudyInstanceUID=pull.StudyInstanceUID,
        SeriesInstanceUID=pull.SeriesInstanceUID,
        PatientID=pull.PatientID,
        **dict.fromkeys(
            (
                *("PatientName", "AccessionNumber", "StudyDate", "StudyDescription"),
                *("SeriesNumber", "Modality", "BodyPartExamined", "SeriesDescription"),
            ),
            "",
        ),
        instances=pull.announced,
    )
