"""The storage SCP: takes associations, writes what arrives into the files it is given, and answers.

Success is said by `keep` alone, which stands on stable storage; nothing here decodes a data set.
"""

import logging
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field

from dae_pacs.dimse import acceptor, commands, contexts, library, pdus
from dae_pacs.dimse.acceptor import Acceptor, Context, Proposal
from dae_pacs.dimse.commands import Command
from dae_pacs.dimse.commitment import OnReport, ReportReception
from dae_pacs.dimse.conversation import Conversation
from dae_pacs.dimse.listening import Listener
from dae_pacs.dimse.pdus import Rejection
from dae_pacs.dimse.reception import Caller, Incoming, Reception, SpoolFile, Store
from dae_pacs.dimse.refusals import Answer
from dae_pacs.dimse.roster import Roster
from dae_pacs.dimse.settings import ScpSettings
from dae_pacs.dimse.wire import Wire
from dae_pacs.errors import DaePacsError, PeerGoneError, ProtocolError, ServiceError
from dae_pacs.failpoints import reach

__all__ = ["Answer", "Incoming", "ScpSettings", "SpoolFile", "StorageSCP"]

logger = logging.getLogger(__name__)

_STOP_GRACE_S = 5.0  # an object that is being kept when the node stops gets this long to finish


@dataclass
class _Ending:
    """How an association ended, and the last PDU that we send."""

    how: str = "broken"
    reason: str = ""
    last_pdu: bytes = pdus.abort(pdus.SERVICE_PROVIDER, 0)


@dataclass
class _Visit:
    """One accepted association: who calls, and what came of it."""

    caller: Caller
    started: float = field(default_factory=time.monotonic)
    objects: int = 0


