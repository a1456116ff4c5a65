"""The storage and verification SCU: many objects over one association, each result told at once."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO

from dae_pacs.dimse import negotiation, part10, statuses
from dae_pacs.dimse.addresses import PeerAddress, parse_peer
from dae_pacs.dimse.contexts import EXPLICIT_LITTLE_ENDIAN
from dae_pacs.dimse.requestor import Requestor, associate
from dae_pacs.dimse.statuses import Outcome
from dae_pacs.errors import InputError, NotDicomError, PeerError
from dae_pacs.failpoints import reach

__all__ = ["Outcome", "Outgoing", "PeerAddress", "SendResult", "echo", "outgoing", "parse_peer", "send"]

_MAX_CONTEXTS = 128  # PS3.8 9.3.2.2: context IDs are the odd numbers from 1 to 255


@dataclass(frozen=True)
class Outgoing:
    """One object to send: a Part 10 file, and what it is."""

    path: Path
    SOPClassUID: str
    SOPInstanceUID: str
    transfer_syntax_uid: str
    plain_copy: Callable[[], AbstractContextManager[Path]] | None = field(default=None, compare=False)
    """Makes a copy in explicit VR little endian for as long as the context is open; None where the object
    goes out as it is or not at all. Used only when the peer does not take the object's own syntax."""

    @property
    def context(self) -> negotiation.Context:
        """The presentation context that it needs: its bytes go out as they stand."""
        return self.SOPClassUID, self.transfer_syntax_uid

    @property
    def contexts(self) -> tuple[negotiation.Context, ...]:
        """What is proposed for it: its own context, and the one for a plain copy."""
        if self.plain_copy is None or self.transfer_syntax_uid == EXPLICIT_LITTLE_ENDIAN:
            return (self.context,)
        return self.context, (self.SOPClassUID, EXPLICIT_LITTLE_ENDIAN)


@dataclass(frozen=True)
class SendResult:
    """What became of one object."""

    outgoing: Outgoing
    outcome: Outcome
    status: int | None
    """The peer's C-STORE status, None where it gave none."""
    message: str


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


def send(
    peer: PeerAddress,
    files: Sequence[Outgoing],
    *,
    calling_ae: str,
    on_result: Callable[[SendResult], None],
) -> None:
    """Send objects over one association (over several if they need more than 128 presentation contexts).

    Every object gets exactly one result. When the association breaks, the object under way and those after it
    get the outcome retry; a missing answer counts as a break, since the peer may or may not hold the object.

    Args:
        peer: to whom.
        files: what; each goes out in its own transfer syntax, undecoded, or as the plain copy that it offers.
        calling_ae: our AE title.
        on_result: called in this thread, before the next object is sent.

    Raises:
        PeerError: no association could be made, and no result was given.
    """
    for number, batch in enumerate(_batches(files)):
        contexts = list(dict.fromkeys(context for item in batch for context in item.contexts))
        with ExitStack() as stack:
            try:
                requestor = stack.enter_context(associate(peer, calling_ae=calling_ae, contexts=contexts))
            except PeerError as error:
                if number == 0:
                    raise
                for item in batch:
                    on_result(SendResult(item, Outcome.RETRY, None, str(error)))
                continue
            for result in _results(requestor, batch):
                on_result(result)


def _batches(files: Sequence[Outgoing]) -> Iterator[list[Outgoing]]:
    """Split files, in their order, so that each part fits into one association's presentation contexts."""
    batch: list[Outgoing] = []
    contexts: set[negotiation.Context] = set()
    for item in files:
        if len(contexts.union(item.contexts)) > _MAX_CONTEXTS:
            yield batch
            batch, contexts = [], set()
        batch.append(item)
        contexts.update(item.contexts)
    if batch:
        yield batch


