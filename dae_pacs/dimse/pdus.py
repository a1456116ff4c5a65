"""PDUs of the upper layer by hand: their heads, and the short ones that an acceptor sends (PS3.8 9.3)."""

import struct
from dataclasses import dataclass
from typing import Final

A_ASSOCIATE_RQ: Final = 0x01
A_ASSOCIATE_AC: Final = 0x02
A_ASSOCIATE_RJ: Final = 0x03
P_DATA_TF: Final = 0x04
A_RELEASE_RQ: Final = 0x05
A_RELEASE_RP: Final = 0x06
A_ABORT: Final = 0x07
KNOWN: Final = frozenset(range(A_ASSOCIATE_RQ, A_ABORT + 1))

HEAD: Final = struct.Struct(">BxI")
"""Type and length of a PDU; the length counts what follows these six bytes."""
PDV_HEAD: Final = struct.Struct(">IBB")
"""Length of a presentation data value, its context ID, its message control header (PS3.8 Table 9-23, E.2)."""
PDV_COUNTED: Final = 2
"""Bytes of the PDV's own length that are context ID and control header."""
COMMAND: Final = 0x01
"""Bit of the control header: a fragment of a command set, not of a data set."""
LAST: Final = 0x02
"""Bit of the control header: the last fragment."""

CONTROL_BYTES: Final = 4
"""What follows the head of an A-RELEASE or A-ABORT PDU (PS3.8 Tables 9-24 to 9-26)."""
RELEASE_RP: Final = HEAD.pack(A_RELEASE_RP, CONTROL_BYTES) + bytes(CONTROL_BYTES)

UNRECOGNIZED_PDU: Final = 1  # PS3.8 Table 9-26, reasons of the service provider
UNEXPECTED_PDU: Final = 2
INVALID_PARAMETER: Final = 6
SERVICE_USER: Final = 0  # PS3.8 Table 9-26, sources
SERVICE_PROVIDER: Final = 2


_TRANSIENT: Final = 2  # PS3.8 Table 9-21, result


@dataclass(frozen=True)
class Rejection:
    """Why no association is made: result, source and reason of PS3.8 Table 9-21, and words for the log."""

    result: int
    source: int
    reason: int
    words: str

    @property
    def is_transient(self) -> bool:
        """Whether the peer may try again: we are busy, and it is not unwelcome."""
        return self.result == _TRANSIENT

    def encode(self) -> bytes:
        """Write the A-ASSOCIATE-RJ PDU."""
        return HEAD.pack(A_ASSOCIATE_RJ, CONTROL_BYTES) + bytes((0, self.result, self.source, self.reason))


CONTEXT_NAME_NOT_SUPPORTED: Final = Rejection(1, 1, 2, "application context name not supported")
CALLED_AE_NOT_RECOGNIZED: Final = Rejection(1, 1, 7, "called AE title not recognized")
CALLING_AE_NOT_RECOGNIZED: Final = Rejection(1, 1, 3, "calling AE title not recognized")
ADDRESS_NOT_LISTED: Final = Rejection(1, 1, 3, "address not among those of the calling AE title")
VERSION_NOT_SUPPORTED: Final = Rejection(1, 2, 2, "protocol version not supported")
LIMIT_EXCEEDED: Final = Rejection(2, 3, 2, "local limit of associations exceeded")
ADDRESS_LIMIT_EXCEEDED: Final = Rejection(2, 3, 2, "local limit of associations of one address exceeded")


def abort(source: int, reason: int) -> bytes:
    """Write an A-ABORT PDU."""
    return HEAD.pack(A_ABORT, CONTROL_BYTES) + bytes((0, 0, source, reason))
