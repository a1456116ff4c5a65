"""One object on its way out: what it is, the copies that may go in its place, and how it is made ready."""

import os
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from pydicom.uid import UID

from dae_pacs import part10
from dae_pacs.dimse import negotiation
from dae_pacs.dimse.proposal import Context
from dae_pacs.dimse.requestor import Requestor
from dae_pacs.dimse.statuses import Outcome
from dae_pacs.errors import InputError, NotDicomError

MakeCopy = Callable[[], AbstractContextManager[Path]]
"""Makes a Part 10 file of the object in another transfer syntax, for as long as the context is open."""


@dataclass(frozen=True)
class Outgoing:
    """One object to send: a Part 10 file, and what it is."""

    path: Path
    SOPClassUID: str
    SOPInstanceUID: str
    transfer_syntax_uid: str
    copies: Mapping[str, MakeCopy] = field(default_factory=dict, compare=False)
    """By transfer syntax, what may go in its place where the peer does not take the object's own; the best
    first. Without any, the object goes out as it is or not at all."""

    @property
    def context(self) -> Context:
        """The presentation context that it needs: its bytes go out as they stand."""
        return self.SOPClassUID, self.transfer_syntax_uid

    @property
    def contexts(self) -> tuple[Context, ...]:
        """What is proposed for it: its own context, and those for its copies."""
        syntaxes = dict.fromkeys((self.transfer_syntax_uid, *self.copies))
        return tuple((self.SOPClassUID, syntax) for syntax in syntaxes)


@dataclass(frozen=True)
class SendResult:
    """What became of one object."""

    outgoing: Outgoing
    outcome: Outcome
    status: int | None
    """The peer's C-STORE status, None where it gave none."""
    message: str
    was_tried: bool = True
    """Whether it had its turn; not where the association had ended before."""
    has_broken: bool = False
    """Whether the association broke under it: the peer may or may not hold it."""
    answer: str = ""
    """How the peer answered, where it has no C-STORE status to say so; without words of its own."""
    size_bytes: int = 0
    """Of the data set that went out."""
    seconds: float = 0.0
    """From its first byte to its answer."""


def outgoing(path: Path) -> Outgoing:
    """Describe a Part 10 file for sending, from its file meta information.

    Raises:
        NotDicomError: it is no Part 10 file, or its meta information does not name the object.
        OSError: it can't be read.
    """
    with path.open("rb") as file:
        meta = part10.read(file)
    if not meta.SOPClassUID or not meta.SOPInstanceUID:
        raise NotDicomError(
            "file meta information without Media Storage SOP Class or Instance UID (0002,0002/3)"
        )
    return Outgoing(path, meta.SOPClassUID, meta.SOPInstanceUID, meta.transfer_syntax_uid)


@dataclass
class Ready:
    """An object whose file is open at its data set."""

    item: Outgoing
    context: Context
    file: BinaryIO
    size_bytes: int
    held: ExitStack
    """Closes the file, and takes a copy away."""


class Ahead:
    """Makes objects ready in their order, the next one while the peer still works on the last."""

    def __init__(self, requestor: Requestor, batch: Sequence[Outgoing]) -> None:
        self._requestor = requestor
        self._waiting = deque(batch)
        self._next: Ready | SendResult | None = None

    def look(self) -> None:
        """Make the next object ready, unless it is."""
        if self._next is None and self._waiting:
            self._next = _make_ready(self._requestor, self._waiting.popleft())

    def take(self) -> Ready | SendResult | None:
        """Give the next object, ready, or the result that it has since it can't be sent; None at the end."""
        self.look()
        taken, self._next = self._next, None
        return taken

    def leave(self) -> list[Outgoing]:
        """Give up, and list what was not taken."""
        left, self._next = self._next, None
        if isinstance(left, Ready):
            left.held.close()
        items = [*self._waiting]
        if left is not None:
            items.insert(0, left.item if isinstance(left, Ready) else left.outgoing)
        self._waiting.clear()
        return items


class _UnsendableError(Exception):
    """An object that can't go out; its own trouble, and the association goes on."""

    def __init__(self, outcome: Outcome, words: str) -> None:
        super().__init__(words)
        self.outcome = outcome


def _make_ready(requestor: Requestor, item: Outgoing) -> Ready | SendResult:
    """Open an object in its own transfer syntax if the peer takes that, else the first copy that it takes."""
    with ExitStack() as stack:
        try:
            context = _chosen(requestor, item)
            path = item.path if context == item.context else _copied(item, context, stack)
            file, size_bytes = _opened(item, path, context, stack)
        except _UnsendableError as error:
            return SendResult(item, error.outcome, None, str(error))
        return Ready(item, context, file, size_bytes, stack.pop_all())
    raise RuntimeError("unreachable")  # an ExitStack swallows nothing of ours


def _chosen(requestor: Requestor, item: Outgoing) -> Context:
    for context in item.contexts:
        if context in requestor.contexts:
            return context
    reason = requestor.refusals.get(item.context, "not accepted")
    raise _UnsendableError(
        Outcome.DEAD, f"{requestor.peer} does not take {negotiation.name(item.context)}: {reason}"
    )


def _copied(item: Outgoing, context: Context, stack: ExitStack) -> Path:
    try:
        return stack.enter_context(item.copies[context[1]]())
    except InputError as error:
        words = f"the peer takes it only in {UID(context[1]).name}, and no copy can be made: {error}"
        raise _UnsendableError(Outcome.DEAD, words) from error
    except OSError as error:
        words = f"no copy can be written: {error.strerror or type(error).__name__}"
        raise _UnsendableError(Outcome.RETRY, words) from error


def _opened(item: Outgoing, path: Path, context: Context, stack: ExitStack) -> tuple[BinaryIO, int]:
    name = item.path.name
    expected = part10.FileMeta(context[0], item.SOPInstanceUID, context[1])
    try:
        file = stack.enter_context(path.open("rb", buffering=0))
        return file, _data_set_bytes(file, expected)
    except NotDicomError as error:
        raise _UnsendableError(Outcome.DEAD, f"the file {name} can't be sent: {error}") from error
    except FileNotFoundError as error:
        raise _UnsendableError(Outcome.DEAD, f"the file {name} is gone") from error
    except OSError as error:
        raise _UnsendableError(Outcome.RETRY, f"the file {name} can't be read: {error.strerror}") from error


def _data_set_bytes(file: BinaryIO, expected: part10.FileMeta) -> int:
    """Leave the file at its data set and return that data set's length.

    Raises:
        NotDicomError: the file is not what it is said to be, so that it would go out under a false name.
    """
    if part10.read(file) != expected:
        raise NotDicomError(
            "its file meta information names another SOP class, SOP instance or transfer syntax than expected"
        )
    size_bytes = os.fstat(file.fileno()).st_size - file.tell()
    if not size_bytes:
        raise NotDicomError("it holds no data set")
    return size_bytes
