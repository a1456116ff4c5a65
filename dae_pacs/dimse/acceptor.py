"""Negotiate an association as its acceptor: pynetdicom's codec and rules, our socket and our bounds.

This file alone knows pynetdicom from the inside; `library.prepare` refuses versions that it was not tried
with. Of an acceptor's pynetdicom only what has neither thread nor socket is used: the
PDUs' encoding and the matching of presentation contexts.
"""

import re
import struct
import warnings
from dataclasses import dataclass
from typing import Any, Final

from pydicom.uid import UID
from pynetdicom.pdu import A_ASSOCIATE_AC, A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import (
    A_ASSOCIATE,
    ImplementationClassUIDNotification,
    ImplementationVersionNameNotification,
    MaximumLengthNotification,
    SCP_SCU_RoleSelectionNegotiation,
)
from pynetdicom.presentation import negotiate_as_acceptor

from dae_pacs.dimse import contexts, items, pdus
from dae_pacs.dimse.pdus import Rejection
from dae_pacs.dimse.wire import Wire
from dae_pacs.errors import ProtocolError
from dae_pacs.identity import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME

MAX_REQUEST_BYTES: Final = 262144
"""128 contexts (PS3.8 9.3.2.2) with every transfer syntax of ours have 150,000 bytes."""

_MALFORMED = (
    ValueError,
    KeyError,
    IndexError,
    TypeError,
    AttributeError,
    AssertionError,
    NotImplementedError,
    struct.error,
)
"""What pynetdicom raises on an A-ASSOCIATE-RQ that is none."""
_APPLICATION_CONTEXT: Final = "1.2.840.10008.3.1.1.1"  # PS3.7 A.2.1
_VERSION_1: Final = 0x0001  # PS3.8 9.3.2, bit 0 of Protocol-version
_PEER_DEFAULT_PDU_BYTES: Final = 16384  # for a peer that names no maximum (PS3.7 D.3.3.1 makes it mandatory)
_LEAST_PDU_BYTES: Final = 128  # a peer that takes less could not even take an A-ASSOCIATE-AC
_TLS_HANDSHAKE: Final = 0x16
"""What a TLS connection begins with (RFC 8446 5.1), where a PDU has its type."""
_TITLES: Final = slice(10, 42)
"""Called and calling AE title, 16 bytes each, in an A-ASSOCIATE-RQ and -AC (PS3.8 Tables 9-11 and 9-17)."""
_ANY_TITLE: Final = "ANY"
_NOT_IN_A_TITLE = re.compile(r"[^ -\[\]-~]")  # PS3.5 6.2, VR AE: no backslash, no control characters


@dataclass(frozen=True)
class Context:
    """An accepted presentation context."""

    context_id: int
    sop_class_uid: str
    transfer_syntax_uid: str


@dataclass(frozen=True)
class Proposal:
    """An association request, decoded."""

    calling_ae: str
    called_ae: str
    max_pdu_bytes: int
    """The longest P-DATA-TF PDU that the peer takes; 0 for any."""
    primitive: A_ASSOCIATE
    version: int
    titles: bytes
    """Both AE titles as they stand in the request, which the answer repeats (PS3.8 9.3.3)."""


@dataclass(frozen=True)
class Agreement:
    """What was negotiated."""

    contexts: dict[int, Context]
    max_pdu_bytes: int
    accept_pdu: bytes


class Acceptor:
    """Our side of negotiations: what we take, the same for every association."""

    def __init__(self, *, max_pdu_bytes: int, takes_reports: bool = False) -> None:
        self._max_pdu_bytes = max_pdu_bytes
        self._more = [contexts.commitment()] if takes_reports else []

    def agree(self, proposal: Proposal) -> Agreement:
        """Choose a transfer syntax for each proposed context, by our preference, and write the answer.

        Asynchronous windows go unanswered, and so do roles for all but storage commitment, which means their
        defaults: the peer is SCU, one operation at a time (PS3.7 D.3.3.3 and D.3.3.4).
        """
        request = proposal.primitive
        answer = A_ASSOCIATE()
        try:
            verdicts, roles = negotiate_as_acceptor(
                request.presentation_context_definition_list,
                [*contexts.supported(), *self._more],
                _roles(request),
            )
            answer.application_context_name = UID(_APPLICATION_CONTEXT)
            answer.calling_ae_title = answer.called_ae_title = _ANY_TITLE
            answer.result, answer.result_source = 0x00, 0x01
            answer.presentation_context_definition_results_list = verdicts
            answer.user_information = [*self._user_information(), *roles]
            accept_pdu = _with_titles(A_ASSOCIATE_AC(answer).encode(), proposal.titles)
        except _MALFORMED as error:
            raise _malformed() from error
        accepted = {
            context.context_id: Context(
                context.context_id, str(context.abstract_syntax), str(context.transfer_syntax[0])
            )
            for context in verdicts
            if context.result == 0x00 and context.context_id is not None
        }
        return Agreement(accepted, proposal.max_pdu_bytes, accept_pdu)

    def _user_information(self) -> list[Any]:  # Any: pynetdicom's union of all items
        maximum = MaximumLengthNotification()
        maximum.maximum_length_received = self._max_pdu_bytes
        implementation = ImplementationClassUIDNotification()
        implementation.implementation_class_uid = UID(IMPLEMENTATION_CLASS_UID)
        version = ImplementationVersionNameNotification()
        version.implementation_version_name = IMPLEMENTATION_VERSION_NAME
        return [maximum, implementation, version]


