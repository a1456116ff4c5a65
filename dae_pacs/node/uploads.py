"""Objects that came over HTTP, kept by the node as those of a C-STORE are: same checks, ledger and receipt.

The process that listens to HTTP asks with these plain values, over its pipe (`node.asking`). One request of
STOW-RS is what an association is to DIMSE: its objects come under one name, and then it is over.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Final

from dae_pacs.dimse import commands, refusals, statuses
from dae_pacs.dimse.attendance import Attendance, Tally
from dae_pacs.dimse.contexts import STORAGE_SOP_CLASSES, TRANSFER_SYNTAXES
from dae_pacs.dimse.scp import Answer, Incoming
from dae_pacs.errors import DaePacsError
from dae_pacs.spool import uploads
from dae_pacs.spool.files import SpoolFiles
from dae_pacs.spool.incoming import IncomingFile

logger = logging.getLogger(__name__)

LEADING_ZERO: Final = "SOP Instance UID with a leading zero in a component, which PS3.5 9.1 forbids"
TRANSFER_SYNTAX_NOT_SUPPORTED: Final = 0xC122  # PS3.18 Table I.2-2
_SWEEP_S: Final = 600.0
_REMEMBERED: Final = 1000
"""Requests that ended last: far more than can wait for one of the desk's threads."""


@dataclass(frozen=True)
class Kept:
    """What became of an object: 0 where it is kept, on stable storage; else why not."""

    status: int
    """A status of C-STORE, which is a Failure Reason of STOW-RS as well."""
    comment: str = ""


@dataclass(frozen=True)
class KeepObject:
    """Keep the upload of that name."""

    name: str
    """Of the file in incoming/, whole and flushed; it is the node's from now on, whatever the answer."""
    account: str
    """Who sent it, in place of the calling AE title."""
    address: str
    request: str
    """The request's identifier, in hexadecimal, in place of an association's."""
    SOPClassUID: str
    SOPInstanceUID: str
    transfer_syntax_uid: str
    answer: ClassVar = Kept


@dataclass(frozen=True)
class EndUpload:
    """No more objects come with a request."""

    request: str
    answer: ClassVar = bool


@dataclass(eq=False)
class _Upload:
    """A request that brings objects."""

    tally: Tally
    keeping: int = 0
    """Objects that are being kept right now."""
    has_ended: bool = False


class Uploads:
    """Keeps what the process that listens to HTTP hands over; for any thread."""

    def __init__(
        self,
        files: SpoolFiles,
        *,
        called_ae: str,
        keep: Callable[[Incoming], Answer],
        ended: Callable[[str], None],
    ) -> None:
        """Set up.

        Args:
            files: of the spool.
            called_ae: our AE title, which the sender means by our URL.
            keep: keeps one object, or says why not; see `Receiver.keep`.
            ended: told when a request that brought objects is over.
        """
        self._files = files
        self._called_ae = called_ae
        self._keep = keep
        self._ended = ended
        self._lock = threading.Lock()
        self._open: dict[str, _Upload] = {}
        self._over: deque[str] = deque(maxlen=_REMEMBERED)
        self.attendance = Attendance()
        """What came, in numbers; a request counts as an association."""
        self._next_sweep = time.monotonic() + _SWEEP_S

    def keep(self, request: KeepObject) -> Kept:
        """Keep one object; whatever goes wrong refuses it alone."""
        with self._lock:
            upload = self._open.get(request.request)
            if upload is None:
                upload = self._open[request.request] = _Upload(
                    self.attendance.begin(), has_ended=request.request in self._over
                )
            upload.keeping += 1
        try:
            return self._kept(request, upload.tally)
        finally:
            with self._lock:
                upload.keeping -= 1
            self._close(request.request, upload)

    def _kept(self, request: KeepObject, tally: Tally) -> Kept:
        file: IncomingFile | None = None
        size_bytes = 0
        try:
            file = uploads.take_over(self._files, request.name)
            size_bytes = file.data_bytes
            answer = self._refusal(request) or self._keep(self._incoming(request, file))
        except (DaePacsError, OSError, MemoryError) as error:
            answer = refusals.of_error(error, association=request.request)
        finally:
            if file is not None:
                file.discard()
        tally.answered(answer.status, size_bytes)
        return Kept(answer.status, answer.comment)

    def end(self, request: EndUpload) -> bool:
        """Hear that a request is over: a series that came with it may be complete.

        The console may give up waiting for an object and end its request while the object is still being
        kept, or before that: then the request is over when it is done, and its row goes before the end.
        """
        with self._lock:
            self._over.append(request.request)
            upload = self._open.get(request.request)
            if upload is None:
                return False
            upload.has_ended = True
        self._close(request.request, upload)
        return True

    def _close(self, request: str, upload: _Upload) -> None:
        with self._lock:
            is_over = upload.has_ended and not upload.keeping and self._open.get(request) is upload
            if is_over:
                del self._open[request]
        if is_over:
            self.attendance.end(upload.tally, "released")
            self._ended(request)

    def end_all(self) -> bool:
        """Hear that the process that listens to HTTP is gone: its requests are over, its files nobody's."""
        with self._lock:
            left = list(self._open)
        for request in left:
            self.end(EndUpload(request))
        self.sweep(older_than_s=0.0)
        return True

    def look(self) -> None:
        """Delete what was abandoned, now and then; cheap, and due at every tick."""
        now = time.monotonic()
        if now >= self._next_sweep:
            self._next_sweep = now + _SWEEP_S
            self.sweep()

    def sweep(self, *, older_than_s: float = uploads.ABANDONED_S) -> None:
        """Delete what a process that is no more has left."""
        try:
            count = uploads.sweep(self._files, older_than_s=older_than_s)
        except DaePacsError as error:
            logger.error("abandoned uploads not deleted", extra={"why": str(error)})  # noqa: TRY400
            return
        if count:
            logger.warning("abandoned uploads deleted", extra={"count": count})

    def _refusal(self, request: KeepObject) -> Answer | None:
        """Refuse what DIMSE would not have negotiated, or answered before its data set came."""
        for name, uid in (("Class", request.SOPClassUID), ("Instance", request.SOPInstanceUID)):
            fault = commands.uid_fault(uid)
            if fault:
                return self._refused(request, statuses.CANNOT_UNDERSTAND, f"SOP {name} UID is {fault}")
        if request.SOPClassUID not in STORAGE_SOP_CLASSES:
            return self._refused(request, statuses.CLASS_NOT_SUPPORTED, "not a storage SOP class we take")
        if request.transfer_syntax_uid not in TRANSFER_SYNTAXES:
            return self._refused(request, TRANSFER_SYNTAX_NOT_SUPPORTED, "transfer syntax not supported")
        return None

    @staticmethod
    def _refused(request: KeepObject, status: int, comment: str) -> Answer:
        answer = Answer(status, comment)
        refusals.record(answer, association=request.request)
        return answer

    def _incoming(self, request: KeepObject, file: IncomingFile) -> Incoming:
        return Incoming(
            calling_ae=request.account,
            called_ae=self._called_ae,
            address=request.address,
            association=request.request,
            SOPClassUID=request.SOPClassUID,
            SOPInstanceUID=request.SOPInstanceUID,
            transfer_syntax_uid=request.transfer_syntax_uid,
            file=file,
            warning=LEADING_ZERO if commands.has_leading_zero(request.SOPInstanceUID) else "",
        )
