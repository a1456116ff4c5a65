"""What came of asking a peer for an association, in words (PS3.8 9.3.3 and 9.3.4)."""

from typing import Final

from pydicom.uid import UID

from dae_pacs.dimse import proposal
from dae_pacs.dimse.addresses import PeerAddress
from dae_pacs.dimse.contexts import IMPLICIT_LITTLE_ENDIAN, VERIFICATION
from dae_pacs.dimse.proposal import Context, Refusal
from dae_pacs.errors import RejectedError

ECHO: Final[Context] = (VERIFICATION, IMPLICIT_LITTLE_ENDIAN)

_PERMANENT: Final = 1  # PS3.8 Table 9-21, Result

# PS3.8 Table 9-18
_CONTEXT_RESULTS = {
    1: "rejected by the user",
    2: "rejected without a reason",
    3: "SOP class not supported",
    4: "transfer syntax not supported",
    proposal.ANOTHER_SYNTAX: "accepted in a transfer syntax that was not proposed",
    proposal.UNANSWERED: "left unanswered",
}

# PS3.8 Table 9-21: (source, reason)
_RESULTS = {_PERMANENT: "permanently", 2: "for now"}
_REASONS = {
    (1, 1): "no reason given",
    (1, 2): "application context name not supported",
    (1, 3): "it does not know our AE title",
    (1, 7): "it does not go by the AE title that we called",
    (2, 1): "no reason given",
    (2, 2): "protocol version not supported",
    (3, 1): "temporary congestion",
    (3, 2): "local limit of associations exceeded",
}
_REMEDIES = {
    (1, 3): "register our AE title there",
    (1, 7): "check the peer's AE title in the configuration",
    (3, 1): "try again later",
    (3, 2): "try again later, or open fewer associations",
}


def why_refused(result: int) -> str:
    """Say why a presentation context was not accepted."""
    return _CONTEXT_RESULTS.get(result, "not accepted")


def name(context: Context) -> str:
    """Name a context's SOP class and transfer syntax for a person."""
    return f"{UID(context[0]).name} in {UID(context[1]).name}"


def rejected(peer: PeerAddress, refusal: Refusal) -> RejectedError:
    """Say why there is no association."""
    key = (refusal.source, refusal.reason)
    words = _REASONS.get(key, "a reason that PS3.8 reserves")
    remedy = f"; {_REMEDIES[key]}" if key in _REMEDIES else ""
    how = _RESULTS.get(refusal.result, "in a way that PS3.8 does not name")
    return RejectedError(
        f"{peer} rejected the association {how}: {words} "
        f"(result {refusal.result}, source {refusal.source}, reason {refusal.reason}){remedy}",
        is_permanent=refusal.result == _PERMANENT,
    )
