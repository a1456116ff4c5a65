"""One association that we ask a peer for: negotiated, used and ended over our own socket, without a thread.

pynetdicom is not used here: its association thread takes about once in 2,700 C-STOREs (3.0.4) the response
that `send_c_store` is waiting for, and its reading thread costs more than the sending. `proposal` writes and
reads the negotiation, `sending` what goes out, `inbox` what comes in; each wait has a deadline.
"""

import logging
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import BinaryIO, Final

from dae_pacs.dimse import commands, messages, negotiation, pdus, proposal, tls_words
from dae_pacs.dimse.addresses import PeerAddress, check_ae_title
from dae_pacs.dimse.commands import Command, Reply
from dae_pacs.dimse.inbox import MAX_PDU_BYTES, EndedError, Inbox, Message, acknowledge_at_once
from dae_pacs.dimse.proposal import Context, Verdicts
from dae_pacs.dimse.refusals import Answer
from dae_pacs.dimse.sending import Outlet
from dae_pacs.errors import PeerError, ProtocolError

logger = logging.getLogger(__name__)

_A_ABORT: Final = pdus.abort(pdus.SERVICE_USER, 0)
_RELEASE_RQ: Final = pdus.HEAD.pack(pdus.A_RELEASE_RQ, pdus.CONTROL_BYTES) + bytes(pdus.CONTROL_BYTES)
_RELEASE_TIMEOUT_S: Final = 5.0
"""For the answer to our A-RELEASE-RQ: everything is said by then, and nothing hangs on it."""
_LAST_MESSAGE_ID: Final = 65535  # (0000,0110) is US


@dataclass(frozen=True)
class Response:
    """A peer's answer to one request."""

    status: int
    comment: str


Handle = Callable[[Command, Context, bytes], Answer]
"""Handles a request of the peer's, with its data set, on one of our contexts."""


