"""DIMSE status codes of C-FIND, C-MOVE and C-GET by name (PS3.4 Tables C.4-1, C.4-2 and C.4-3)."""

from collections.abc import Mapping
from types import MappingProxyType

from dae_pacs.dimse import statuses

PENDING = 0xFF00
PENDING_WITHOUT_OPTIONAL_KEYS = 0xFF01
CANCELLED = 0xFE00
SOME_FAILED = 0xB000
NO_MATCHES = 0xA701
NO_SUB_OPERATIONS = 0xA702
UNKNOWN_DESTINATION = 0xA801

_NAMES: Mapping[int, str] = MappingProxyType(
    {
        statuses.SUCCESS: "success",
        PENDING: "more is to come",
        PENDING_WITHOUT_OPTIONAL_KEYS: "more is to come",
        CANCELLED: "cancelled",
        SOME_FAILED: "done, but some objects failed",
        NO_MATCHES: "the peer lacks the resources to find what is asked for",
        NO_SUB_OPERATIONS: "the peer lacks the resources to send the objects",
        UNKNOWN_DESTINATION: "the peer does not know where to send the objects",
        statuses.MISMATCH: "the peer does not accept the query's keys",
        statuses.CLASS_NOT_SUPPORTED: "the peer does not offer this query",
        statuses.NOT_AUTHORIZED: "the peer does not let us do that",
    }
)


def is_pending(status: int) -> bool:
    """Tell whether more answers to a query or retrieval are to come."""
    return status in {PENDING, PENDING_WITHOUT_OPTIONAL_KEYS}


def describe(status: int) -> str:
    """Say a status of C-FIND, C-MOVE or C-GET in words, with its code."""
    words = _NAMES.get(status)
    if words is None and status & 0xF000 == statuses.CANNOT_UNDERSTAND:
        words = "the peer is unable to process it"
    return f"{status:04X}H ({words or statuses.NAMES.get(status, 'a status that PS3.4 does not name')})"