def _roles(request: A_ASSOCIATE) -> dict[UID, tuple[bool | None, bool | None]]:
    """Read which roles the peer proposes for itself, as SCU and as SCP (PS3.7 D.3.3.4)."""
    return {
        item.sop_class_uid: (bool(item.scu_role), bool(item.scp_role))
        for item in request.user_information or []
        if isinstance(item, SCP_SCU_RoleSelectionNegotiation) and item.sop_class_uid is not None
    }


def receive(wire: Wire) -> Proposal | None:
    """Read an association request (PS3.8 9.2, state 2); None where the peer thought better of it.

    Raises:
        PeerGoneError: the connection ended, or the wire's deadline passed.
        ProtocolError: something else came; the service user aborts (PS3.8 9.2.3, AA-1).
    """
    kind, length = wire.unpack(pdus.HEAD)
    if kind == pdus.A_ABORT:
        return None
    if kind == _TLS_HANDSHAKE:
        raise ProtocolError("a TLS handshake, on a port without TLS", source=pdus.SERVICE_USER)
    if kind != pdus.A_ASSOCIATE_RQ:
        raise ProtocolError("a PDU that asks for no association", source=pdus.SERVICE_USER)
    if length > MAX_REQUEST_BYTES:
        raise ProtocolError("an association request longer than any", source=pdus.SERVICE_USER)
    return read(wire.exactly(length))


def read(body: bytes) -> Proposal:
    """Decode what follows the head of an A-ASSOCIATE-RQ PDU (PS3.8 Table 9-11).

    Raises:
        ProtocolError: it is none.
    """
    body = items.without_unknown(body)
    whole = pdus.HEAD.pack(pdus.A_ASSOCIATE_RQ, len(body)) + body
    titles = whole[_TITLES]
    pdu = A_ASSOCIATE_RQ()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pydicom's, about UIDs that we match, and accept only if known
            # pynetdicom refuses titles that real devices have, such as empty ones; we read them ourselves.
            pdu.decode(_with_titles(whole, _ANY_TITLE.encode().ljust(16) * 2))
            primitive = pdu.to_primitive()
        return Proposal(
            calling_ae=_title(titles[16:]),
            called_ae=_title(titles[:16]),
            max_pdu_bytes=_max_pdu_bytes(primitive),
            primitive=primitive,
            version=int(pdu.protocol_version),
            titles=titles,
        )
    except _MALFORMED as error:
        raise _malformed() from error


def refusal(proposal: Proposal) -> Rejection | None:
    """Say why a request is not to be accepted, whoever asks; None when it may be."""
    if not proposal.version & _VERSION_1:
        return pdus.VERSION_NOT_SUPPORTED
    if proposal.primitive.application_context_name != _APPLICATION_CONTEXT:
        return pdus.CONTEXT_NAME_NOT_SUPPORTED
    return None


def _malformed() -> ProtocolError:
    return ProtocolError("an A-ASSOCIATE-RQ that does not follow PS3.8 9.3.2", source=pdus.SERVICE_USER)


def _with_titles(pdu: bytes, titles: bytes) -> bytes:
    return pdu[: _TITLES.start] + titles + pdu[_TITLES.stop :]


def _title(field: bytes) -> str:
    """Read an AE title for logs, rules and files: what VR AE does not allow becomes a question mark."""
    return _NOT_IN_A_TITLE.sub("?", field.rstrip(b"\x00").decode("latin-1").strip(" "))


def _max_pdu_bytes(request: A_ASSOCIATE) -> int:
    for item in request.user_information or []:
        if isinstance(item, MaximumLengthNotification):
            maximum = int(item.maximum_length_received or 0)
            return max(maximum, _LEAST_PDU_BYTES) if maximum else 0
    return _PEER_DEFAULT_PDU_BYTES
