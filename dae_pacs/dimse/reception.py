"""One object on its way from the socket into the spool file, and what is answered at its end."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

from dae_pacs import part10
from dae_pacs.dimse import commands, refusals, statuses
from dae_pacs.dimse.acceptor import Context
from dae_pacs.dimse.attendance import Tally
from dae_pacs.dimse.commands import Command
from dae_pacs.dimse.refusals import Answer
from dae_pacs.errors import DaePacsError

logger = logging.getLogger(__name__)

T = TypeVar("T")

_LEADING_ZERO: Final = "SOP Instance UID with a leading zero in a component, which PS3.5 9.1 forbids"


class SpoolFile(Protocol):
    """Where one arriving object goes: first its file meta in one write, then the data set's raw bytes."""

    def write(self, data: bytes | memoryview, /) -> object:
        """Append bytes; a view is valid only for the time of the call."""
        ...

    def discard(self) -> None:
        """Drop the file; harmless when repeated, and when `keep` has already settled it."""
        ...


@dataclass(frozen=True)
class Caller:
    """Who sends, and over which association."""

    calling_ae: str
    called_ae: str
    address: str
    association: str
    """A random identifier of the association, in hexadecimal."""


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
    warning: str = ""
    """What is odd about the command, though no reason to refuse it; worth keeping with the object."""


@dataclass(frozen=True)
class Store:
    """What a reception needs from its node."""

    open_file: Callable[[], SpoolFile]
    keep: Callable[[Incoming], Answer]
    max_object_bytes: int


class Reception:
    """One C-STORE's data set: written as it comes, or counted only once it is refused."""

    def __init__(
        self, store: Store, caller: Caller, *, command: Command, context: Context, tally: Tally
    ) -> None:
        """Open a file for the object, unless its command is to be refused already."""
        self._store = store
        self._caller = caller
        self._tally = tally
        self._meta = part10.FileMeta(
            context.sop_class_uid, command.sop_instance_uid, context.transfer_syntax_uid
        )
        self._file: SpoolFile | None = None
        self._size_bytes = 0
        self._warning = _LEADING_ZERO if commands.has_leading_zero(command.sop_instance_uid) else ""
        self._refusal: Answer | None = None
        refusal = refusals.of_command(command, context)
        if refusal is None:
            self._attempt(self._open)
        else:
            self._refuse(refusal)

    def _open(self) -> None:
        self._file = self._store.open_file()
        self._file.write(
            part10.encode(self._meta, calling_ae=self._caller.calling_ae, called_ae=self._caller.called_ae)
        )

    def write(self, data: memoryview) -> None:
        """Take the next bytes of the data set; what is refused is dropped at once, the rest passed over."""
        self._size_bytes += len(data)
        file = self._file
        if file is None:
            return
        if self._size_bytes > self._store.max_object_bytes:
            self._refuse(Answer(statuses.OUT_OF_RESOURCES, "larger than this node takes"))
        else:
            self._attempt(lambda: file.write(data))

    def finish(self) -> Answer:
        """Have the object kept and say what to answer; on stable storage where that is success."""
        answer = self._kept()
        self._tally.answered(answer.status, self._size_bytes)
        return answer

    def _kept(self) -> Answer:
        file = self._file
        if file is not None and not self._size_bytes:
            self._refuse(Answer(statuses.CANNOT_UNDERSTAND, "no data set"))
        elif file is not None:
            answer = self._attempt(lambda: self._store.keep(self._incoming(file)))
            if answer is not None:
                return answer
        return self._refusal or Answer(statuses.PROCESSING_FAILURE)

    def _attempt(self, step: Callable[[], T]) -> T | None:
        """Do a step for the object; whatever goes wrong refuses it, and the association goes on."""
        try:
            return step()
        # Whatever it is: the object is a stranger's, and what it breaks must not end the association, whose
        # other objects are as good as before.
        except Exception as error:  # noqa: BLE001
            self._refusal = refusals.of_error(error, association=self._caller.association)
            self.drop()
            return None

    def _refuse(self, answer: Answer) -> None:
        self._refusal = answer
        refusals.record(answer, association=self._caller.association)
        self.drop()

    def drop(self) -> None:
        """Leave nothing of the object behind; harmless when it was kept."""
        file, self._file = self._file, None
        if file is None:
            return
        try:
            file.discard()
        except (DaePacsError, OSError) as error:
            logger.warning("incoming file not discarded", extra={"error": type(error).__name__})

    def _incoming(self, file: SpoolFile) -> Incoming:
        return Incoming(
            calling_ae=self._caller.calling_ae,
            called_ae=self._caller.called_ae,
            address=self._caller.address,
            association=self._caller.association,
            SOPClassUID=self._meta.SOPClassUID,
            SOPInstanceUID=self._meta.SOPInstanceUID,
            transfer_syntax_uid=self._meta.transfer_syntax_uid,
            file=file,
            warning=self._warning,
        )
