"""Send what is owed to one destination, until it has it."""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final, Protocol

from dae_pacs.dimse.scu import Outgoing, PeerAddress, SendResult, send
from dae_pacs.dimse.statuses import Outcome
from dae_pacs.errors import PeerError, RejectedError, ServiceError, SpoolError
from dae_pacs.failpoints import reach
from dae_pacs.node.auditing import UNSENT, Auditor, Receiver, failure_of, silent
from dae_pacs.node.bell import Bell
from dae_pacs.node.copies import copies_of
from dae_pacs.node.tally import SendTally
from dae_pacs.privacy import where
from dae_pacs.spool.files import SpoolFiles
from dae_pacs.spool.ledger import Ledger
from dae_pacs.spool.outbox import Fate, Told
from dae_pacs.spool.records import Delivery

logger = logging.getLogger(__name__)

BATCH: Final = 200
"""Objects taken at a time for one destination: a CT series in one go."""
_TELL_S: Final = 0.25
"""The ledger hears of what was sent at least this often, in one transaction: what a crash makes us send again
is what went out in so long, and a flush of the disk for each object would cost more than sending it."""
_PAUSE_S: Final = 1.0
"""Between two looks at the ledger when nothing rings, and after it could not be written."""

_FATES: Final = {
    Outcome.SENT: Fate.TAKEN,
    Outcome.WARNING: Fate.TAKEN,
    Outcome.RETRY: Fate.TRY_AGAIN,
    Outcome.DEAD: Fate.HOPELESS,
}


@dataclass(frozen=True)
class Spool:
    """Where results lie, and what is known of them."""

    files: SpoolFiles
    ledger: Ledger
    audit: Auditor = field(default_factory=silent)


class Send(Protocol):
    """Sends objects to one destination, as `dimse.scu.send` does."""

    def __call__(
        self,
        files: Sequence[Outgoing],
        *,
        on_result: Callable[[SendResult], None],
        may_go_on: Callable[[], bool],
    ) -> None:
        """Give each object one result, or raise PeerError before the first."""
        ...


@dataclass(frozen=True)
class Destination:
    """One peer that objects go to, and how."""

    name: str
    peer: Receiver
    associations: int = 1
    """How many couriers share its objects."""
    breaker_after: int = 5
    """Failures in a row after which one object at a time is tried."""
    wants_commitment: bool = False
    send: Send | None = None
    """Sends objects to it; without it, it is a `PeerAddress`, and they go by C-STORE."""


