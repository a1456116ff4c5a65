"""The body of a Store request on its way into the spool: each part is handed to the node when it is whole.

Nothing here keeps an object: the process writes the bytes as they come and asks the node, which checks,
flushes and keeps them as it does those of a C-STORE (`node.uploads`). What is told to the sender is what the
node said.
"""

import logging
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from dae_pacs import part10
from dae_pacs.dicomweb import media, storing
from dae_pacs.dicomweb.multipart import Limits, Parser, PartBegin, PartData
from dae_pacs.dicomweb.part10_stream import Unwrapping
from dae_pacs.dicomweb.storing import Stored
from dae_pacs.errors import InputError, RequestError, ServiceError, SpoolError, SpoolFullError
from dae_pacs.image.header import Summary, read_header, summarise
from dae_pacs.node.uploads import EndUpload, KeepObject, Kept
from dae_pacs.spool.files import SpoolFiles
from dae_pacs.spool.incoming import IncomingFile
from dae_pacs.spool.uploads import open_upload

logger = logging.getLogger(__name__)

MOST_PARTS: Final = 10_000
"""Objects of one request: more than any series has that goes in one."""
LONGEST_TITLE: Final = 16
"""Characters of an AE title (PS3.5 6.2), which an account's name takes the place of."""
_LOOK_BYTES: Final = 64 << 20
"""How often, while one object is written, the room on the disk is looked at."""
_PATIENCE_S: Final = 30.0
_SLOWEST_BYTES_S: Final = 20e6
"""The node reads an upload once more before it answers; a slow disk gives so much."""


@dataclass(frozen=True)
class Bounds:
    """What an upload may take."""

    object_bytes: int
    object_s: float
    """From an object's first byte to its last."""
    free_mb: float
    """Room that must be left on the disk."""


@dataclass(frozen=True)
class Sender:
    """Who sends, and for which URL."""

    account: str
    address: str
    study: str = ""
    """Study Instance UID of the URL; "" where any will do."""

    @property
    def title(self) -> str:
        """What takes the place of the calling AE title: the account's name, or its beginning."""
        return self.account[:LONGEST_TITLE]


@dataclass
class _Arriving:
    """One part while it comes."""

    unwrapping: Unwrapping = field(default_factory=Unwrapping)
    file: IncomingFile | None = None
    started_at: float = field(default_factory=time.monotonic)
    size_bytes: int = 0
    next_look: int = 0
    failure: int | None = None
    words: str = ""

    def refuse(self, failure: int, words: str) -> None:
        """Take nothing more of it."""
        self.failure, self.words = failure, words
        self.drop()

    def drop(self) -> None:
        """Leave nothing of it in the spool."""
        file, self.file = self.file, None
        if file is not None:
            file.delete()


