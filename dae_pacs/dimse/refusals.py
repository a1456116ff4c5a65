"""What we answer, and why: statuses for a command that is wrong, and for an object that could not be kept."""

import logging
from dataclasses import dataclass

from dae_pacs.dimse import statuses
from dae_pacs.dimse.acceptor import Context
from dae_pacs.dimse.commands import Command, uid_fault
from dae_pacs.errors import DaePacsError, InputError, SpoolError, SpoolFullError
from dae_pacs.privacy import where

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Answer:
    """The status of one C-STORE, with a comment for the sender's log."""

    status: int
    comment: str = ""
    """At most 64 characters go out. Never a patient's data."""


def of_command(command: Command, context: Context) -> Answer | None:
    """Refuse a request whose UIDs are none, or whose class is not its presentation context's."""
    for name, uid in (("Class", command.sop_class_uid), ("Instance", command.sop_instance_uid)):
        fault = uid_fault(uid)
        if fault:
            return Answer(statuses.CANNOT_UNDERSTAND, f"Affected SOP {name} UID is {fault}")
    if command.sop_class_uid != context.sop_class_uid:
        return Answer(statuses.CLASS_NOT_SUPPORTED, "SOP class differs from the presentation context's")
    return None


def record(answer: Answer, *, association: str) -> None:
    """Log that an object was refused; the comment is ours, and quotes nothing."""
    logger.warning(
        "object refused",
        extra={
            "association": association,
            "status": f"{answer.status:04X}",
            "reason": answer.comment,
        },
    )


def of_error(error: Exception, *, association: str) -> Answer:
    """Turn an exception of opening, writing or keeping into an answer, and record it."""
    answer = _answer(error)
    fields = {"association": association, "status": f"{answer.status:04X}", "error": type(error).__name__}
    if isinstance(error, DaePacsError | OSError):
        logger.error("object not kept", extra=fields | {"reason": str(error)})
    else:
        # Where it happened, but not its text, which may quote a value of the data set.
        logger.error("object not kept, unexpected", extra=fields | {"where": where(error.__traceback__)})
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
