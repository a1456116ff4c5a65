"""What we answer, and why: statuses for a command that is wrong, and for an object that could not be kept."""

import logging
import traceback
from dataclasses import dataclass

from pydicom.dataset import Dataset
from pynetdicom import evt
from pynetdicom.dimse_messages import C_STORE_RQ
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.presentation import PresentationContextTuple

from dae_pacs.dimse import statuses
from dae_pacs.errors import DaePacsError, InputError, SpoolError, SpoolFullError

logger = logging.getLogger(__name__)

_COMMENT_CHARACTERS = 64  # PS3.7 E.1-1, Error Comment (0000,0902), VR LO
_MEDIUM_PRIORITY = 0x0000  # PS3.7 9.3.1.1
_UID_CHARACTERS = 64  # PS3.5 9.1
_MANDATORY_UIDS = {
    "AffectedSOPClassUID": statuses.CLASS_NOT_SUPPORTED,
    "AffectedSOPInstanceUID": statuses.INVALID_INSTANCE,
}


@dataclass(frozen=True)
class Answer:
    """The status of one C-STORE, with a comment for the sender's log."""

    status: int
    comment: str = ""
    """At most 64 characters go out. Never a patient's data."""


def response(answer: Answer) -> Dataset:
    """Put an answer into the form that pynetdicom sends."""
    ds = Dataset()
    ds.Status = answer.status
    if answer.comment:
        ds.ErrorComment = _comment(answer.comment)
    return ds


def _comment(text: str) -> str:
    """Fit a text to VR LO in the default character repertoire: ASCII, no backslash, 64 characters."""
    plain = "".join(letter if " " <= letter <= "~" and letter != "\\" else "?" for letter in text)
    return plain[:_COMMENT_CHARACTERS].rstrip()


def of_command(request: C_STORE, context: PresentationContextTuple) -> Answer | None:
    """Refuse a request whose command contradicts its presentation context, or that has no data set."""
    if request.AffectedSOPClassUID != context.abstract_syntax:
        return Answer(statuses.CLASS_NOT_SUPPORTED, "SOP class differs from the presentation context's")
    if request.DataSet is None or not request.DataSet.getbuffer().nbytes:
        return Answer(statuses.CANNOT_UNDERSTAND, "no data set")
    return None


def answer_incomplete(event: evt.Event) -> None:
    """Answer a C-STORE request whose UIDs are missing or too long.

    pynetdicom would drop the one and let the sender wait, and abort the association over the other. What is
    refused here loses the UID in question, so that pynetdicom drops it. A missing priority is taken as
    medium. Without a Message ID no answer can be addressed: the association is aborted. Runs in the thread
    that reads the socket, before the message is handed on.
    """
    message = event.message
    if not isinstance(message, C_STORE_RQ):
        return
    command = message.command_set
    if command.get("MessageID") is None:
        event.assoc.abort()
        return
    if command.get("Priority") is None:
        command.Priority = _MEDIUM_PRIORITY
    for keyword, status in _MANDATORY_UIDS.items():
        if not 1 <= len(str(command.get(keyword) or "")) <= _UID_CHARACTERS:
            command.pop(keyword, None)
            _refuse(event, Answer(status, f"{keyword} missing, or longer than 64 characters"))
            return


def _refuse(event: evt.Event, answer: Answer) -> None:
    reply = C_STORE()
    reply.MessageIDBeingRespondedTo = event.message.command_set.MessageID
    reply.Status = answer.status
    reply.ErrorComment = answer.comment  # type: ignore[assignment] # pynetdicom declares it as None alone
    event.assoc.dimse.send_msg(reply, int(event.message.context_id or 0))
    logger.warning("object refused", extra={"status": f"{answer.status:04X}", "reason": answer.comment})


def of_error(error: Exception, *, association: str) -> Answer:
    """Turn an exception of opening, writing or keeping into an answer, and record it."""
    answer = _answer(error)
    fields = {"association": association, "status": f"{answer.status:04X}", "error": type(error).__name__}
    if isinstance(error, DaePacsError | OSError):
        logger.error("object not kept", extra=fields | {"reason": str(error)})
    else:
        # Where it happened, but not its text, which may quote a value of the data set.
        last = traceback.extract_tb(error.__traceback__)[-1]
        logger.error(
            "object not kept, unexpected", extra=fields | {"where": f"{last.filename}:{last.lineno}"}
        )
    return answer


def _answer(error: Exception) -> Answer:
    match error:
        case SpoolFullError():
            return Answer(statuses.OUT_OF_RESOURCES, "no room left in the spool")
        case SpoolError() | OSError() | MemoryError():
            return Answer(statuses.OUT_OF_RESOURCES, "the spool can't keep the object")
        case InputError():
            return Answer(statuses.CANNOT_UNDERSTAND, "the data set can't be read")
        case _:
            return Answer(statuses.PROCESSING_FAILURE, "unexpected failure, see the node's log")
