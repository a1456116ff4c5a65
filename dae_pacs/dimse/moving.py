"""Have a peer send objects to an AE title that it knows: C-MOVE as its user (PS3.4 C.4.2)."""

import time
from collections.abc import Callable
from typing import Final

from dae_pacs.dimse import commands, retrieval_statuses
from dae_pacs.dimse.addresses import PeerAddress
from dae_pacs.dimse.proposal import Context
from dae_pacs.dimse.requestor import Requestor, associate
from dae_pacs.dimse.retrieval import (
    CANCEL_S,
    LOOK_S,
    SYNTAXES,
    Patience,
    Progress,
    Retrieved,
    Target,
    Watch,
    chosen,
    retrieved,
    unanswered,
)

STUDY_ROOT_MOVE: Final = "1.2.840.10008.5.1.4.1.2.2.2"  # PS3.4 C.6.2.3
PATIENT_ROOT_MOVE: Final = "1.2.840.10008.5.1.4.1.2.1.2"  # PS3.4 C.6.1.3
_CONTEXTS: Final[tuple[Context, ...]] = tuple(
    (model, syntax) for model in (STUDY_ROOT_MOVE, PATIENT_ROOT_MOVE) for syntax in SYNTAXES
)


def move(
    peer: PeerAddress,
    target: Target,
    *,
    calling_ae: str,
    destination: str,
    watch: Watch,
) -> Retrieved:
    """Ask a peer to send a series to an AE title, and wait until it has.

    Args:
        peer: who has it.
        target: the series.
        calling_ae: our AE title.
        destination: the AE title that gets it, as the peer knows it.
        watch: looks on, and may end it.

    Raises:
        PeerError: the peer can't be reached, does not offer C-MOVE, or the association broke.
    """
    with associate(peer, calling_ae=calling_ae, contexts=_CONTEXTS) as requestor:
        context = chosen(requestor, _CONTEXTS, service="C-MOVE")
        identifier = target.identifier(context, is_patient_root=context[0] == PATIENT_ROOT_MOVE)
        message_id = requestor.query(commands.C_MOVE_RQ, context, identifier, destination=destination)
        waiting = _Waiting(requestor, context, message_id, watch.patience)
        progress = Progress()
        while True:
            waiting.for_something(watch.may_go_on)
            reply, _data = requestor.next_reply(
                commands.C_MOVE_RQ, context, message_id, within_s=waiting.left_s()
            )
            waiting.heard()
            if not retrieval_statuses.is_pending(reply.status):
                return retrieved(reply, progress, destination=destination)
            progress = Progress.of(reply.counts)
            watch.on_progress(progress)


class _Waiting:
    """The deadlines of one retrieval."""

    def __init__(self, requestor: Requestor, context: Context, message_id: int, patience: Patience) -> None:
        self._requestor = requestor
        self._context = context
        self._message_id = message_id
        self._patience = patience
        self._ends_by = time.monotonic() + patience.seconds
        self._silent_until = time.monotonic() + patience.silence_s
        self._is_cancelled = False

    def heard(self) -> None:
        """The peer said something."""
        if not self._is_cancelled:
            self._silent_until = time.monotonic() + self._patience.silence_s

    def left_s(self) -> float:
        """Say how long we still wait for an answer that has begun."""
        return max(LOOK_S, self._silent_until - time.monotonic())

    def for_something(self, may_go_on: Callable[[], bool]) -> None:
        """Wait until the peer says something; cancel what is not wanted any more.

        Raises:
            PeerError: it says nothing for too long.
        """
        requestor = self._requestor
        while True:
            now = time.monotonic()
            if not self._is_cancelled and (now > self._ends_by or not may_go_on()):
                requestor.cancel(self._context, self._message_id)
                self._is_cancelled, self._silent_until = True, now + CANCEL_S
            if self._is_cancelled and now > self._silent_until:
                requestor.is_broken = True
                raise unanswered(requestor.peer, CANCEL_S)
            if requestor.hears(LOOK_S):
                return
            if now > self._silent_until:
                requestor.is_broken = True
                raise unanswered(requestor.peer, self._patience.silence_s)
