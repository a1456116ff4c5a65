"""Have a peer send objects over the association on which we ask: C-GET as its user (PS3.4 C.4.3).

The objects arrive as C-STORE requests with the roles turned round, and are received as any other: by
`conversation` and `reception`, straight into the spool's files. No port of ours need be reached.
"""

import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from dae_pacs.dimse import commands, contexts, messages, retrieval_statuses
from dae_pacs.dimse.acceptor import Agreement
from dae_pacs.dimse.acceptor import Context as Accepted
from dae_pacs.dimse.addresses import PeerAddress
from dae_pacs.dimse.attendance import Attendance
from dae_pacs.dimse.commands import Command
from dae_pacs.dimse.conversation import Conversation
from dae_pacs.dimse.proposal import Context
from dae_pacs.dimse.reception import Caller, Reception, Store
from dae_pacs.dimse.requestor import Requestor, associate
from dae_pacs.dimse.retrieval import (
    CANCEL_S,
    SYNTAXES,
    Progress,
    Retrieved,
    Target,
    Watch,
    chosen,
    retrieved,
)
from dae_pacs.dimse.settings import ScpSettings
from dae_pacs.dimse.wire import Wire
from dae_pacs.errors import PeerError, PeerGoneError, ProtocolError

STUDY_ROOT_GET: Final = "1.2.840.10008.5.1.4.1.2.2.3"  # PS3.4 C.6.2.3
PATIENT_ROOT_GET: Final = "1.2.840.10008.5.1.4.1.2.1.3"  # PS3.4 C.6.1.3
_CONTEXTS: Final[tuple[Context, ...]] = tuple(
    (model, syntax) for model in (STUDY_ROOT_GET, PATIENT_ROOT_GET) for syntax in SYNTAXES
)
_MOST_CONTEXTS: Final = 128 - len(_CONTEXTS)  # PS3.8 9.3.2.2: the odd numbers from 1 to 255

# What archives hold most of, for a series whose SOP classes the peer does not tell (PS3.4 Table B.5-1).
USUAL_CLASSES: Final = (
    "1.2.840.10008.5.1.4.1.1.1",  # Computed Radiography
    "1.2.840.10008.5.1.4.1.1.1.1",  # Digital X-Ray, for presentation
    "1.2.840.10008.5.1.4.1.1.1.1.1",  # Digital X-Ray, for processing
    "1.2.840.10008.5.1.4.1.1.1.2",  # Digital Mammography, for presentation
    "1.2.840.10008.5.1.4.1.1.1.2.1",  # Digital Mammography, for processing
    "1.2.840.10008.5.1.4.1.1.1.3",  # Digital Intra-Oral X-Ray, for presentation
    "1.2.840.10008.5.1.4.1.1.1.3.1",  # Digital Intra-Oral X-Ray, for processing
    "1.2.840.10008.5.1.4.1.1.2",  # CT
    "1.2.840.10008.5.1.4.1.1.2.1",  # Enhanced CT
    "1.2.840.10008.5.1.4.1.1.4",  # MR
    "1.2.840.10008.5.1.4.1.1.4.1",  # Enhanced MR
    "1.2.840.10008.5.1.4.1.1.3.1",  # Ultrasound Multi-frame
    "1.2.840.10008.5.1.4.1.1.6.1",  # Ultrasound
    "1.2.840.10008.5.1.4.1.1.7",  # Secondary Capture
    "1.2.840.10008.5.1.4.1.1.7.2",  # Multi-frame Grayscale Byte Secondary Capture
    "1.2.840.10008.5.1.4.1.1.7.3",  # Multi-frame Grayscale Word Secondary Capture
    "1.2.840.10008.5.1.4.1.1.7.4",  # Multi-frame True Color Secondary Capture
    "1.2.840.10008.5.1.4.1.1.12.1",  # X-Ray Angiographic
    "1.2.840.10008.5.1.4.1.1.12.2",  # X-Ray Radiofluoroscopic
    "1.2.840.10008.5.1.4.1.1.13.1.3",  # Breast Tomosynthesis
    "1.2.840.10008.5.1.4.1.1.20",  # Nuclear Medicine
    "1.2.840.10008.5.1.4.1.1.128",  # Positron Emission Tomography
    "1.2.840.10008.5.1.4.1.1.11.1",  # Grayscale Softcopy Presentation State
    "1.2.840.10008.5.1.4.1.1.88.11",  # Basic Text SR
    "1.2.840.10008.5.1.4.1.1.88.22",  # Enhanced SR
    "1.2.840.10008.5.1.4.1.1.88.33",  # Comprehensive SR
    "1.2.840.10008.5.1.4.1.1.88.59",  # Key Object Selection Document
    "1.2.840.10008.5.1.4.1.1.88.67",  # X-Ray Radiation Dose SR
    "1.2.840.10008.5.1.4.1.1.104.1",  # Encapsulated PDF
)


@dataclass(frozen=True)
class Receiving:
    """How what arrives is taken."""

    store: Store
    called_ae: str
    """Our AE title."""
    association_ended: Callable[[str], None] = lambda _association: None
    """Told once no more objects come."""
    on_open: Callable[[Callable[[], None]], None] = lambda _cut: None
    """Given what another thread may call to cut the connection."""
    attendance: Attendance = field(default_factory=Attendance)
    """Counts what comes."""


