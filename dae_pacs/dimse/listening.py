"""The listening socket: refused in words, tuned for DICOM, closed with nothing left running."""

import errno
import socket
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from socketserver import BaseServer
from typing import Any, cast

from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.events import EventHandlerType
from pynetdicom.presentation import PresentationContext, build_context
from pynetdicom.transport import ThreadedAssociationServer

from dae_pacs.dimse import contexts
from dae_pacs.errors import ServiceError

_BACKLOG = 128  # pynetdicom asks for 5: a burst of callers would wait for TCP's retries
_PRIVILEGED_PORTS = 1024
_POLL_S = 0.25  # how soon a stop is noticed; a caller is always noticed at once
_ABORT_S = 1.0  # for an A-ABORT to go out; a peer that does not read it loses its connection then


class _FixedContexts(list[PresentationContext]):
    """Presentation contexts that negotiation only reads, so that an association needs no copy of its own."""

    def __deepcopy__(self, memo: dict[int, Any]) -> "_FixedContexts":
        # pynetdicom deep-copies all of them for each association: 50 ms for ours, C-ECHO included.
        return self


def listen(
    ae: AE, address: tuple[str, int], *, handlers: Sequence[EventHandlerType]
) -> ThreadedAssociationServer:
    """Start a server in its own thread.

    Raises:
        ServiceError: the address can't be bound.
    """
    try:
        server = ae.make_server(
            address,
            contexts=[build_context(contexts.VERIFICATION)],  # replaced below: it would copy them twice
            evt_handlers=list(handlers),
            server_class=ThreadedAssociationServer,
        )
        cast(socket.socket, server.socket).listen(_BACKLOG)
    except OSError as error:
        raise ServiceError(_why_not(error, address)) from error
    server.contexts = _FixedContexts(contexts.supported())
    threading.Thread(target=server.serve_forever, args=(_POLL_S,), name="dimse-accept", daemon=True).start()
    return server


def _why_not(error: OSError, address: tuple[str, int]) -> str:
    host, port = address
    where = f"can't listen on {host}:{port}"
    if error.errno == errno.EADDRINUSE:
        return f"{where}: another program has the port; stop it, or choose another with node.port"
    if error.errno == errno.EACCES:
        return f"{where}: ports below {_PRIVILEGED_PORTS} need privileges; choose a higher one with node.port"
    if error.errno == errno.EADDRNOTAVAIL or isinstance(error, socket.gaierror):
        return f"{where}: this machine has no such address; set node.bind to one of its own, or to 0.0.0.0"
    return f"{where}: {error.strerror or error}"


def tune(assoc: Association, *, timeout_s: float) -> None:
    """Set up the socket of an association that is about to start."""
    connection = assoc.dul.socket.socket if assoc.dul.socket else None
    if connection is None:
        return
    # A response is small, and the sender waits for it: Nagle would hold it back for an ACK.
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # Without it a sender that falls silent inside a PDU holds a thread for ever.
    connection.settimeout(timeout_s)
    # pynetdicom leaves a socket open whose peer was gone first: it stops at the failed shutdown.
    assoc.bind(evt.EVT_CONN_CLOSE, lambda _event: connection.close())
    # The thread that reads the socket must not keep a stopping process alive.
    assoc.dul.daemon = True


def close(server: ThreadedAssociationServer, *, grace_s: float) -> None:
    """Stop accepting, abort every association, and wait for their threads as long as the grace lasts."""
    # Not its own shutdown(), which also takes the server off a list that only AE.start_server puts it on.
    BaseServer.shutdown(server)
    server.server_close()
    associations = server.active_associations
    for assoc in associations:
        assoc.abort(block=False)
        if assoc.requestor.primitive is None:
            # It waits for an association request; nothing else than an answer ends that wait early.
            assoc.dul.to_user_queue.put(None)
    _join(associations, _ABORT_S)
    for assoc in associations:
        connection = assoc.dul.socket.socket if assoc.dul.socket else None
        if assoc.is_alive() and connection is not None:
            with suppress(OSError):  # it may be closing this very moment
                connection.shutdown(socket.SHUT_RDWR)
    _join(associations, grace_s)


def _join(associations: Sequence[Association], grace_s: float) -> None:
    deadline = time.monotonic() + grace_s
    for assoc in associations:
        assoc.join(max(0.0, deadline - time.monotonic()))
