"""One association that we ask a peer for: made over our own socket, ended without leftovers.

pynetdicom negotiates, reads the answers and releases. Two things differ from its `AE.associate`:

- Its association thread is never started. That thread takes any message it finds, and about once in 2,700
  C-STOREs (3.0.4) it takes the response that `send_c_store` is waiting for. Without it nobody can.
- Requests are written straight to the socket: a data set's bytes go from the file to the wire undecoded,
  and a peer that stops reading meets the socket's own time-out.
"""

import logging
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import BinaryIO

from pydicom.uid import UID
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_ECHO, C_STORE
from pynetdicom.presentation import PresentationContext, build_context
from pynetdicom.transport import T_CONNECT, AddressInformation, AssociationSocket

from dae_pacs.dimse import library, messages, negotiation
from dae_pacs.dimse.addresses import PeerAddress, check_ae_title
from dae_pacs.errors import PeerError
from dae_pacs.identity import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME

logger = logging.getLogger(__name__)

_A_ABORT = bytes((7, 0, 0, 0, 0, 4, 0, 0, 0, 0))  # PS3.8 Table 9-26: by the service user, no reason
_MAX_PDU_BYTES = 131072  # what we take; responses are small
_PEER_DEFAULT_PDU_BYTES = 16384  # for a peer that names no maximum (PS3.7 D.3.3.1 makes it mandatory)
_LAST_MESSAGE_ID = 65535  # (0000,0110) is US
_END_TIMEOUT_S = 2.0  # for pynetdicom's reading thread to notice that its socket is gone


@dataclass(frozen=True)
class Response:
    """A peer's answer to one request."""

    status: int
    comment: str


class _ConnectedSocket(AssociationSocket):
    """A TCP connection that was made before pynetdicom was asked for an association over it."""

    def __init__(self, assoc: Association, connection: socket.socket) -> None:
        super().__init__(assoc, client_socket=connection)
        # It takes a socket that is already connected for a stranger's call; but we are the caller.
        self.event_queue.get_nowait()

    def connect(self, primitive: T_CONNECT) -> None:
        """Confirm the connection that there is (PS3.8 9.2.1, Evt2)."""
        primitive.result = "Evt2"
        self.provider_queue.put(primitive)


class Requestor:
    """An association as its requestor; not for use by two threads at once."""

    def __init__(self, peer: PeerAddress, assoc: Association, connection: socket.socket) -> None:
        """Wrap an association that was negotiated; `associate` makes it."""
        self.peer = peer
        self.contexts, self.refusals = negotiation.results(assoc)
        self._assoc = assoc
        self._connection = connection
        self._message_id = 0
        self.is_broken = False
        maximum = assoc.acceptor.maximum_length if self.contexts else None
        self._max_pdu_bytes = _PEER_DEFAULT_PDU_BYTES if maximum is None else maximum

    def store(
        self, context: negotiation.Context, sop_instance_uid: str, *, file: BinaryIO, size_bytes: int
    ) -> Response:
        """Send one object and wait for the answer (PS3.7 9.1.1).

        Args:
            context: SOP class and transfer syntax, one of `contexts`.
            sop_instance_uid: of the object.
            file: unbuffered, at the data set's first byte.
            size_bytes: the data set's, at least 1.

        Raises:
            PeerError: the association broke, or no answer came in time; it can't be used again.
        """
        message_id = self._next_message_id()
        command = messages.store_request(context[0], sop_instance_uid, message_id=message_id)
        context_id = self.contexts[context]
        limit = self._max_pdu_bytes
        try:
            self._connection.sendall(
                messages.command_pdus(command, context_id=context_id, max_pdu_bytes=limit), socket.MSG_MORE
            )
            for block in messages.data_set_blocks(
                file, size_bytes, context_id=context_id, max_pdu_bytes=limit
            ):
                self._connection.sendall(block)
        except OSError as error:
            raise self._broken(f"the association broke while an object was sent: {error}") from error
        return self._answer(C_STORE, message_id)

    def echo(self) -> Response:
        """Send a C-ECHO and wait for the answer (PS3.7 9.1.5).

        Raises:
            PeerError: Verification was refused, the association broke, or no answer came in time.
        """
        if negotiation.ECHO not in self.contexts:
            raise PeerError(f"{self.peer} does not accept Verification: {self.refusals[negotiation.ECHO]}")
        message_id = self._next_message_id()
        command = messages.echo_request(message_id=message_id)
        pdus = messages.command_pdus(
            command, context_id=self.contexts[negotiation.ECHO], max_pdu_bytes=self._max_pdu_bytes
        )
        try:
            self._connection.sendall(pdus)
        except OSError as error:
            raise self._broken(f"the association broke before the C-ECHO: {error}") from error
        return self._answer(C_ECHO, message_id)

    def _broken(self, finding: str) -> PeerError:
        """Note that the association can't be used or released any more, and make the error that says so."""
        self.is_broken = True
        return PeerError(f"{self.peer}: {finding}")

    def _next_message_id(self) -> int:
        self._message_id = self._message_id % _LAST_MESSAGE_ID + 1
        return self._message_id

    def _answer(self, kind: type[C_STORE] | type[C_ECHO], message_id: int) -> Response:
        _acknowledge_at_once(self._connection)
        asked_at = time.monotonic()
        _, answer = self._assoc.dimse.get_msg(block=True)
        if answer is None:
            if time.monotonic() - asked_at < self.peer.dimse_timeout_s:
                raise self._broken("the peer aborted the association or closed the connection")
            raise self._broken(f"no answer within {self.peer.dimse_timeout_s:g} s")
        if not isinstance(answer, kind) or answer.Status is None:
            raise self._broken(f"broke the protocol: its answer is no {kind.__name__} response")
        if answer.MessageIDBeingRespondedTo != message_id:
            raise self._broken("broke the protocol: its answer is to another message than ours")
        return Response(answer.Status, str(getattr(answer, "ErrorComment", None) or ""))