class Requestor:
    """An association as its requestor; not for use by two threads at once."""

    def __init__(
        self, peer: PeerAddress, verdicts: Verdicts, connection: socket.socket, inbox: Inbox
    ) -> None:
        """Wrap an association that was negotiated; `associate` makes it."""
        self.peer = peer
        self.contexts = verdicts.ids
        self.refusals = {
            context: negotiation.why_refused(result)
            for context, result in verdicts.results.items()
            if context not in verdicts.ids
        }
        self.is_broken = False
        self.max_pdu_bytes = verdicts.max_pdu_bytes
        self.connection = connection
        """For a conversation that takes the reading and writing over for a while, as a C-GET's does."""
        self._inbox = inbox
        self._outlet = Outlet(
            connection, timeout_s=peer.dimse_timeout_s, max_pdu_bytes=verdicts.max_pdu_bytes
        )
        self._connection = connection
        self._message_id = 0

    def store(
        self,
        context: Context,
        sop_instance_uid: str,
        *,
        file: BinaryIO,
        size_bytes: int,
        meanwhile: Callable[[], None] | None = None,
    ) -> Response:
        """Send one object and wait for the answer (PS3.7 9.1.1).

        Args:
            context: SOP class and transfer syntax, one of `contexts`.
            sop_instance_uid: of the object.
            file: unbuffered, at the data set's first byte.
            size_bytes: the data set's, at least 1.
            meanwhile: done while the peer works on its answer.

        Raises:
            PeerError: the association broke, or no answer came in time; it can't be used again.
        """
        message_id = self._next_message_id()
        command = messages.store_request(context[0], sop_instance_uid, message_id=message_id)
        context_id = self.contexts[context]
        try:
            self._outlet.message(command, file, size_bytes, context_id=context_id)
        except OSError as error:
            raise self._broken(f"the association broke while an object was sent: {_words(error)}") from error
        asked_at = time.monotonic()
        if meanwhile is not None:
            meanwhile()
        return self._answer(commands.C_STORE_RQ, message_id, context_id, asked_at=asked_at)

    def echo(self) -> Response:
        """Send a C-ECHO and wait for the answer (PS3.7 9.1.5).

        Raises:
            PeerError: Verification was refused, the association broke, or no answer came in time.
        """
        if negotiation.ECHO not in self.contexts:
            raise PeerError(f"{self.peer} does not accept Verification: {self.refusals[negotiation.ECHO]}")
        message_id, context_id = self._next_message_id(), self.contexts[negotiation.ECHO]
        try:
            self._outlet.command(messages.echo_request(message_id=message_id), context_id=context_id)
        except OSError as error:
            raise self._broken(f"the association broke before the C-ECHO: {_words(error)}") from error
        return self._answer(commands.C_ECHO_RQ, message_id, context_id, asked_at=time.monotonic())

    def action(
        self,
        context: Context,
        sop_instance_uid: str,
        *,
        action_type: int,
        data_set: bytes,
        handle: Handle,
    ) -> Response:
        """Send an N-ACTION and wait for the answer (PS3.7 10.1.4).

        Args:
            context: one of `contexts`.
            sop_instance_uid: of the instance that is asked.
            action_type: what is asked.
            data_set: with the details, in the context's transfer syntax.
            handle: takes requests of the peer's that come before its answer.

        Raises:
            PeerError: the association broke, or no answer came in time.
        """
        message_id, context_id = self._next_message_id(), self.contexts[context]
        command = messages.action_request(
            context[0], sop_instance_uid, message_id=message_id, action_type=action_type
        )
        try:
            self._outlet.small_message(command, data_set, context_id=context_id)
        except OSError as error:
            raise self._broken(f"the association broke before the N-ACTION: {_words(error)}") from error
        asked_at = time.monotonic()
        return self._answer(commands.N_ACTION_RQ, message_id, context_id, asked_at=asked_at, handle=handle)

    def query(self, field: int, context: Context, identifier: bytes, *, destination: str = "") -> int:
        """Send a C-FIND, C-GET or C-MOVE, and give its Message ID; the answers come one by one.

        Args:
            field: the request's Command Field.
            context: one of `contexts`.
            identifier: its data set, in the context's transfer syntax.
            destination: of a C-MOVE.

        Raises:
            PeerError: the association broke.
        """
        message_id = self._next_message_id()
        command = messages.query_request(field, context[0], message_id=message_id, destination=destination)
        try:
            self._outlet.small_message(command, identifier, context_id=self.contexts[context])
        except OSError as error:
            raise self._broken(f"the association broke before the query: {_words(error)}") from error
        return message_id

    def next_reply(
        self, field: int, context: Context, message_id: int, *, within_s: float
    ) -> tuple[Reply, bytes]:
        """Wait for one answer to a `query`: what it says, and its data set.

        Raises:
            PeerError: the association broke, or no answer came in time.
        """
        message = self._message(time.monotonic() + within_s, within_s)
        return self._checked(message, field, message_id, self.contexts[context]), message.data_set

    def cancel(self, context: Context, message_id: int) -> None:
        """Ask the peer to end a `query` (PS3.7 9.3.2.3); it answers the query all the same.

        Raises:
            PeerError: the association broke.
        """
        command = messages.cancel_request(message_id=message_id)
        try:
            self._outlet.command(command, context_id=self.contexts[context])
        except OSError as error:
            raise self._broken(f"the association broke before the C-CANCEL: {_words(error)}") from error

    def hears(self, within_s: float) -> bool:
        """Tell whether the peer says something within a time."""
        return self._inbox.has_something(within_s)

    def take_request(self, handle: Handle) -> None:
        """Take one request of the peer's on this association, and answer it.

        Raises:
            PeerError: the association broke or ended.
        """
        self._handle(self._message(time.monotonic() + self.peer.dimse_timeout_s), handle)

    def _handle(self, message: Message, handle: Handle) -> None:
        context = next((name for name, number in self.contexts.items() if number == message.context_id), None)
        if context is None:
            raise self._broken("broke the protocol: a message on a context that was not accepted")
        try:
            command = commands.parse(message.command)
        except ProtocolError as error:
            raise self._broken(f"broke the protocol: {error}") from error
        answer = handle(command, context, message.data_set)
        response = commands.response(command, status=answer.status, comment=answer.comment)
        try:
            self._outlet.command(response, context_id=message.context_id)
        except OSError as error:
            raise self._broken(f"the association broke before our answer: {_words(error)}") from error

    def _broken(self, finding: str) -> PeerError:
        """Note that the association can't be used or released any more, and make the error that says so."""
        self.is_broken = True
        return PeerError(f"{self.peer}: {finding}")

    def _next_message_id(self) -> int:
        self._message_id = self._message_id % _LAST_MESSAGE_ID + 1
        return self._message_id

    def _answer(
        self,
        field: int,
        message_id: int,
        context_id: int,
        *,
        asked_at: float,
        handle: Handle | None = None,
    ) -> Response:
        message = self._message(asked_at + self.peer.dimse_timeout_s)
        while handle is not None and not commands.peek(message.command)[0] & commands.RESPONSE:
            self._handle(message, handle)
            message = self._message(asked_at + self.peer.dimse_timeout_s)
        reply = self._checked(message, field, message_id, context_id)
        return Response(reply.status, reply.comment)

    def _checked(self, message: Message, field: int, message_id: int, context_id: int) -> Reply:
        """Read an answer, and hold it against what was asked."""
        try:
            reply = commands.parse_reply(message.command)
        except ProtocolError as error:
            raise self._broken(f"broke the protocol: {error}") from error
        if reply.field != field | commands.RESPONSE:
            raise self._broken("broke the protocol: its answer is no response to what we asked")
        if reply.message_id != message_id or message.context_id != context_id:
            raise self._broken("broke the protocol: its answer is to another message than ours")
        return reply

    def _message(self, deadline: float, patience_s: float | None = None) -> Message:
        try:
            return self._inbox.message(deadline)
        except TimeoutError as error:
            raise self._broken(f"no answer within {patience_s or self.peer.dimse_timeout_s:g} s") from error
        except OSError as error:
            raise self._broken(f"the connection broke before the answer: {_words(error)}") from error
        except EndedError as error:
            raise self._broken(f"{error}, and gave no answer") from error
        except ProtocolError as error:
            raise self._broken(f"broke the protocol: {error}") from error

    def release(self) -> None:
        """End the association in good order (PS3.8 7.2); whatever the peer does, nothing hangs on it."""
        deadline = time.monotonic() + min(_RELEASE_TIMEOUT_S, self.peer.dimse_timeout_s)
        try:
            self._connection.settimeout(_RELEASE_TIMEOUT_S)
            self._connection.sendall(_RELEASE_RQ)
            while True:
                kind, _body = self._inbox.pdu(deadline)
                if kind == pdus.A_RELEASE_RQ:  # both at once (PS3.8 9.2, states 9 to 12)
                    self._connection.sendall(pdus.RELEASE_RP)
                elif kind != pdus.P_DATA_TF:
                    return
        except (OSError, EndedError, ProtocolError) as error:
            logger.debug("association not released in good order", extra={"why": type(error).__name__})