def get(
    peer: PeerAddress,
    target: Target,
    receiving: Receiving,
    *,
    sop_classes: Sequence[str] = (),
    watch: Watch,
) -> Retrieved:
    """Ask a peer for a series over one association, and receive it there.

    Args:
        peer: who has it.
        target: the series.
        receiving: where the objects go.
        sop_classes: of its objects, as far as they are known.
        watch: looks on, and may end it.

    Raises:
        PeerError: the peer can't be reached, does not offer C-GET, or the association broke; what came
            before is kept.
    """
    storage = _proposed(sop_classes)
    storing = list(dict.fromkeys(sop_class for sop_class, _ in storage))
    with associate(
        peer, calling_ae=receiving.called_ae, contexts=[*_CONTEXTS, *storage], storing=storing
    ) as requestor:
        context = chosen(requestor, _CONTEXTS, service="C-GET")
        if not any(one in requestor.contexts for one in storage):
            raise PeerError(
                f"{peer} takes C-GET, but none of the objects' SOP classes over it; fetch by move instead"
            )
        return _Getting(requestor, context, receiving, watch).run(target)


def _proposed(sop_classes: Sequence[str]) -> list[Context]:
    """Choose what is proposed: every transfer syntax where the SOP classes are few, else the usual ones."""
    wanted = list(dict.fromkeys(sop_classes)) or list(USUAL_CLASSES)
    wanted = wanted[:_MOST_CONTEXTS]
    each = min(len(contexts.TRANSFER_SYNTAXES), _MOST_CONTEXTS // len(wanted))
    return [(uid, syntax) for syntax in contexts.TRANSFER_SYNTAXES[:each] for uid in wanted]


class _Getting:
    """One C-GET under way."""

    def __init__(self, requestor: Requestor, context: Context, receiving: Receiving, watch: Watch) -> None:
        self._requestor = requestor
        self._context = context
        self._receiving = receiving
        self._watch = watch
        self._caller = Caller(
            requestor.peer.ae_title, receiving.called_ae, requestor.peer.host, uuid.uuid4().hex
        )
        self._message_id = 0
        self._cancelled_at: float | None = None
        self._ends_by = time.monotonic() + watch.patience.seconds
        self._objects = 0
        self._progress = Progress()
        self._result: Retrieved | None = None

    def run(self, target: Target) -> Retrieved:
        """Ask, and take what comes until the last answer."""
        requestor, patience = self._requestor, self._watch.patience
        identifier = target.identifier(self._context, is_patient_root=self._context[0] == PATIENT_ROOT_GET)
        self._message_id = requestor.query(commands.C_GET_RQ, self._context, identifier)
        self._wire = Wire(requestor.connection)
        self._wire.is_associated = True
        self._receiving.on_open(self._wire.cut)
        settings = ScpSettings(
            ae_title=self._receiving.called_ae,
            dimse_timeout_s=patience.silence_s,
            network_timeout_s=patience.silence_s,
            object_timeout_s=patience.seconds,
            pdu_timeout_s=patience.silence_s,
        )
        conversation = Conversation(
            self._wire,
            Agreement(_accepted(requestor), requestor.max_pdu_bytes, b""),
            settings=settings,
            begin=self._begin,
            take_reply=self._take_reply,
        )
        self._tally, how = self._receiving.attendance.begin(), "broken"
        try:
            how = conversation.run()
        except (PeerGoneError, ProtocolError) as error:
            requestor.is_broken = True
            raise PeerError(
                f"{requestor.peer}: the retrieval ended early: {error}; what came is kept"
            ) from error
        finally:
            self._receiving.attendance.end(self._tally, how)
            if self._objects:
                self._receiving.association_ended(self._caller.association)
        if self._result is None:
            requestor.is_broken = True
            raise PeerError(f"{requestor.peer} {how} the association before all was sent; what came is kept")
        return self._result

    def _begin(self, command: Command, context: Accepted) -> Reception | None:
        if command.field != commands.C_STORE_RQ:
            return None
        self._objects += 1
        self._look()
        return Reception(
            self._receiving.store, self._caller, command=command, context=context, tally=self._tally
        )

    def _take_reply(self, data: bytes, _identifier: bytes) -> bool:
        reply = commands.parse_reply(data)
        if reply.field != commands.C_GET_RQ | commands.RESPONSE or reply.message_id != self._message_id:
            raise ProtocolError("an answer to another message than ours")
        if retrieval_statuses.is_pending(reply.status):
            self._progress = Progress.of(reply.counts)
            self._watch.on_progress(self._progress)
            self._look()
            return True
        self._result = retrieved(reply, self._progress)
        return False

    def _look(self) -> None:
        """Cancel what is not wanted any more, and end what goes on all the same."""
        now = time.monotonic()
        if self._cancelled_at is not None and now > self._cancelled_at + CANCEL_S:
            raise ProtocolError("the peer goes on after C-CANCEL")
        if self._cancelled_at is not None or (self._watch.may_go_on() and now < self._ends_by):
            return
        self._cancelled_at = now
        cancel = messages.cancel_request(message_id=self._message_id)
        self._wire.send(
            messages.command_pdus(
                cancel,
                context_id=self._requestor.contexts[self._context],
                max_pdu_bytes=self._requestor.max_pdu_bytes,
            ),
            timeout_s=CANCEL_S,
        )


def _accepted(requestor: Requestor) -> dict[int, Accepted]:
    """List the accepted contexts as an acceptor would."""
    return {
        number: Accepted(number, sop_class, syntax)
        for (sop_class, syntax), number in requestor.contexts.items()
    }