@contextmanager
def associate(
    peer: PeerAddress, *, calling_ae: str, contexts: Sequence[negotiation.Context]
) -> Iterator[Requestor]:
    """Ask a peer for an association, and end it with the block: released, or aborted when the block raised.

    A peer that answers but accepts no context yields a requestor without contexts.

    Raises:
        PeerError: it can't be reached, rejects, aborts, or does not answer; the message says which.
        ConfigError: the calling AE title is none.
    """
    library.prepare()
    title = check_ae_title(calling_ae)
    connection = _connect(peer)
    try:
        assoc = _association(peer, connection, calling_ae=title)
    except OSError as error:
        connection.close()
        raise PeerError(f"{peer}: the peer closed the connection at once: {error.strerror}") from error
    assoc.requestor.requested_contexts = _proposed(contexts)
    try:
        asked_at = time.monotonic()
        assoc.request()
        if not assoc.is_established and not assoc.rejected_contexts:
            raise PeerError(negotiation.why_not(peer, assoc, waited_s=time.monotonic() - asked_at))
        requestor = Requestor(peer, assoc, connection)
        yield requestor
        if assoc.is_established and not requestor.is_broken:
            assoc.acse.negotiate_release()
    finally:
        _end(assoc, connection)


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
        raise PeerError(f"{peer}: can't be reached: {error.strerror or error}") from error
    if peer.tls is not None:
        connection = peer.tls.secure(
            connection, peer=str(peer), host=peer.host, timeout_s=peer.connect_timeout_s
        )
    connection.settimeout(peer.dimse_timeout_s)
    # A command without a data set must not wait for the ACK of what went before.
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    _acknowledge_at_once(connection)
    return connection


def _acknowledge_at_once(connection: socket.socket) -> None:
    """Switch the kernel's delayed ACK off until it switches it on again, which it does on its own.

    A peer with Nagle's algorithm on (DCMTK, Orthanc) holds the second half of its answer back until the first
    is acknowledged: 40 ms an object. Hence before each wait and after each PDU.
    """
    if hasattr(socket, "TCP_QUICKACK"):
        with suppress(OSError):  # a closed socket is told by whoever uses it next
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)


def _association(peer: PeerAddress, connection: socket.socket, *, calling_ae: str) -> Association:
    ae = AE(calling_ae)
    ae.acse_timeout = peer.dimse_timeout_s
    ae.dimse_timeout = peer.dimse_timeout_s
    ae.network_timeout = None  # every wait has its own time-out
    assoc = Association(ae, "requestor")
    assoc.set_socket(_ConnectedSocket(assoc, connection))
    assoc.dul.daemon = True  # it reads the socket; it must not keep a stopping process alive
    assoc.acceptor.ae_title = peer.ae_title
    assoc.acceptor.address_info = AddressInformation(*connection.getpeername()[:2])
    assoc.requestor.address_info = AddressInformation(*connection.getsockname()[:2])
    assoc.requestor.ae_title = calling_ae
    assoc.requestor.maximum_length = _MAX_PDU_BYTES
    assoc.requestor.implementation_class_uid = UID(IMPLEMENTATION_CLASS_UID)
    assoc.requestor.implementation_version_name = IMPLEMENTATION_VERSION_NAME
    assoc.bind(evt.EVT_DATA_RECV, lambda _event: _acknowledge_at_once(connection))
    return assoc


def _proposed(contexts: Sequence[negotiation.Context]) -> list[PresentationContext]:
    """Build presentation contexts of one transfer syntax each, numbered 1, 3, 5... (PS3.8 9.3.2.2)."""
    proposed = [build_context(sop_class, [syntax]) for sop_class, syntax in contexts]
    for number, context in enumerate(proposed):
        context.context_id = 2 * number + 1
    return proposed


def _end(assoc: Association, connection: socket.socket) -> None:
    """Close the connection, after an A-ABORT if it was neither released nor aborted yet."""
    if assoc.is_established:
        with suppress(OSError):  # the peer may be gone, which is why we end here
            connection.sendall(_A_ABORT)
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    assoc.is_established = False
    assoc.dul.join(_END_TIMEOUT_S)
    if assoc.dul.is_alive():
        assoc.dul.kill_dul()
    connection.close()
