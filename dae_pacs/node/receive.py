"""Keep what arrives: check it, put it on stable storage, say success; the ledger's row comes behind."""

import itertools
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from pydicom import Dataset

from dae_pacs.audit.messages import Action
from dae_pacs.config.model import ModelSettings, Rule
from dae_pacs.dimse.scp import Answer, Incoming
from dae_pacs.dimse.statuses import DUPLICATE_INSTANCE, MISMATCH, SUCCESS
from dae_pacs.errors import DaePacsError, SpoolError
from dae_pacs.failpoints import reach
from dae_pacs.image import walk
from dae_pacs.image.header import Summary, header_of, identity_of, nothing_of, read_header, summarise
from dae_pacs.image.walk import Identity
from dae_pacs.node.auditing import Auditor, silent
from dae_pacs.node.bell import Bell
from dae_pacs.node.routing import decide
from dae_pacs.part10 import FileMeta
from dae_pacs.spool.files import IncomingFile, SpoolFiles
from dae_pacs.spool.index import Arrival
from dae_pacs.spool.ledger import Ledger
from dae_pacs.spool.receipt import Receipt, Sealed
from dae_pacs.spool.records import KeepOutcome, NewInstance, Plan
from dae_pacs.spool.states import Origin

logger = logging.getLogger(__name__)

_AUDITED: Mapping[KeepOutcome, tuple[Action, str]] = {
    KeepOutcome.NEW: ("C", ""),
    KeepOutcome.AGAIN: ("R", ""),
    KeepOutcome.CONFLICT: ("C", "in quarantine: another object with this UID is kept"),
}

ReadHeader = Callable[[], Dataset]


@dataclass(frozen=True)
class _Sent:
    """What is known of an object beside its data set."""

    meta: FileMeta
    receipt: Receipt
    size_bytes: int


class Receiver:
    """Answers each C-STORE; the answer 0x0000 is a promise (PS3.4 B.2.3)."""

    def __init__(  # the node's parts, put together in one place
        self,
        files: SpoolFiles,
        ledger: Ledger,
        rules: Sequence[Rule],
        model: ModelSettings,
        results: Bell,
        audit: Auditor | None = None,
    ) -> None:
        self._files = files
        self._ledger = ledger
        self._rules = rules
        self._model = model
        self._audit = audit or silent()
        self._sequence = itertools.count(1)
        ledger.index.on_commit(results.ring)

    def keep(self, incoming: Incoming) -> Answer:
        """Keep one object, or say why not.

        An object of a UID that is new is kept once its file is on stable storage; the ledger hears of it
        behind the answer. Where the UID is known, the answer is what the ledger says of the two.

        Raises:
            NotDicomError: the data set is cut short or can't be parsed.
            SpoolError: it can't be put on stable storage.
        """
        reach("receive.arrived")
        file = _spool_file(incoming)
        identity, read = _look(file, incoming.transfer_syntax_uid)
        mismatch = _mismatch(identity, incoming)
        if mismatch:
            if self._audit.is_kept:
                self._audit.object_received(incoming, summarise(read()), failure="refused: " + mismatch)
            file.discard()
            return Answer(MISMATCH, mismatch)
        index = self._ledger.index
        index.await_room()
        is_alone = index.claim(incoming.SOPInstanceUID)
        try:
            known = self._ledger.known_origin(incoming.SOPInstanceUID)
            if known is not Origin.DERIVED:
                sent = self._seal(file, incoming)
        except BaseException:
            index.release(incoming.SOPInstanceUID)
            file.delete()  # it may be whole on the disk, and must not turn up later unannounced
            raise
        if known is Origin.DERIVED:
            index.release(incoming.SOPInstanceUID)
            if self._audit.is_kept:
                self._audit.object_received(incoming, summarise(read()), "R")
            file.discard()  # an auto-routing PACS sends our results back: they are here already
            return Answer(SUCCESS)
        settling = _Settling(self, file, sent, read)
        arrival = Arrival(incoming.SOPInstanceUID, file, settling.settle, partial(self._heard, settling))
        if known is not None or not is_alone:
            return self._record(arrival)
        index.add(arrival)
        reach("receive.kept")
        return Answer(SUCCESS)

    def _seal(self, file: IncomingFile, incoming: Incoming) -> _Sent:
        """Write the receipt, and put the file on stable storage."""
        receipt = Receipt(
            calling_ae=incoming.calling_ae,
            called_ae=incoming.called_ae,
            address=incoming.address,
            association=incoming.association,
            received_at=time.time(),
            sequence=next(self._sequence),
            warning=incoming.warning,
        )
        file.seal(receipt)
        reach("receive.sealed")
        file.flush()
        reach("receive.flushed")
        meta = FileMeta(incoming.SOPClassUID, incoming.SOPInstanceUID, incoming.transfer_syntax_uid)
        return _Sent(meta, receipt, file.size)

    def _record(self, arrival: Arrival) -> Answer:
        """Have the ledger compare an object with the one of its UID that came before."""
        try:
            outcome = self._ledger.index.record(arrival)
        except SpoolError:
            if not arrival.file.is_settled:
                arrival.file.delete()
            raise
        reach("receive.kept")
        if outcome is KeepOutcome.CONFLICT:
            return Answer(DUPLICATE_INSTANCE, "another object with this UID is kept; see quarantine")
        return Answer(SUCCESS)

    def _heard(self, settling: "_Settling", outcome: KeepOutcome) -> None:
        """Tell the audit trail what became of an object."""
        if settling.summary is not None:
            self._audit.object_received(settling.sent.receipt, settling.summary, *_AUDITED[outcome])

    def settle(self, file: IncomingFile, sent: _Sent) -> Path:
        """Move an object to its final name."""
        return self._files.settle(
            file,
            SOPInstanceUID=sent.meta.SOPInstanceUID,
            transfer_syntax_uid=sent.meta.transfer_syntax_uid,
        )

    def adopt(self, sealed: Sealed) -> tuple[NewInstance, Plan]:
        """Say what to record of an object that was acknowledged, and that the ledger knows nothing of.

        Raises:
            OSError: the disk refuses.
        """
        sent = _Sent(sealed.meta, sealed.receipt, sealed.size_bytes)

        def read() -> Dataset:
            with sealed.path.open("rb") as file:
                return read_header(file)

        summary, plan = self.describe(sent, read)
        return _as_new(summary, sent, digest=sealed.digest(), path=sealed.path), plan

    def describe(self, sent: _Sent, read: ReadHeader) -> tuple[Summary, Plan]:
        """Read an object's header, and decide what happens to it; one that can't be read is kept as it is."""
        try:
            header = read()
            summary = summarise(header)
            plan = decide(
                header,
                summary,
                calling_ae=sent.receipt.calling_ae,
                called_ae=sent.receipt.called_ae,
                rules=self._rules,
                model=self._model,
            ).plan
        except DaePacsError as error:
            logger.warning("header of a kept object not readable", extra={"why": str(error)})
            summary = nothing_of(sent.meta)
            plan = Plan("pass_over", reason=f"its header can't be read: {error}")
        return summary, _with_warning(plan, sent.receipt.warning)


