"""The storage SCP: takes associations, writes what arrives into the files it is given, and answers.

Success is said by `keep` alone, which stands on stable storage; nothing here decodes a data set.
"""

import logging
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from io import BytesIO
from typing import Protocol, cast

from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.pdu_primitives import A_ASSOCIATE
from pynetdicom.transport import ThreadedAssociationServer

from dae_pacs.dimse import library, listening, part10, refusals, statuses
from dae_pacs.dimse.refusals import Answer
from dae_pacs.errors import DaePacsError, ServiceError
from dae_pacs.identity import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME

__all__ = ["Answer", "Incoming", "ScpSettings", "SpoolFile", "StorageSCP"]

logger = logging.getLogger(__name__)

_STOP_GRACE_S = 5.0  # an object that is being kept when the node stops gets this long to finish


class SpoolFile(Protocol):
    """Where one arriving object goes: first its file meta in one write, then the data set's raw bytes."""

    def write(self, data: bytes, /) -> object:
        """Append bytes."""
        ...

    def discard(self) -> None:
        """Drop the file; harmless when repeated, and when `keep` has already settled it."""
        ...


@dataclass(frozen=True)
class Incoming:
    """One object as it arrived; the UIDs are the command's word, not yet held against the data set."""

    calling_ae: str
    called_ae: str
    address: str
    association: str
    """A random identifier of the association, in hexadecimal."""
    SOPClassUID: str
    SOPInstanceUID: str
    transfer_syntax_uid: str
    file: SpoolFile
    """Preamble, file meta and data set, written but not flushed."""


@dataclass(frozen=True)
class ScpSettings:
    """How the SCP listens."""

    ae_title: str
    bind: str = "127.0.0.1"
    port: int = 11112
    max_associations: int = 20
    max_pdu_bytes: int = 131072
    network_timeout_s: float = 60.0
    dimse_timeout_s: float = 30.0
    require_called_ae: bool = False
    """Reject associations that call another AE title than ours (PS3.8 9.3.4, source 1, reason 7)."""


@dataclass
class _Conversation:
    """The state of one association that was accepted."""

    calling_ae: str
    called_ae: str
    address: str
    association: str = field(default_factory=lambda: uuid.uuid4().hex)
    started: float = field(default_factory=time.monotonic)
    objects: int = 0
    is_over: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)
    """Held while an object is kept, so that the end of the association is told after its last object."""


