"""What came of asking a peer for an association, in words (PS3.8 9.3.3 and 9.3.4)."""

from pydicom.uid import UID
from pynetdicom.association import Association
from pynetdicom.pdu_primitives import A_ASSOCIATE

from dae_pacs.dimse.addresses import PeerAddress
from dae_pacs.dimse.contexts import IMPLICIT_LITTLE_ENDIAN, VERIFICATION

Context = tuple[str, str]
"""A SOP class UID and a transfer syntax UID: one presentation context as we propose it."""

ECHO: Context = (VERIFICATION, IMPLICIT_LITTLE_ENDIAN)

# PS3.8 Table 9-18
_CONTEXT_RESULTS = {
    1: "rejected by the user",
    2: "rejected without a reason",
    3: "SOP class not supported",
    4: "transfer syntax not supported",
}

# PS3.8 Table 9-21: (source, reason)
_RESULTS = {1: "permanently", 2: "for now"}
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


def results(assoc: Association) -> tuple[dict[Context, int], dict[Context, str]]:
    """Sort the proposed contexts into the accepted, with their IDs, and the refused, with the reason."""
    accepted = {
        (str(context.abstract_syntax), str(context.transfer_syntax[0])): int(context.context_id or 0)
        for context in assoc.accepted_contexts
    }
    verdicts = {context.context_id: context.result for context in assoc.rejected_contexts}
    refused = {}
    for context in assoc.requestor.requested_contexts:
        name = (str(context.abstract_syntax), str(context.transfer_syntax[0]))
        if name not in accepted:
            verdict = verdicts.get(context.context_id)
            refused[name] = _CONTEXT_RESULTS.get(verdict if verdict is not None else -1, "not accepted")
    return accepted, refused


def name(context: Context) -> str:
    """Name a context's SOP class and transfer syntax for a person."""
    return f"{UID(context[0]).name} in {UID(context[1]).name}"


def why_not(peer: PeerAddress, assoc: Association, *, waited_s: float) -> str:
    """Say why there is no association."""
    answer = assoc.acceptor.primitive
    if assoc.is_rejected and isinstance(answer, A_ASSOCIATE):
        return _rejection(peer, answer)
    if waited_s >= peer.dimse_timeout_s:
        return (
            f"{peer}: connected, but no answer to the association request within {peer.dimse_timeout_s:g} s; "
            "check that a DICOM service listens on that port"
        )
    return (
        f"{peer}: connected, but the peer aborted or closed the connection instead of answering the "
        "association request; check that it takes DICOM on that port, without TLS, from this host"
    )


def _rejection(peer: PeerAddress, answer: A_ASSOCIATE) -> str:
    result, source, reason = answer.result, answer.result_source, answer.diagnostic
    key = (source or 0, reason or 0)
    words = _REASONS.get(key, "a reason that PS3.8 reserves")
    remedy = f"; {_REMEDIES[key]}" if key in _REMEDIES else ""
    how = _RESULTS.get(result or 0, "in a way that PS3.8 does not name")
    return (
        f"{peer} rejected the association {how}: {words} "
        f"(result {result}, source {source}, reason {reason}){remedy}"
    )
