"""DIMSE status codes of C-STORE by name, and what each means for a delivery.

Sources: PS3.4 B.2.3 and Table B.2-1 (Storage Service Class), PS3.7 9.1.1.1.9 and Annex C (general codes).
"""

from enum import StrEnum

SUCCESS = 0x0000  # PS3.7 C.1

# PS3.4 Table B.2-1, failures
OUT_OF_RESOURCES = 0xA700  # A7xx
MISMATCH = 0xA900  # A9xx: data set does not match SOP class
CANNOT_UNDERSTAND = 0xC000  # Cxxx

# PS3.4 Table B.2-1, warnings: stored, but
COERCED = 0xB000
ELEMENTS_DISCARDED = 0xB006
DOES_NOT_MATCH = 0xB007

# PS3.7 Annex C
PROCESSING_FAILURE = 0x0110
DUPLICATE_INSTANCE = 0x0111
INVALID_INSTANCE = 0x0117
CLASS_NOT_SUPPORTED = 0x0122
NOT_AUTHORIZED = 0x0124
DUPLICATE_INVOCATION = 0x0210
RESOURCE_LIMITATION = 0x0213
UNRECOGNIZED_OPERATION = 0x0211
ATTRIBUTE_LIST_WARNING = 0x0107
ATTRIBUTE_RANGE_WARNING = 0x0116
UNSPECIFIC_WARNING = 0x0001

_WARNINGS = frozenset(
    {
        UNSPECIFIC_WARNING,
        ATTRIBUTE_LIST_WARNING,
        ATTRIBUTE_RANGE_WARNING,
        # The peer holds an object of this UID; ours are digests of their content, so it is this very one.
        DUPLICATE_INSTANCE,
    }
)
_PASSING = frozenset({PROCESSING_FAILURE, NOT_AUTHORIZED, DUPLICATE_INVOCATION, RESOURCE_LIMITATION})
"""Failures that lie with the peer's state, not with the object: the same bytes may succeed later."""


class Outcome(StrEnum):
    """What became of one object that was sent."""

    SENT = "sent"
    WARNING = "warning"  # stored, with a remark worth keeping
    RETRY = "retry"  # may succeed later as it is
    DEAD = "dead"  # will fail again: somebody has to look


def classify(status: int) -> Outcome:
    """Tell from a C-STORE response's status what to do with the delivery."""
    if status == SUCCESS:
        return Outcome.SENT
    if status in _WARNINGS or status & 0xF000 == 0xB000:
        return Outcome.WARNING
    if status in _PASSING or status & 0xFF00 == OUT_OF_RESOURCES:
        return Outcome.RETRY
    return Outcome.DEAD


NAMES = {
    SUCCESS: "success",
    COERCED: "stored, coercion of data elements",
    ELEMENTS_DISCARDED: "stored, elements discarded",
    DOES_NOT_MATCH: "stored, data set does not match SOP class",
    PROCESSING_FAILURE: "processing failure",
    DUPLICATE_INSTANCE: "the peer already holds this SOP instance",
    INVALID_INSTANCE: "invalid SOP instance",
    CLASS_NOT_SUPPORTED: "SOP class not supported",
    NOT_AUTHORIZED: "not authorized",
    DUPLICATE_INVOCATION: "duplicate invocation",
    RESOURCE_LIMITATION: "resource limitation",
    UNRECOGNIZED_OPERATION: "unrecognized operation",
}


def describe(status: int) -> str:
    """Say a status in words, with its code: "A700H (out of resources)"."""
    words = NAMES.get(status)
    if words is None:
        words = _family(status)
    return f"{status:04X}H ({words})"


def _family(status: int) -> str:
    if status & 0xFF00 == OUT_OF_RESOURCES:
        return "out of resources"
    if status & 0xFF00 == MISMATCH:
        return "data set does not match SOP class"
    if status & 0xF000 == CANNOT_UNDERSTAND:
        return "cannot understand"
    return (
        "stored, with a warning"
        if classify(status) is Outcome.WARNING
        else "a status that PS3.4 does not name"
    )