@contextmanager
def associate(
    peer: PeerAddress, *, calling_ae: str, contexts: Sequence[Context], storing: Sequence[str] = ()
) -> Iterator[Requestor]:
    """Ask a peer for an association, and end it with the block: released, or aborted when the block raised.

    A peer that answers but accepts no context yields a requestor without contexts.

    Args:
        peer: whom.
        calling_ae: our AE title.
        contexts: what is proposed, at most 128.
        storing: SOP classes whose objects the peer is to send us here.

    Raises:
        RejectedError: it rejects the association.
        PeerError: it can't be reached, aborts, or does not answer; the message says which.
        ConfigError: the calling AE title is none.
    """
    title = check_ae_title(calling_ae)
    connection = _connect(peer)
    is_over = True
    try:
        inbox = Inbox(connection)
        asked = proposal.request(
            contexts,
            called_ae=peer.ae_title,
            calling_ae=title,
            max_pdu_bytes=MAX_PDU_BYTES,
            storing=storing,
        )
        verdicts = _negotiate(peer, connection, inbox, asked=asked, contexts=contexts)
        requestor = Requestor(peer, verdicts, connection, inbox)
        is_over = False
        yield requestor
        if not requestor.is_broken:
            requestor.release()
            is_over = True
    finally:
        if not is_over:
            with suppress(OSError):  # the peer may be gone, which is why we end here
                connection.sendall(_A_ABORT)
        with suppress(OSError):
            # Not SSLSocket.shutdown, which would take the encryption off the connection.
            socket.socket.shutdown(connection, socket.SHUT_RDWR)
        connection.close()


def _connect(peer: PeerAddress) -> socket.socket:
    try:
        connection = socket.create_connection((peer.host, peer.port), timeout=peer.connect_timeout_s)
    except TimeoutError as error:
        raise PeerError(
            f"{peer}: no connection within {peer.connect_timeout_s:g} s; check host, port and firewall"
        ) from error
    except ConnectionRefusedError as error:
        raise PeerError(
            f"{peer}: connection refused; nothing listens there: check that the peer runs, and its port"
        ) from error
    except socket.gaierror as error:
        raise PeerError(f"{peer}: the host name can't be resolved: {error.strerror}") from error
    except OSError as error:
        raise PeerError(f"{peer}: can't be reached: {_words(error)}") from error
    if peer.tls is not None:
        connection = peer.tls.secure(
            connection, peer=str(peer), host=peer.host, timeout_s=peer.connect_timeout_s
        )
    with suppress(OSError):  # gone already; the next write tells
        # A command without a data set must not wait for the ACK of what went before.
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    acknowledge_at_once(connection)
    return connection


def _negotiate(
    peer: PeerAddress, connection: socket.socket, inbox: Inbox, *, asked: bytes, contexts: Sequence[Context]
) -> Verdicts:
    """Send an A-ASSOCIATE-RQ and read the answer (PS3.8 9.2, states 4 to 6).

    Raises:
        PeerError: no association came of it.
    """
    try:
        connection.settimeout(peer.dimse_timeout_s)
        connection.sendall(asked)
        deadline = time.monotonic() + peer.dimse_timeout_s
        kind, body = inbox.pdu(deadline, longest=proposal.MAX_ANSWER_BYTES)
        if kind == pdus.A_ASSOCIATE_AC:
            return proposal.verdicts(body, contexts)
        if kind == pdus.A_ASSOCIATE_RJ:
            raise negotiation.rejected(peer, proposal.refusal(body))
        answer: Exception = EndedError("another PDU than an answer")
    except TimeoutError as error:
        raise PeerError(
            f"{peer}: connected, but no answer to the association request within {peer.dimse_timeout_s:g} s; "
            "check that a DICOM service listens on that port"
        ) from error
    except (OSError, EndedError, ProtocolError) as error:
        answer = error
    with suppress(OSError):
        connection.sendall(_A_ABORT)
    if peer.tls is not None:
        raise PeerError(f"{peer}: no association over TLS: {tls_words.of_silence(answer)}") from answer
    raise PeerError(
        f"{peer}: connected, but the peer aborted or closed the connection instead of answering the "
        "association request; check that it takes DICOM on that port, without TLS, from this host"
    ) from answer


def _words(error: OSError) -> str:
    return error.strerror or str(error) or type(error).__name__
