"""The storage SCP: takes associations, writes what arrives into the files it is given, and answers.

Success is said by `keep` alone, which stands on stable storage; nothing here decodes a data set.
"""

import logging
import ssl
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field

from dae_pacs.dimse import acceptor, commands, contexts, library, pdus
from dae_pacs.dimse.acceptor import Acceptor, Context, Proposal
from dae_pacs.dimse.attendance import Attendance, Tally
from dae_pacs.dimse.certificates import of_der
from dae_pacs.dimse.commands import Command
from dae_pacs.dimse.commitment import OnReport, ReportReception
from dae_pacs.dimse.conversation import Conversation
from dae_pacs.dimse.entrance import Entrance, TurnedAway
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
    tally: Tally
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
        entrance: Entrance | None = None,
    ) -> None:
        """Prepare to listen; nothing is bound before `start`.

        Args:
            settings: where to listen and what to bound.
            open_file: gives the file for the next object.
            keep: checks and keeps an object, on stable storage before it answers with success; it owns the
                file from then on. An exception from it means that the object is not kept.
            association_ended: told once, after the last object of an association that brought any.
            on_report: records a report on storage commitment; without it none is taken.
            entrance: who is let in, and how; None lets in whoever comes, without TLS.
        """
        self._settings = settings
        self._store = Store(open_file, keep, settings.max_object_bytes)
        self._association_ended = association_ended
        self._entrance = entrance or Entrance()
        self._roster = Roster(
            limit=settings.max_associations, limit_per_address=settings.max_associations_per_address
        )
        self.attendance = Attendance()
        """Associations and what came over them, in numbers."""
        self._on_report = on_report
        self._acceptor = Acceptor(max_pdu_bytes=settings.max_pdu_bytes, takes_reports=on_report is not None)
        self._plain: Listener | None = None
        self._secure: Listener | None = None

    def start(self) -> None:
        """Bind, listen and return.

        Raises:
            ServiceError: the address can't be bound, or the installed pynetdicom is not one we know.
        """
        library.prepare()
        contexts.supported()  # takes a moment, which the first caller need not wait for
        door = self._entrance.tls
        if self._entrance.is_plain:
            self._plain = self._listen_on("node.port", self._settings.port, self._serve)
        if door is not None:
            context = door.context
            try:
                self._secure = self._listen_on(
                    "tls.port", door.port, lambda wire, address: self._serve(wire, address, context=context)
                )
            except ServiceError:
                self.stop()
                raise
        logger.info("listening", extra={"ae": self._settings.ae_title} | self._ports())

    def _listen_on(self, setting: str, port: int, serve: Callable[[Wire, str], None]) -> Listener:
        limit = self._settings.max_associations
        address = (self._settings.bind, port)
        return Listener(address, serve=serve, max_associations=limit, setting=setting)

    def _listeners(self) -> list[Listener]:
        return [listener for listener in (self._plain, self._secure) if listener is not None]

    def _ports(self) -> dict[str, object]:
        named = {"port": self._plain, "tls_port": self._secure}
        return {name: listener.port for name, listener in named.items() if listener is not None}

    @property
    def port(self) -> int:
        """The port that is listened on, also where 0 was asked for: the one with TLS where that is all."""
        listener = self._plain or self._secure
        if listener is None:
            raise ServiceError(
                f"the storage SCP {self._settings.ae_title} is not started; call start() first"
            )
        return listener.port

    @property
    def tls_port(self) -> int | None:
        """The port that is listened on with TLS."""
        return None if self._secure is None else self._secure.port

    @property
    def is_listening(self) -> bool:
        """Whether every port that was opened is still served."""
        listeners = self._listeners()
        return bool(listeners) and all(listener.is_running for listener in listeners)

    def keep_running(self) -> None:
        """Replace the listening thread where an error ended it."""
        for listener in self._listeners():
            listener.keep_running()

    def stop(self) -> None:
        """Stop listening, abort what is open, wait until no object is being kept; harmless when repeated."""
        listeners = self._listeners()
        self._plain = self._secure = None
        for listener in listeners:
            listener.stop(grace_s=_STOP_GRACE_S)

    def _serve(
        self, wire: Wire, address: str, *, context: Callable[[], ssl.SSLContext] | None = None
    ) -> None:
        """Serve one connection from its first byte to its last; runs in the connection's thread."""
        wire.expect_by(time.monotonic() + self._settings.association_timeout_s)
        if context is not None and not self._shake_hands(wire, address, context()):
            return
        proposal = self._await_request(wire, address)
        if proposal is None:
            return
        rejection = (
            acceptor.refusal(proposal)
            or self._entrance.admit(
                calling_ae=proposal.calling_ae, called_ae=proposal.called_ae, address=address
            )
            or self._roster.enter(address)
        )
        if rejection is not None:
            self.attendance.rejected(rejection.words)
            _log_rejection(rejection, proposal, address)
            self._entrance.turned_away(
                TurnedAway(address, proposal.calling_ae, rejection.words, is_for_now=rejection.is_transient)
            )
            wire.say_last(rejection.encode())
            wire.linger()
            return
        try:
            self._converse(wire, proposal, address)
        finally:
            self._roster.leave(address)
        wire.linger()

    def _shake_hands(self, wire: Wire, address: str, context: ssl.SSLContext) -> bool:
        """Make the connection a TLS one; False where that came to nothing."""
        try:
            wire.secure(context)
        except PeerGoneError as error:
            logger.info("connection without a handshake", extra={"address": address, "reason": str(error)})
            return False
        except ProtocolError as error:
            logger.warning("TLS handshake failed", extra={"address": address, "reason": str(error)})
            self._entrance.turned_away(TurnedAway(address, "", f"no TLS: {error}"))
            wire.say_last(b"")
            wire.linger()  # so that OpenSSL's alert arrives
            return False
        der = wire.peer_certificate()
        certificate = of_der(der) if der is not None else None
        if certificate is not None:
            logger.info("TLS handshake done", extra={"address": address, "certificate": certificate.subject})
            self._entrance.certificate_seen(address, certificate)
        return True

    def _await_request(self, wire: Wire, address: str) -> Proposal | None:
        """Read the association request (PS3.8 9.2, states 2 and 3); None where there was no proper one."""
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
        caller = Caller(proposal.calling_ae, proposal.called_ae, address, uuid.uuid4().hex)
        visit = _Visit(caller, self.attendance.begin())
        try:
            ending = self._listen(wire, proposal, visit)
        finally:
            self.attendance.end(visit.tally, ending.how)
            wire.say_last(ending.last_pdu)
            self._note_end(visit, ending)

    def _listen(self, wire: Wire, proposal: Proposal, visit: _Visit) -> _Ending:
        def begin(command: Command, context: Context) -> Reception | ReportReception | None:
            if command.field == commands.N_EVENT_REPORT_RQ:
                if self._on_report is None or context.sop_class_uid != contexts.COMMITMENT:
                    return None
                return ReportReception(command, context.transfer_syntax_uid, self._on_report)
            visit.objects += 1
            return Reception(self._store, visit.caller, command=command, context=context, tally=visit.tally)

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