def _results(requestor: Requestor, batch: Sequence[Outgoing]) -> Iterator[SendResult]:
    broken = ""
    for item in batch:
        if broken:
            yield SendResult(item, Outcome.RETRY, None, f"not sent: {broken}")
            continue
        try:
            result = _send_one(requestor, item)
        except PeerError as error:
            broken = str(error)
            result = SendResult(item, Outcome.RETRY, None, broken)
        yield result


def _send_one(requestor: Requestor, item: Outgoing) -> SendResult:
    """Send one object in its own transfer syntax if the peer takes that, else its plain copy.

    Raises:
        PeerError: the association broke.
    """
    if item.context in requestor.contexts:
        return _send_file(requestor, item)
    if item.plain_copy is None or item.contexts[-1] not in requestor.contexts:
        reason = requestor.refusals.get(item.context, "not accepted")
        words = f"{requestor.peer} does not take {negotiation.name(item.context)}: {reason}"
        return SendResult(item, Outcome.DEAD, None, words)
    try:
        with item.plain_copy() as path:
            plain = replace(item, path=path, transfer_syntax_uid=EXPLICIT_LITTLE_ENDIAN)
            return replace(_send_file(requestor, plain), outgoing=item)
    except InputError as error:
        return SendResult(item, Outcome.DEAD, None, f"no uncompressed copy can be made: {error}")
    except OSError as error:
        words = f"no uncompressed copy can be written: {error.strerror or type(error).__name__}"
        return SendResult(item, Outcome.RETRY, None, words)


def _send_file(requestor: Requestor, item: Outgoing) -> SendResult:
    """Send one file as it is; one that can't be used is its own trouble, and the association goes on.

    Raises:
        PeerError: the association broke.
    """
    try:
        file = item.path.open("rb", buffering=0)
    except FileNotFoundError:
        return SendResult(item, Outcome.DEAD, None, f"the file {item.path.name} is gone")
    except OSError as error:
        return SendResult(
            item, Outcome.RETRY, None, f"the file {item.path.name} can't be opened: {error.strerror}"
        )
    with file:
        try:
            size_bytes = _data_set_bytes(file, item)
        except NotDicomError as error:
            return SendResult(item, Outcome.DEAD, None, f"the file {item.path.name} can't be sent: {error}")
        except OSError as error:
            return SendResult(
                item, Outcome.RETRY, None, f"the file {item.path.name} can't be read: {error.strerror}"
            )
        reach("send.storing")
        response = requestor.store(item.context, item.SOPInstanceUID, file=file, size_bytes=size_bytes)
    outcome = statuses.classify(response.status)
    comment = f": {response.comment}" if response.comment else ""
    return SendResult(item, outcome, response.status, f"{statuses.describe(response.status)}{comment}")


def _data_set_bytes(file: BinaryIO, item: Outgoing) -> int:
    """Leave the file at its data set and return that data set's length.

    Raises:
        NotDicomError: the file is not what it is said to be, so that it would go out under a false name.
    """
    meta = part10.read(file)
    expected = part10.FileMeta(item.SOPClassUID, item.SOPInstanceUID, item.transfer_syntax_uid)
    if meta != expected:
        raise NotDicomError(
            "its file meta information names another SOP class, SOP instance or transfer syntax than expected"
        )
    size_bytes = os.fstat(file.fileno()).st_size - file.tell()
    if not size_bytes:
        raise NotDicomError("it holds no data set")
    return size_bytes


def echo(peer: PeerAddress, *, calling_ae: str) -> float:
    """Verify a peer with a C-ECHO (PS3.4 A) and return the seconds from connecting to its answer.

    Raises:
        PeerError: it can't be reached, refuses, does not answer, or answers with another status than success.
    """
    started = time.monotonic()
    with associate(peer, calling_ae=calling_ae, contexts=[negotiation.ECHO]) as requestor:
        response = requestor.echo()
        seconds = time.monotonic() - started
    if response.status != statuses.SUCCESS:
        raise PeerError(f"{peer} answered the C-ECHO with {statuses.describe(response.status)}")
    return seconds