class _Settling:
    """What is to be done for an object behind its answer."""

    def __init__(self, receiver: Receiver, file: IncomingFile, sent: _Sent, read: ReadHeader) -> None:
        self._receiver = receiver
        self._file = file
        self.sent = sent
        self.summary: Summary | None = None
        self._read = read
        self._settled: tuple[NewInstance, Plan] | None = None

    def settle(self) -> tuple[NewInstance, Plan]:
        """Move the file to its final name, and say what to record.

        Raises:
            SpoolError: the disk refuses.
        """
        if self._settled is None:
            self.summary, plan = self._receiver.describe(self.sent, self._read)
            path = self._receiver.settle(self._file, self.sent)
            self._settled = _as_new(self.summary, self.sent, digest=self._file.digest, path=path), plan
        return self._settled


def _look(file: IncomingFile, transfer_syntax_uid: str) -> tuple[Identity, ReadHeader]:
    """Say what an object is, if it is whole, and how its header is read later.

    Raises:
        NotDicomError: the data set is cut short or can't be parsed.
        SpoolError: the disk refuses.
    """
    data = file.start(walk.MOST_BYTES)
    identity = walk.identify(data, file.data_bytes, transfer_syntax_uid=transfer_syntax_uid)
    if identity is not None:
        return identity, lambda: header_of(data, transfer_syntax_uid, otherwise=lambda: _parsed(file))
    header = _parsed(file)
    return identity_of(header), lambda: header


def _parsed(file: IncomingFile) -> Dataset:
    with file.reading() as arrived:
        return read_header(arrived)


def _with_warning(plan: Plan, warning: str) -> Plan:
    """Keep with the object what is odd about it, beside the reason for its fate if there is one."""
    if not warning:
        return plan
    logger.warning("odd object kept", extra={"warning": warning})
    return replace(plan, reason="; ".join(filter(None, (plan.reason, warning))))


def _mismatch(identity: Identity, incoming: Incoming) -> str:
    """Say how command and data set disagree about what the object is; empty when they agree."""
    if identity.SOPClassUID != incoming.SOPClassUID:
        return "SOP Class UID of command and data set differ"
    if identity.SOPInstanceUID != incoming.SOPInstanceUID:
        return "SOP Instance UID of command and data set differ"
    return ""


def _spool_file(incoming: Incoming) -> IncomingFile:
    """Give the file that this node's `open_file` made, by its own type.

    Raises:
        SpoolError: it is another's.
    """
    if not isinstance(incoming.file, IncomingFile):
        raise SpoolError("the object arrived in a file that is not of this spool; open it with open_incoming")
    return incoming.file


def _as_new(summary: Summary, sent: _Sent, *, digest: str, path: Path) -> NewInstance:
    return NewInstance(
        SOPClassUID=summary.SOPClassUID,
        SOPInstanceUID=summary.SOPInstanceUID,
        StudyInstanceUID=summary.StudyInstanceUID,
        SeriesInstanceUID=summary.SeriesInstanceUID,
        PatientID=summary.PatientID,
        AccessionNumber=summary.AccessionNumber,
        StudyDate=summary.StudyDate,
        Modality=summary.Modality,
        SeriesDescription=summary.SeriesDescription,
        SeriesNumber=summary.SeriesNumber,
        transfer_syntax_uid=sent.meta.transfer_syntax_uid,
        digest=digest,
        path=path,
        size_bytes=sent.size_bytes,
        calling_ae=sent.receipt.calling_ae,
        called_ae=sent.receipt.called_ae,
        address=sent.receipt.address,
        association=sent.receipt.association,
        expected_count=summary.expected_count,
        received_at=sent.receipt.received_at,
    )