class Intake:
    """Takes one request's body; for one thread at a time."""

    def __init__(
        self,
        boundary: str,
        sender: Sender,
        *,
        files: SpoolFiles,
        ask: Callable[..., object],
        bounds: Bounds,
        called_ae: str,
    ) -> None:
        """Begin.

        Args:
            boundary: of the body's Content-Type.
            sender: who sends it.
            files: of the spool.
            ask: asks the node, as `web.desk.Desk.ask` does.
            bounds: what it may take.
            called_ae: our AE title.

        Raises:
            RequestError: it is no boundary.
        """
        self.request = secrets.token_hex(16)
        self.stored: list[Stored] = []
        self.studies: set[str] = set()
        """Study Instance UIDs of what was kept."""
        self._parser = Parser(boundary, Limits(parts=MOST_PARTS))
        self._sender = sender
        self._files = files
        self._ask = ask
        self._bounds = bounds
        self._called_ae = called_ae
        self._arriving: _Arriving | None = None

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the body.

        Raises:
            RequestError: it is no multipart message, or beyond its limits, or an object takes too long.
        """
        for event in self._parser.feed(data):
            match event:
                case PartBegin(headers):
                    self._begin(headers)
                case PartData(piece):
                    self._take(piece)
                case _:
                    self._end_part()

    def close(self) -> None:
        """Hear that the body is over.

        Raises:
            RequestError: it ended too early.
        """
        self._parser.close()

    def end(self) -> None:
        """Leave nothing half done, whatever happened, and tell the node that no more objects come."""
        arriving, self._arriving = self._arriving, None
        if arriving is not None:
            arriving.drop()
        try:
            self._ask(EndUpload(self.request), timeout_s=_PATIENCE_S)
        except ServiceError:
            logger.warning("the node did not hear that an upload ended", extra={"request": self.request})

    def _begin(self, headers: Mapping[str, str]) -> None:
        arriving = self._arriving = _Arriving()
        said = headers.get("content-type", "")
        try:
            kind = media.parse(said).name if said else media.DICOM
        except RequestError:
            kind = "?"
        if kind != media.DICOM:
            arriving.refuse(storing.CANNOT_UNDERSTAND, "a part that is not application/dicom")

    def _take(self, piece: bytes) -> None:
        arriving = self._current()
        if time.monotonic() - arriving.started_at > self._bounds.object_s:
            raise RequestError(f"an object took longer than {self._bounds.object_s:.0f} s to come")
        if arriving.failure is not None and arriving.unwrapping.meta is not None:
            return
        try:
            data = arriving.unwrapping.feed(piece)
            if data and arriving.failure is None:
                self._write(arriving, data)
        except InputError as error:
            arriving.refuse(storing.CANNOT_UNDERSTAND, str(error))
        except SpoolFullError:
            arriving.refuse(storing.OUT_OF_RESOURCES, "no room left in the spool")
        except SpoolError as error:
            logger.error("upload not written", extra={"why": str(error)})  # noqa: TRY400
            arriving.refuse(storing.OUT_OF_RESOURCES, "the spool can't keep the object")

    def _write(self, arriving: _Arriving, data: bytes) -> None:
        if arriving.size_bytes >= arriving.next_look:
            if self._files.free_mb() < self._bounds.free_mb:
                raise SpoolFullError("less room than node.minimum_free_mb asks for")
            arriving.next_look += _LOOK_BYTES
        arriving.size_bytes += len(data)
        if arriving.size_bytes > self._bounds.object_bytes:
            arriving.refuse(storing.OUT_OF_RESOURCES, "larger than this node takes")
            return
        if arriving.file is None:
            arriving.file = open_upload(self._files)
            meta = arriving.unwrapping.close()
            arriving.file.write(part10.encode(meta, calling_ae=self._sender.title, called_ae=self._called_ae))
        arriving.file.write(data)

    def _end_part(self) -> None:
        arriving = self._current()
        try:
            if arriving.failure is None:
                self._hand_over(arriving)
        except InputError as error:
            arriving.refuse(storing.CANNOT_UNDERSTAND, str(error))
        except SpoolError as error:
            logger.error("upload not handed over", extra={"why": str(error)})  # noqa: TRY400
            arriving.refuse(storing.OUT_OF_RESOURCES, "the spool can't keep the object")
        except ServiceError as error:
            logger.error("upload not kept", extra={"why": str(error)})  # noqa: TRY400
            arriving.refuse(storing.OUT_OF_RESOURCES, "the node does not answer")
        if arriving.failure is not None:
            self._note_failure(arriving)
        self._arriving = None

    def _hand_over(self, arriving: _Arriving) -> None:
        """Have the node keep what has come whole; note its answer.

        Raises:
            NotDicomError: there is nothing of it but a beginning.
            ServiceError: the node does not answer.
            SpoolError: the disk refuses.
        """
        meta, file = arriving.unwrapping.close(), arriving.file
        if file is None:
            arriving.refuse(storing.CANNOT_UNDERSTAND, "no data set")
            return
        if arriving.size_bytes > _LOOK_BYTES:
            file.flush()  # here, where it holds up nobody; what is smaller the node flushes
        summary = _summary(file)
        if self._sender.study and summary is not None and summary.StudyInstanceUID != self._sender.study:
            arriving.refuse(storing.OTHER_STUDY, "of another study than the one of the URL")
            return
        file.close()
        kept = self._ask(
            KeepObject(
                name=file.path.name,
                account=self._sender.title,
                address=self._sender.address,
                request=self.request,
                SOPClassUID=meta.SOPClassUID,
                SOPInstanceUID=meta.SOPInstanceUID,
                transfer_syntax_uid=meta.transfer_syntax_uid,
            ),
            timeout_s=_PATIENCE_S + arriving.size_bytes / _SLOWEST_BYTES_S,
        )
        if not isinstance(kept, Kept):
            raise ServiceError("the node answered with something else")
        if kept.status:
            arriving.refuse(kept.status, kept.comment)
            return
        study = summary.StudyInstanceUID if summary else ""
        series = summary.SeriesInstanceUID if summary else ""
        self.studies.add(study)
        self.stored.append(
            Stored(meta.SOPClassUID, meta.SOPInstanceUID, retrieve_url=_path(study, series, meta))
        )

    def _note_failure(self, arriving: _Arriving) -> None:
        meta = arriving.unwrapping.meta
        self.stored.append(
            Stored(
                meta.SOPClassUID if meta else "",
                meta.SOPInstanceUID if meta else "",
                failure=arriving.failure,
                words=arriving.words,
            )
        )
        fields = {"request": self.request, "status": f"{arriving.failure:04X}", "reason": arriving.words}
        logger.warning("upload refused", extra=fields)

    def _current(self) -> _Arriving:
        if self._arriving is None:
            raise RequestError("the message is broken: bytes between its parts")
        return self._arriving


def _summary(file: IncomingFile) -> Summary | None:
    """Sum up what has come; None where only the node can say why it can't be read."""
    try:
        with file.reading() as arrived:
            return summarise(read_header(arrived))
    except InputError:
        return None


def _path(study: str, series: str, meta: part10.FileMeta) -> str:
    if not (study and series):
        return ""
    return f"/studies/{study}/series/{series}/instances/{meta.SOPInstanceUID}"
