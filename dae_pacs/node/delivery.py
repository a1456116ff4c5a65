"""Send what is owed to one destination, until it has it."""

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from dae_pacs.dimse.contexts import EXPLICIT_LITTLE_ENDIAN
from dae_pacs.dimse.scu import Outgoing, PeerAddress, SendResult, send
from dae_pacs.dimse.statuses import Outcome
from dae_pacs.errors import PeerError
from dae_pacs.failpoints import reach
from dae_pacs.image.files import plain_copy
from dae_pacs.node.bell import Bell
from dae_pacs.spool.files import SpoolFiles
from dae_pacs.spool.ledger import Ledger
from dae_pacs.spool.records import Delivery
from dae_pacs.spool.states import Origin

logger = logging.getLogger(__name__)

BATCH = 200
"""Objects taken for one association: a CT series in one go, without holding the ledger's rows for long."""


@dataclass(frozen=True)
class Spool:
    """Where results lie, and what is known of them."""

    files: SpoolFiles
    ledger: Ledger


class Courier:
    """One thread that empties the outbox of one destination."""

    def __init__(self, spool: Spool, name: str, peer: PeerAddress, *, calling_ae: str, results: Bell) -> None:
        self._files, self._ledger = spool.files, spool.ledger
        self._name = name
        self._peer = peer
        self._calling_ae = calling_ae
        self._results = results
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def keep_running(self) -> None:
        """Start the thread, or another in its place when an error ended it."""
        if self._thread is not None and self._thread.is_alive():
            return
        if self._thread is not None:
            logger.critical("courier died, starting another", extra={"destination": self._name})
        self._thread = threading.Thread(target=self._run, name=f"courier {self._name}")
        self._thread.start()

    def stop(self) -> None:
        """Finish the association in work, then end."""
        self._stopping.set()
        self._results.ring()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            reach("thread.courier")
            heard = self._results.heard()
            owed = self._take()
            if owed:
                self._deliver(owed)
            else:
                self._results.wait(heard, timeout_s=1.0)

    def _take(self) -> list[Delivery]:
        """Take what is due, unless another courier of this destination has it already."""
        due = self._ledger.due(self._name, now=time.time(), limit=BATCH)
        taken = set(self._ledger.sending([delivery.id for delivery in due])) if due else set()
        if taken:
            reach("send.taken")
        return [delivery for delivery in due if delivery.id in taken]

    def _deliver(self, owed: Sequence[Delivery]) -> None:
        unsent = {delivery.SOPInstanceUID: delivery for delivery in owed}
        retry_at, reason = time.time() + backoff_s(1), "the sending of its batch was cut short"

        def record(result: SendResult) -> None:
            reach("send.answered")
            self._record(unsent[result.outgoing.SOPInstanceUID], result)
            del unsent[result.outgoing.SOPInstanceUID]

        try:
            outgoing = [self._as_outgoing(delivery) for delivery in owed]
            send(self._peer, outgoing, calling_ae=self._calling_ae, on_result=record)
            self._ledger.destination_ok(self._name)
        except PeerError as error:
            retry_at, reason = self._ledger.destination_failed(self._name, now=time.time()), str(error)
            logger.warning(
                "destination unreachable",
                extra={"destination": self._name, "why": reason, "owed": len(unsent)},
            )
        finally:
            for delivery in unsent.values():
                self._ledger.postpone(delivery.id, error=reason, next_try_at=retry_at)

    def _as_outgoing(self, delivery: Delivery) -> Outgoing:
        """Describe an object for sending; of our own results, an archive may have an uncompressed copy."""
        is_ours = delivery.origin is Origin.DERIVED
        return Outgoing(
            path=delivery.path,
            SOPClassUID=delivery.SOPClassUID,
            SOPInstanceUID=delivery.SOPInstanceUID,
            transfer_syntax_uid=delivery.transfer_syntax_uid,
            copies={EXPLICIT_LITTLE_ENDIAN: partial(self._plain_copy, delivery.path)} if is_ours else {},
        )

    @contextmanager
    def _plain_copy(self, path: Path) -> Iterator[Path]:
        with self._files.scratch() as copy:
            plain_copy(path, copy)
            yield copy

    def _record(self, delivery: Delivery, result: SendResult) -> None:
        if result.outcome in (Outcome.SENT, Outcome.WARNING):
            warning = result.message if result.outcome is Outcome.WARNING else None
            self._ledger.delivered(delivery.id, warning=warning, now=time.time())
            reach("mark.delivered")
        elif result.outcome is Outcome.RETRY:
            retry_at = time.time() + backoff_s(delivery.attempts)
            self._ledger.postpone(delivery.id, error=result.message, next_try_at=retry_at)
        else:
            self._ledger.bury(delivery.id, error=result.message)
            logger.error(
                "delivery refused for good",
                extra={"destination": self._name, "delivery": delivery.id, "why": result.message},
            )


def backoff_s(tries: int) -> float:
    """Seconds to wait after the given number of tries: 1, 2, 4 .. 300."""
    return float(min(300, 2 ** min(tries, 9)))
