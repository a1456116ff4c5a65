"""Storage commitment, push model, as its user (PS3.4 Annex J): what is asked, and what is reported.

The request is an N-ACTION; the report an N-EVENT-REPORT, on the association of the request or on a later
one that the provider opens to us, with the roles turned round (PS3.7 D.3.3.4).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from dae_pacs.dimse import commands, data_sets, statuses
from dae_pacs.dimse.commands import Command
from dae_pacs.dimse.contexts import (
    COMMITMENT,
    COMMITMENT_INSTANCE,
    EXPLICIT_LITTLE_ENDIAN,
    IMPLICIT_LITTLE_ENDIAN,
)
from dae_pacs.dimse.inbox import MAX_DATA_SET_BYTES
from dae_pacs.dimse.proposal import Context
from dae_pacs.dimse.refusals import Answer
from dae_pacs.errors import ProtocolError

CONTEXTS: Final[tuple[Context, ...]] = (
    (COMMITMENT, EXPLICIT_LITTLE_ENDIAN),
    (COMMITMENT, IMPLICIT_LITTLE_ENDIAN),
)
"""What is proposed for a request; the first that the peer takes is used."""
REQUEST: Final = 1  # PS3.4 J.3.2.1.1, Action Type ID
_EVENT_TYPES: Final = frozenset({1, 2})  # PS3.4 J.3.3.1.1: successful; failures exist

# PS3.7 C.5, what an N-EVENT-REPORT is answered with; PS3.3 C.14.1.1, Failure Reason (0008,1197)
NO_SUCH_INSTANCE: Final = 0x0112
NO_SUCH_EVENT_TYPE: Final = 0x0113
INVALID_ARGUMENT: Final = 0x0115
NO_SUCH_CLASS: Final = 0x0118
CLASS_INSTANCE_CONFLICT: Final = 0x0119
DUPLICATE_TRANSACTION: Final = 0x0131

_REASONS: Final = {
    statuses.PROCESSING_FAILURE: "processing failure",
    NO_SUCH_INSTANCE: "it has no such object",
    statuses.RESOURCE_LIMITATION: "it lacks the resources to keep the object",
    statuses.CLASS_NOT_SUPPORTED: "it does not commit itself to this SOP class",
    CLASS_INSTANCE_CONFLICT: "it has the object under another SOP class",
    DUPLICATE_TRANSACTION: "duplicate Transaction UID",
}

_TRANSACTION_UID: Final = 0x00081195
_FAILED_SEQUENCE: Final = 0x00081198
_REFERENCED_SEQUENCE: Final = 0x00081199
_CLASS_UID: Final = 0x00081150
_INSTANCE_UID: Final = 0x00081155
_FAILURE_REASON: Final = 0x00081197
_SEQUENCES: Final = frozenset({_FAILED_SEQUENCE, _REFERENCED_SEQUENCE})


@dataclass(frozen=True)
class Reference:
    """One object that is asked about."""

    SOPClassUID: str
    SOPInstanceUID: str


@dataclass(frozen=True)
class Report:
    """What a provider says of the objects of one transaction."""

    transaction_uid: str
    committed: tuple[str, ...]
    """SOP Instance UIDs that it keeps."""
    failed: dict[str, int]
    """SOP Instance UIDs that it does not keep, with the reason (PS3.3 C.14.1.1)."""


OnReport = Callable[[Report], Answer]
"""Records a report, and says what to answer; success is a promise that it won't be needed again."""


def describe(reason: int) -> str:
    """Say a Failure Reason in words, with its code."""
    return f"{reason:04X}H ({_REASONS.get(reason, 'a reason that PS3.3 does not name')})"


def request(transaction_uid: str, references: Sequence[Reference], *, is_explicit: bool) -> bytes:
    """Write the data set of a request (PS3.4 Table J.3-1)."""
    contents = [
        data_sets.write_uid(_CLASS_UID, one.SOPClassUID, is_explicit=is_explicit)
        + data_sets.write_uid(_INSTANCE_UID, one.SOPInstanceUID, is_explicit=is_explicit)
        for one in references
    ]
    return data_sets.write_uid(
        _TRANSACTION_UID, transaction_uid, is_explicit=is_explicit
    ) + data_sets.write_sequence(_REFERENCED_SEQUENCE, contents, is_explicit=is_explicit)


def read_report(data: bytes, *, is_explicit: bool) -> Report:
    """Read the data set of a report (PS3.4 Table J.3-2).

    Raises:
        ProtocolError: it is none.
    """
    elements = data_sets.read(data, is_explicit=is_explicit, sequences=_SEQUENCES)
    uid = data_sets.text(elements, _TRANSACTION_UID)
    if commands.uid_fault(uid):
        raise ProtocolError("a report whose Transaction UID is missing or malformed")
    failed: dict[str, int] = {}
    for item in data_sets.items(elements, _FAILED_SEQUENCE):
        reason = data_sets.number(item, _FAILURE_REASON)
        failed[_instance_uid(item)] = statuses.PROCESSING_FAILURE if reason is None else reason
    committed = dict.fromkeys(_instance_uid(item) for item in data_sets.items(elements, _REFERENCED_SEQUENCE))
    if not committed and not failed:
        raise ProtocolError("a report on no object")
    # What is in both is not safe.
    return Report(uid, tuple(one for one in committed if one not in failed), failed)


def _instance_uid(item: data_sets.DataSet) -> str:
    uid = data_sets.text(item, _INSTANCE_UID)
    if commands.uid_fault(uid):
        raise ProtocolError("a report whose Referenced SOP Instance UID is missing or malformed")
    return uid


def take_report(command: Command, data: bytes, *, transfer_syntax_uid: str, on_report: OnReport) -> Answer:
    """Check an N-EVENT-REPORT, have it recorded, and say what to answer (PS3.7 10.1.1.1.8)."""
    if command.sop_class_uid != COMMITMENT:
        return Answer(NO_SUCH_CLASS, "not Storage Commitment")
    if command.sop_instance_uid != COMMITMENT_INSTANCE:
        return Answer(NO_SUCH_INSTANCE, "not the well-known instance of Storage Commitment")
    if command.event_type_id not in _EVENT_TYPES:
        return Answer(NO_SUCH_EVENT_TYPE, "Event Type ID is neither 1 nor 2")
    try:
        report = read_report(data, is_explicit=transfer_syntax_uid == EXPLICIT_LITTLE_ENDIAN)
    except ProtocolError as error:
        return Answer(INVALID_ARGUMENT, str(error))
    return on_report(report)


class ReportReception:
    """The data set of an N-EVENT-REPORT while it arrives; it stands where a C-STORE's reception does."""

    def __init__(self, command: Command, transfer_syntax_uid: str, on_report: OnReport) -> None:
        self._command = command
        self._syntax = transfer_syntax_uid
        self._on_report = on_report
        self._data = bytearray()
        self._is_too_long = False

    def write(self, data: memoryview) -> None:
        """Take the next bytes; of what is longer than any report, nothing is kept."""
        if len(self._data) + len(data) > MAX_DATA_SET_BYTES:
            self._is_too_long = True
            self._data.clear()
        if not self._is_too_long:
            self._data += data

    def finish(self) -> Answer:
        """Have the report recorded and say what to answer."""
        if self._is_too_long:
            return Answer(statuses.RESOURCE_LIMITATION, "a report longer than this node takes")
        return take_report(
            self._command, bytes(self._data), transfer_syntax_uid=self._syntax, on_report=self._on_report
        )

    def drop(self) -> None:
        """Forget what came."""
        self._data.clear()
