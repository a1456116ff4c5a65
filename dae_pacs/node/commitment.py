"""Ask a destination to commit itself to what it was sent, and record what it reports (PS3.4 Annex J)."""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from dae_pacs.dimse import commands, commitment, statuses
from dae_pacs.dimse.addresses import PeerAddress
from dae_pacs.dimse.commands import Command
from dae_pacs.dimse.commitment import Reference, Report
from dae_pacs.dimse.contexts import COMMITMENT_INSTANCE, EXPLICIT_LITTLE_ENDIAN
from dae_pacs.dimse.proposal import Context
from dae_pacs.dimse.refusals import Answer
from dae_pacs.dimse.requestor import Requestor, associate
from dae_pacs.errors import PeerError, SpoolError
from dae_pacs.spool.commitments import Commitments, Refused, Transaction, Verdict

logger = logging.getLogger(__name__)

MOST_TRIES: Final = 12
"""Refusals of one object after which a person has to look: with the back-off, after some twenty minutes."""
_LOOK_S: Final = 0.5
_LISTEN_S: Final = 0.2
"""Between two looks whether the report came on another association meanwhile."""

VERDICTS: Final[Mapping[int, Verdict]] = MappingProxyType(
    {
        statuses.PROCESSING_FAILURE: Verdict.ASK_AGAIN,
        commitment.NO_SUCH_INSTANCE: Verdict.SEND_AGAIN,
        statuses.RESOURCE_LIMITATION: Verdict.SEND_AGAIN,
        statuses.CLASS_NOT_SUPPORTED: Verdict.GIVE_UP,
        commitment.CLASS_INSTANCE_CONFLICT: Verdict.GIVE_UP,
        commitment.DUPLICATE_TRANSACTION: Verdict.ASK_AGAIN,
    }
)
"""What follows from a Failure Reason (PS3.3 C.14.1.1); where it names none such, a person has to look."""


@dataclass(frozen=True)
class Asking:
    """Whom to ask, and how patiently."""

    name: str
    peer: PeerAddress
    calling_ae: str
    batch: int
    wait_s: float
    """How long the report is awaited on the request's own association."""
    report_s: float
    """After so long without a report the request is made anew."""
    settled_s: float = 2.0
    """How long what was sent waits for the rest of its series, so that one request asks about all of it."""


def report_into(commitments: Commitments) -> Callable[[Report], Answer]:
    """Give what records reports, on whichever association they come."""

    def record(report: Report) -> Answer:
        refused = {
            uid: Refused(
                VERDICTS.get(reason, Verdict.GIVE_UP),
                f"no storage commitment: {commitment.describe(reason)}",
            )
            for uid, reason in report.failed.items()
        }
        try:
            settled = commitments.report(
                report.transaction_uid,
                committed=report.committed,
                refused=refused,
                now=time.time(),
                most_tries=MOST_TRIES,
            )
        except SpoolError as error:
            logger.error("report on storage commitment not recorded", extra={"why": str(error)})  # noqa: TRY400
            return Answer(statuses.PROCESSING_FAILURE, "the ledger can't be written; report again")
        if settled is None:
            logger.warning("report on a storage commitment that was never asked for")
            return Answer(statuses.PROCESSING_FAILURE, "no such Transaction UID here")
        fields = {"committed": settled.committed, "refused": settled.refused, "foreign": settled.foreign}
        logger.info("storage commitment reported", extra=fields)
        if settled.foreign:
            return Answer(commitment.NO_SUCH_INSTANCE, "names objects that were not asked about")
        return Answer(statuses.SUCCESS)

    return record


class Committer:
    """One thread that asks one destination for storage commitment."""

    def __init__(self, commitments: Commitments, asking: Asking) -> None:
        self._commitments = commitments
        self._asking = asking
        self._record = report_into(commitments)
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def keep_running(self) -> None:
        """Start the thread, or another in its place when an error ended it."""
        if self._stopping.is_set() or (self._thread is not None and self._thread.is_alive()):
            return
        if self._thread is not None:
            logger.critical("committer died, starting another", extra={"destination": self._asking.name})
        self._thread = threading.Thread(target=self._run, name=f"committer {self._asking.name}")
        self._thread.start()

    def stop(self) -> None:
        """End the thread; what was asked stays in the ledger, and its report may come at any time."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(_LOOK_S):
            try:
                while not self._stopping.is_set() and self._step():
                    pass
            except SpoolError as error:  # a full disk passes
                fields = {"destination": self._asking.name, "why": str(error)}
                logger.error("ledger not writable", extra=fields)  # noqa: TRY400

    def _step(self) -> bool:
        """Ask about one batch; False when there is none, or the destination did not take it up."""
        asking, now = self._asking, time.time()
        self._commitments.expire(asking.name, now=now, report_s=asking.report_s)
        transaction = self._commitments.open(
            asking.name, now=now, batch=asking.batch, settled_s=asking.settled_s
        )
        if transaction is None:
            return False
        try:
            self._ask(transaction)
        except PeerError as error:
            if not self._commitments.is_open(transaction.uid):
                return True  # the report came before the association broke
            words = f"storage commitment can't be asked for: {error}"
            self._commitments.refuse(transaction.uid, error=words, now=time.time())
            logger.warning("storage commitment not asked", extra={"destination": asking.name, "why": words})
            return False
        return True

    def _ask(self, transaction: Transaction) -> None:
        """Make the request, and wait a little for the report.

        Raises:
            PeerError: the peer can't be reached, or does not take the request up.
        """
        asking = self._asking
        with associate(asking.peer, calling_ae=asking.calling_ae, contexts=commitment.CONTEXTS) as requestor:
            context = next((one for one in commitment.CONTEXTS if one in requestor.contexts), None)
            if context is None:
                why = requestor.refusals[commitment.CONTEXTS[0]]
                raise PeerError(
                    f"{asking.peer} does not offer Storage Commitment: {why}; "
                    "switch peers.NAME.commitment off, or have it set up there"
                )
            data_set = commitment.request(
                transaction.uid,
                [Reference(one.SOPClassUID, one.SOPInstanceUID) for one in transaction.deliveries],
                is_explicit=context[1] == EXPLICIT_LITTLE_ENDIAN,
            )
            response = requestor.action(
                context,
                COMMITMENT_INSTANCE,
                action_type=commitment.REQUEST,
                data_set=data_set,
                handle=self._take,
            )
            if statuses.classify(response.status) not in {statuses.Outcome.SENT, statuses.Outcome.WARNING}:
                raise PeerError(
                    f"{asking.peer} answered the request with {statuses.describe(response.status)}"
                )
            fields = {"destination": asking.name, "objects": len(transaction.deliveries)}
            logger.info("storage commitment asked", extra=fields)
            self._listen(requestor, transaction.uid)

    def _listen(self, requestor: Requestor, uid: str) -> None:
        """Wait for the report on this association, unless it comes on another."""
        until = time.monotonic() + self._asking.wait_s
        while time.monotonic() < until and self._commitments.is_open(uid) and not self._stopping.is_set():
            if not requestor.hears(_LISTEN_S):
                continue
            try:
                requestor.take_request(self._take)
            except PeerError as error:  # it may still report on an association of its own
                logger.info("no report on the association of the request", extra={"why": str(error)})
                return

    def _take(self, command: Command, context: Context, data_set: bytes) -> Answer:
        if command.field != commands.N_EVENT_REPORT_RQ:
            return Answer(statuses.UNRECOGNIZED_OPERATION, "only N-EVENT-REPORT is taken here")
        return commitment.take_report(
            command, data_set, transfer_syntax_uid=context[1], on_report=self._record
        )
