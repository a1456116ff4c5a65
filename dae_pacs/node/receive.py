"""Keep what arrives: check what it is, put it on stable storage, write it down; only then say success."""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from pydicom import Dataset

from dae_pacs.audit.messages import Action
from dae_pacs.config.model import ModelSettings, Rule
from dae_pacs.dimse.scp import Answer, Incoming
from dae_pacs.dimse.statuses import DUPLICATE_INSTANCE, MISMATCH, SUCCESS
from dae_pacs.errors import SpoolError
from dae_pacs.failpoints import reach
from dae_pacs.image.header import Summary, read_header, summarise
from dae_pacs.node.auditing import Auditor, silent
from dae_pacs.node.bell import Bell
from dae_pacs.node.routing import decide
from dae_pacs.spool.files import IncomingFile, SpoolFiles
from dae_pacs.spool.ledger import Ledger
from dae_pacs.spool.records import KeepOutcome, NewInstance, Plan

logger = logging.getLogger(__name__)

_AUDITED: Mapping[KeepOutcome, tuple[Action, str]] = {
    KeepOutcome.NEW: ("C", ""),
    KeepOutcome.AGAIN: ("R", ""),
    KeepOutcome.CONFLICT: ("C", "in quarantine: another object with this UID is kept"),
}


@dataclass(frozen=True)
class Receiver:
    """Answers each C-STORE; the answer 0x0000 is a promise (PS3.4 B.2.3)."""

    files: SpoolFiles
    ledger: Ledger
    rules: Sequence[Rule]
    model: ModelSettings
    results: Bell
    audit: Auditor = field(default_factory=silent)

    def keep(self, incoming: Incoming) -> Answer:
        """Keep one object, or say why not.

        Raises:
            NotDicomError: the data set is cut short or can't be parsed.
            SpoolError: it can't be put on stable storage.
        """
        reach("receive.arrived")
        file = _spool_file(incoming)
        with file.reading() as arrived:
            header = read_header(arrived)
        summary = summarise(header)
        mismatch = _mismatch(summary, incoming)
        if mismatch:
            file.discard()
            self.audit.object_received(incoming, summary, failure="refused: " + mismatch)
            return Answer(MISMATCH, mismatch)
        if self.ledger.is_ours(incoming.SOPInstanceUID):
            file.discard()  # an auto-routing PACS sends our results back: they are here already
            self.audit.object_received(incoming, summary, "R")
            return Answer(SUCCESS)
        plan = _with_warning(self._plan(header, summary, incoming), incoming)
        path = self.files.settle(
            file,
            SOPInstanceUID=incoming.SOPInstanceUID,
            transfer_syntax_uid=incoming.transfer_syntax_uid,
        )
        reach("receive.flushed")
        new = _as_new(summary, incoming, file, path)
        outcome = self.ledger.keep(new, plan)
        logger.debug("object received", extra={"outcome": outcome.value, "action": plan.action})
        self.audit.object_received(incoming, summary, *_AUDITED[outcome])
        if outcome is KeepOutcome.CONFLICT:
            return Answer(DUPLICATE_INSTANCE, "another object with this UID is kept; see quarantine")
        self.results.ring()
        reach("receive.kept")
        return Answer(SUCCESS)

    def _plan(self, header: Dataset, summary: Summary, incoming: Incoming) -> Plan:
        return decide(
            header,
            summary,
            calling_ae=incoming.calling_ae,
            called_ae=incoming.called_ae,
            rules=self.rules,
            model=self.model,
        ).plan


def _with_warning(plan: Plan, incoming: Incoming) -> Plan:
    """Keep with the object what is odd about it, beside the reason for its fate if there is one."""
    if not incoming.warning:
        return plan
    logger.warning("odd object kept", extra={"warning": incoming.warning})
    return replace(plan, reason="; ".join(filter(None, (plan.reason, incoming.warning))))


def _mismatch(summary: Summary, incoming: Incoming) -> str:
    """Say how command and data set disagree about what the object is; empty when they agree."""
    if summary.SOPClassUID != incoming.SOPClassUID:
        return "SOP Class UID of command and data set differ"
    if summary.SOPInstanceUID != incoming.SOPInstanceUID:
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


def _as_new(summary: Summary, incoming: Incoming, file: IncomingFile, path: Path) -> NewInstance:
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
        transfer_syntax_uid=incoming.transfer_syntax_uid,
        digest=file.digest,
        path=path,
        size_bytes=file.size,
        calling_ae=incoming.calling_ae,
        called_ae=incoming.called_ae,
        address=incoming.address,
        association=incoming.association,
        expected_count=summary.expected_count,
        received_at=time.time(),
    )