class Courier:
    """One thread that empties the outbox of one destination."""

    def __init__(self, spool: Spool, destination: Destination, *, calling_ae: str, results: Bell) -> None:
        self._files, self._outbox, self._audit = spool.files, spool.ledger.outbox, spool.audit
        self._destination = destination
        self._send = _sender_of(destination, calling_ae)
        self._results = results
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._held: dict[Path, Delivery] = {}
        """What is marked as being sent by us and not told of yet."""
        self.tally = SendTally()
        self._answered: list[tuple[Delivery, str]] = []
        """What was told of, for the audit trail: why the peer has it not, empty where it has."""

    @property
    def name(self) -> str:
        """The destination's."""
        return self._destination.name

    @property
    def is_running(self) -> bool:
        """Whether its thread is alive."""
        return self._thread is not None and self._thread.is_alive()

    def keep_running(self) -> None:
        """Start the thread, or another in its place when an error ended it."""
        if self._stopping.is_set() or self.is_running:
            return
        if self._thread is not None:
            logger.critical("courier died, starting another", extra=self._fields())
        self._thread = threading.Thread(target=self._run, name=f"courier {self._destination.name}")
        self._thread.start()

    def stop(self) -> None:
        """Finish the object in work, then end."""
        self._stopping.set()
        self._results.ring()
        if self._thread is not None:
            self._thread.join()

    def _fields(self) -> dict[str, object]:
        return {"destination": self._destination.name}

    def _run(self) -> None:
        while not self._stopping.is_set():
            reach("thread.courier")
            heard = self._results.heard()
            try:
                is_idle = not self._step()
            except SpoolError as error:  # a full disk passes, and what is held goes back then
                logger.error("ledger not writable", extra=self._fields() | {"why": str(error)})  # noqa: TRY400
                self._stopping.wait(_PAUSE_S)
                continue
            if is_idle:
                self._results.wait(heard, timeout_s=_PAUSE_S)

    def _step(self) -> bool:
        """Give back what a dead thread or a failed transaction left, then deliver; False when idle."""
        if self._held:
            self._outbox.give_back([delivery.id for delivery in self._held.values()], now=time.time())
            self._held.clear()
        destination = self._destination
        owed = self._outbox.claim(
            destination.name,
            now=time.time(),
            limit=max(1, BATCH // destination.associations),
            breaker_after=destination.breaker_after,
        )
        self._held.update((delivery.path, delivery) for delivery in owed)
        if owed:
            reach("send.taken")
            with self._audited(owed):
                self._deliver(owed)
        return bool(owed)

    @contextmanager
    def _audited(self, owed: Sequence[Delivery]) -> Iterator[None]:
        """Tell the audit trail what is about to be sent, and then what came of it."""
        self._answered = []
        self._audit.sending(self._destination.peer, owed)
        try:
            yield
        finally:
            answered = {delivery.id for delivery, _ in self._answered}
            left = [delivery for delivery in owed if delivery.id not in answered]
            unsent = [(delivery, UNSENT) for delivery in left]
            self._audit.sent(self._destination.peer, [*self._answered, *unsent])

    def _deliver(self, owed: Sequence[Delivery]) -> None:
        """Send a batch over one association, and judge the destination by what came of it."""
        verdict = _Round(self._tell, breaker_after=self._destination.breaker_after)
        try:
            self._send(
                [self._as_outgoing(delivery) for delivery in owed],
                on_result=verdict.note,
                may_go_on=lambda: not self._stopping.is_set() and verdict.may_go_on,
            )
        except PeerError as error:
            verdict.trouble = str(error)
            verdict.is_permanent = isinstance(error, RejectedError) and error.is_permanent
        except SpoolError:
            raise
        # Whatever it is: objects are converted on their way, and one that fails us must count against this
        # destination, or a new thread would send it again at once, for ever.
        except Exception as error:  # noqa: BLE001
            verdict.trouble = f"unexpected failure of this node ({type(error).__name__}); see its log"
            # Where it happened, but not its text, which may quote a value of the data set.
            fields = {"error": type(error).__name__, "where": where(error.__traceback__)}
            logger.error("sending failed, unexpected", extra=self._fields() | fields)  # noqa: TRY400
        verdict.tell()
        self._judge(verdict)

    def _judge(self, verdict: "_Round") -> None:
        """Give back what was not sent, and open or close the destination's breaker."""
        now, name = time.time(), self._destination.name
        if self._held:
            words = f"not sent: {verdict.trouble}"
            left = [Told(delivery.id, Fate.UNTRIED, words) for delivery in self._held.values()]
            self._outbox.tell(left, now=now)
            self._held.clear()
        if verdict.has_worked or not verdict.trouble:
            self._outbox.worked(name)
        if verdict.trouble:
            self.tally.failures += 1
            self._outbox.failed(name, error=verdict.trouble, now=now, is_permanent=verdict.is_permanent)
            fields = {"why": verdict.status or verdict.trouble, "not_sent": verdict.untried}
            logger.warning("destination failing", extra=self._fields() | fields)
        if verdict.hopeless:
            fields = {"count": len(verdict.hopeless), "why": verdict.hopeless[0]}
            logger.error("deliveries refused for good", extra=self._fields() | fields)

    def _tell(self, results: Sequence[SendResult]) -> None:
        """Write down what came of objects; they are no longer ours to give back."""
        self._answered += [(self._held[result.outgoing.path], failure_of(result)) for result in results]
        told = [
            Told(
                self._held[result.outgoing.path].id,
                _FATES[result.outcome] if result.was_tried else Fate.UNTRIED,
                None if result.outcome is Outcome.SENT else result.message,
            )
            for result in results
        ]
        self._outbox.tell(told, now=time.time(), wants_commitment=self._destination.wants_commitment)
        for result in results:
            self.tally.note(result)
            del self._held[result.outgoing.path]
            if result.outcome in {Outcome.SENT, Outcome.WARNING}:
                reach("mark.delivered")

    def _as_outgoing(self, delivery: Delivery) -> Outgoing:
        syntax = delivery.transfer_syntax_uid
        return Outgoing(
            path=delivery.path,
            SOPClassUID=delivery.SOPClassUID,
            SOPInstanceUID=delivery.SOPInstanceUID,
            transfer_syntax_uid=syntax,
            copies=copies_of(delivery.path, syntax, self._files),
        )


def _sender_of(destination: Destination, calling_ae: str) -> Send:
    if destination.send is not None:
        return destination.send
    if not isinstance(destination.peer, PeerAddress):
        raise ServiceError(f"{destination.name}: has no address to send to; this is an error of dae-pacs")
    return partial(send, destination.peer, calling_ae=calling_ae)


class _Round:
    """One batch over one association: what is not told yet, and whether the destination works."""

    def __init__(self, tell: Callable[[Sequence[SendResult]], None], *, breaker_after: int) -> None:
        self.trouble = ""
        """Why the destination counts as failing; empty where it works."""
        self.status = ""
        """The same for the log, where a status made it fail: the peer's own words may name a patient."""
        self.is_permanent = False
        self.has_worked = False
        """Whether an object got an answer that is about the object, not about the destination's state."""
        self.hopeless: list[str] = []
        """How those were answered that were refused for good; without the peer's own words."""
        self.untried = 0
        self._tell = tell
        self._breaker_after = breaker_after
        self._refusals = 0
        self._untold: list[SendResult] = []
        self._told_at = time.monotonic()

    @property
    def may_go_on(self) -> bool:
        """Whether sending more is of use: not to an archive that is full."""
        return self._refusals < self._breaker_after

    def note(self, result: SendResult) -> None:
        """Take one object's result."""
        reach("send.answered")
        self._untold.append(result)
        self.untried += not result.was_tried
        if result.has_broken:
            self.trouble = result.message
        elif result.status is not None and result.outcome is Outcome.RETRY:
            self._refusals += 1
            if not self.may_go_on:
                self.trouble, self.status = result.message, failure_of(result)
        elif result.status is not None:
            self._refusals = 0
            self.has_worked = True
        if result.outcome is Outcome.DEAD:
            self.hopeless.append(failure_of(result))
        if time.monotonic() - self._told_at >= _TELL_S:
            self.tell()

    def tell(self) -> None:
        """Write down what was heard since the last time."""
        if self._untold:
            self._tell(self._untold)
            self._untold = []
        self._told_at = time.monotonic()