class StorageSCP:
    """Listens for associations; owns the socket and its threads."""

    def __init__(
        self,
        settings: ScpSettings,
        *,
        open_file: Callable[[], SpoolFile],
        keep: Callable[[Incoming], Answer],
        association_ended: Callable[[str], None],
        on_report: OnReport | None = None,
    ) -> None:
        """Prepare to listen; nothing is bound before `start`.

        Args:
            settings: where to listen and what to bound.
            open_file: gives the file for the next object.
            keep: checks and keeps an object, on stable storage before it answers with success; it owns the
                file from then on. An exception from it means that the object is not kept.
            association_ended: told once, after the last object of an association that brought any.
            on_report: records a report on storage commitment; without it none is taken.
        """
        self._settings = settings
        self._store = Store(open_file, keep, settings.max_object_bytes)
        self._association_ended = association_ended
        self._roster = Roster(
            limit=settings.max_associations, limit_per_address=settings.max_associations_per_address
        )
        self._on_report = on_report
        self._acceptor = Acceptor(max_pdu_bytes=settings.max_pdu_bytes, takes_reports=on_report is not None)
        self._listener: Listener | None = None

    def start(self) -> None:
        """Bind, listen and return.

        Raises:
            ServiceError: the address can't be bound, or the installed pynetdicom is not one we know.
        """
        library.prepare()
        contexts.supported()  # takes a moment, which the first caller need not wait for
        self._listener = Listener(
            (self._settings.bind, self._settings.port),
            serve=self._serve,
            max_associations=self._settings.max_associations,
        )
        logger.info("listening", extra={"ae": self._settings.ae_title, "port": self.port})

    @property
    def port(self) -> int:
        """The port that is listened on, also where 0 was asked for."""
        if self._listener is None:
            raise ServiceError(
                f"the storage SCP {self._settings.ae_title} is not started; call start() first"
            )
        return self._listener.port

    def keep_running(self) -> None:
        """Replace the listening thread where an error ended it."""
        if self._listener is not None:
            self._listener.keep_running()

    def stop(self) -> None:
        """Stop listening, abort what is open, wait until no object is being kept; harmless when repeated."""
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.stop(grace_s=_STOP_GRACE_S)

    def _serve(self, wire: Wire, address: str) -> None:
        """Serve one connection from its first byte to its last; runs in the connection's thread."""
        proposal = self._await_request(wire, address)
        if proposal is None:
            return
        settings = self._settings
        rejection = acceptor.refusal(
            proposal, ae_title=settings.ae_title, require_called_ae=settings.require_called_ae
        ) or self._roster.enter(address)
        if rejection is not None:
            _log_rejection(rejection, proposal, address)
            wire.say_last(rejection.encode())
            wire.linger()
            return
        try:
            self._converse(wire, proposal, address)
        finally:
            self._roster.leave(address)
        wire.linger()

    def _await_request(self, wire: Wire, address: str) -> Proposal | None:
        """Read the association request (PS3.8 9.2, states 2 and 3); None where there was no proper one."""
        wire.expect_by(time.monotonic() + self._settings.association_timeout_s)
        try:
            return acceptor.receive(wire)
        except PeerGoneError as error:
            logger.info("connection without an association", extra={"address": address, "reason": str(error)})
        except ProtocolError as error:
            logger.warning(
                "connection without an association", extra={"address": address, "reason": str(error)}
            )
            wire.say_last(pdus.abort(error.source, error.reason))
            wire.linger()
        return None

    def _converse(self, wire: Wire, proposal: Proposal, address: str) -> None:
        """Accept an association, take what comes over it, and note its end."""
        ending = _Ending()
        visit = _Visit(Caller(proposal.calling_ae, proposal.called_ae, address, uuid.uuid4().hex))
        try:
            ending = self._listen(wire, proposal, visit)
        finally:
            wire.say_last(ending.last_pdu)
            self._note_end(visit, ending)

    def _listen(self, wire: Wire, proposal: Proposal, visit: _Visit) -> _Ending:
        def begin(command: Command, context: Context) -> Reception | ReportReception | None:
            if command.field == commands.N_EVENT_REPORT_RQ:
                if self._on_report is None or context.sop_class_uid != contexts.COMMITMENT:
                    return None
                return ReportReception(command, context.transfer_syntax_uid, self._on_report)
            visit.objects += 1
            return Reception(self._store, visit.caller, command=command, context=context)

        try:
            agreement = self._acceptor.agree(proposal)
            wire.is_associated = True
            wire.send(agreement.accept_pdu, timeout_s=self._settings.dimse_timeout_s)
            logger.info("association accepted", extra=_fields(visit.caller))
            conversation = Conversation(wire, agreement, settings=self._settings, begin=begin)
            how = conversation.run()
        except ProtocolError as error:
            return _Ending("aborted by us", str(error), pdus.abort(error.source, error.reason))
        except PeerGoneError as error:
            source = pdus.SERVICE_USER if wire.is_interrupted else pdus.SERVICE_PROVIDER
            return _Ending("broken", str(error), pdus.abort(source, 0))
        return _Ending(how, "", pdus.RELEASE_RP if how == "released" else b"")

    def _note_end(self, visit: _Visit, ending: _Ending) -> None:
        seconds = round(time.monotonic() - visit.started, 3)
        fields = {"how": ending.how, "objects": visit.objects, "seconds": seconds}
        if ending.reason:
            fields["reason"] = ending.reason
        logger.info("association ended", extra=_fields(visit.caller) | fields)
        if not visit.objects:
            return
        try:
            reach("receive.association_ended")
            self._association_ended(visit.caller.association)
        except (DaePacsError, OSError) as error:
            logger.error(  # noqa: TRY400 - a message of ours says more than its traceback
                "end of association not recorded",
                extra={"association": visit.caller.association, "reason": str(error)},
            )


def _log_rejection(rejection: Rejection, proposal: Proposal, address: str) -> None:
    logger.warning(
        "association rejected",
        extra={
            "calling_ae": proposal.calling_ae,
            "address": address,
            "result": rejection.result,
            "source": rejection.source,
            "reason": rejection.reason,
            "words": rejection.words,
        },
    )


def _fields(caller: Caller) -> dict[str, object]:
    return {
        "association": caller.association,
        "calling_ae": caller.calling_ae,
        "called_ae": caller.called_ae,
        "address": caller.address,
    }