class StorageSCP:
    """Listens for associations; owns the socket, its threads and the conversations under way."""

    def __init__(
        self,
        settings: ScpSettings,
        *,
        open_file: Callable[[], SpoolFile],
        keep: Callable[[Incoming], Answer],
        association_ended: Callable[[str], None],
    ) -> None:
        """Prepare to listen; nothing is bound before `start`.

        Args:
            settings: where to listen and what to bound.
            open_file: gives the file for the next object.
            keep: checks and keeps an object, on stable storage before it answers with success; it owns the
                file from then on. An exception from it means that the object is not kept.
            association_ended: told once, after the last object of an association that brought any.
        """
        self._settings = settings
        self._open_file = open_file
        self._keep = keep
        self._association_ended = association_ended
        self._server: ThreadedAssociationServer | None = None
        self._conversations: dict[Association, _Conversation] = {}

    def start(self) -> None:
        """Bind, listen and return.

        Raises:
            ServiceError: the address can't be bound; the message says why and what to do.
        """
        library.prepare()
        self._server = listening.listen(
            self._application_entity(),
            (self._settings.bind, self._settings.port),
            handlers=[
                (evt.EVT_CONN_OPEN, self._connected),
                (evt.EVT_ESTABLISHED, self._opened),
                (evt.EVT_REJECTED, _rejected),
                (evt.EVT_DIMSE_RECV, refusals.answer_incomplete),
                (evt.EVT_C_STORE, self._store),
                (evt.EVT_RELEASED, self._released),
                (evt.EVT_ABORTED, self._aborted),
            ],
        )
        logger.info("listening", extra={"ae": self._settings.ae_title, "port": self.port})

    @property
    def port(self) -> int:
        """The port that is listened on, also where 0 was asked for."""
        if self._server is None:
            raise ServiceError(
                f"the storage SCP {self._settings.ae_title} is not started; call start() first"
            )
        return int(self._server.server_address[1])

    def stop(self) -> None:
        """Stop listening, abort what is open, wait until no object is being kept; harmless when repeated."""
        server, self._server = self._server, None
        if server is not None:
            listening.close(server, grace_s=_STOP_GRACE_S)
            self._end_dead_conversations()

    def _application_entity(self) -> AE:
        settings = self._settings
        ae = AE(settings.ae_title)
        ae.maximum_associations = settings.max_associations
        ae.maximum_pdu_size = settings.max_pdu_bytes
        ae.acse_timeout = settings.dimse_timeout_s
        ae.dimse_timeout = settings.dimse_timeout_s
        ae.network_timeout = settings.network_timeout_s
        ae.require_called_aet = settings.require_called_ae
        ae.implementation_class_uid = IMPLEMENTATION_CLASS_UID
        ae.implementation_version_name = IMPLEMENTATION_VERSION_NAME
        return ae

    def _connected(self, event: evt.Event) -> None:
        listening.tune(event.assoc, timeout_s=self._settings.network_timeout_s)

    def _opened(self, event: evt.Event) -> None:
        self._end_dead_conversations()
        caller = event.assoc.requestor
        called_ae = cast(A_ASSOCIATE, caller.primitive).called_ae_title
        conversation = _Conversation(caller.ae_title, str(called_ae), _address(event.assoc))
        self._conversations[event.assoc] = conversation
        logger.info("association accepted", extra=_fields(conversation))

    def _released(self, event: evt.Event) -> None:
        self._end(event.assoc, how="released")

    def _aborted(self, event: evt.Event) -> None:
        self._end(event.assoc, how="aborted")

    def _end_dead_conversations(self) -> None:
        """End what ended without a word: an association whose reactor itself failed triggers no event."""
        for assoc in [assoc for assoc in tuple(self._conversations) if not assoc.is_alive()]:
            self._end(assoc, how="broken")

    def _end(self, assoc: Association, *, how: str) -> None:
        conversation = self._conversations.pop(assoc, None)
        if conversation is None:
            return
        with conversation.lock:
            conversation.is_over = True
        seconds = round(time.monotonic() - conversation.started, 3)
        fields = {"how": how, "objects": conversation.objects, "seconds": seconds}
        logger.info("association ended", extra=_fields(conversation) | fields)
        if not conversation.objects:
            return
        try:
            self._association_ended(conversation.association)
        except (DaePacsError, OSError) as error:
            logger.error(  # noqa: TRY400 - a message of ours says more than its traceback
                "end of association not recorded",
                extra={"association": conversation.association, "reason": str(error)},
            )

    def _store(self, event: evt.Event) -> Dataset:
        """Answer one C-STORE request (PS3.7 9.1.1); runs in the association's thread."""
        conversation = self._conversations.get(event.assoc)
        if conversation is None:
            answer = Answer(statuses.PROCESSING_FAILURE, "association is ending")
        else:
            with conversation.lock:
                answer = self._receive(event, conversation)
        return refusals.response(answer)

    def _receive(self, event: evt.Event, conversation: _Conversation) -> Answer:
        """Write one object into a file and have it kept. The broad handler around an association is here."""
        if conversation.is_over:
            return Answer(statuses.PROCESSING_FAILURE, "association is ending")
        request, context = cast(C_STORE, event.request), event.context
        refusal = refusals.of_command(request, context)
        if refusal is not None:
            return refusal
        conversation.objects += 1
        meta = part10.FileMeta(
            str(request.AffectedSOPClassUID),
            str(request.AffectedSOPInstanceUID),
            str(context.transfer_syntax),
        )
        file: SpoolFile | None = None
        try:
            file = self._open_file()
            file.write(part10.encode(meta, calling_ae=conversation.calling_ae))
            file.write(cast(BytesIO, request.DataSet).getvalue())
            return self._keep(_incoming(meta, conversation, file))
        except Exception as error:  # noqa: BLE001 - one object's failure must not end the association
            if file is not None:
                _discard(file)
            return refusals.of_error(error, association=conversation.association)


def _incoming(meta: part10.FileMeta, conversation: _Conversation, file: SpoolFile) -> Incoming:
    return Incoming(
        calling_ae=conversation.calling_ae,
        called_ae=conversation.called_ae,
        address=conversation.address,
        association=conversation.association,
        SOPClassUID=meta.SOPClassUID,
        SOPInstanceUID=meta.SOPInstanceUID,
        transfer_syntax_uid=meta.transfer_syntax_uid,
        file=file,
    )


def _discard(file: SpoolFile) -> None:
    try:
        file.discard()
    except (DaePacsError, OSError) as error:
        logger.warning("incoming file not discarded", extra={"error": type(error).__name__})


def _rejected(event: evt.Event) -> None:
    caller, answer = event.assoc.requestor, event.assoc.acceptor.primitive
    fields: dict[str, object] = {"calling_ae": caller.ae_title, "address": _address(event.assoc)}
    if answer is not None:
        fields |= {"result": answer.result, "source": answer.result_source, "reason": answer.diagnostic}
    logger.warning("association rejected", extra=fields)


def _address(assoc: Association) -> str:
    info = assoc.requestor.address_info
    return info.address if info else ""


def _fields(conversation: _Conversation) -> dict[str, object]:
    return {
        "association": conversation.association,
        "calling_ae": conversation.calling_ae,
        "called_ae": conversation.called_ae,
        "address": conversation.address,
    }
