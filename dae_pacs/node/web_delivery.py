"""Send objects to a DICOMweb service by STOW-RS, several to a request, each with a result of its own."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from dae_pacs import part10
from dae_pacs.config.model import Settings
from dae_pacs.dicomweb.client import DicomWeb, Service, StoreAnswer, ToStore, WebStatusError
from dae_pacs.dicomweb.storing import Stored
from dae_pacs.dimse import statuses
from dae_pacs.dimse.contexts import EXPLICIT_LITTLE_ENDIAN
from dae_pacs.dimse.outgoing import Outgoing, SendResult
from dae_pacs.dimse.statuses import Outcome
from dae_pacs.errors import ConfigError, InputError, NotDicomError, PeerError, PeerGoneError, ProtocolError
from dae_pacs.failpoints import reach
from dae_pacs.node.delivery import Destination
from dae_pacs.node.web_peers import service_of
from dae_pacs.part10 import FileMeta

_PIECE_BYTES: Final = 1 << 18
_UNSUPPORTED_SYNTAX: Final = 0xC122  # PS3.18 Table I.2-2: referenced transfer syntax not supported
_UNSUPPORTED_MEDIA: Final = 415

OnResult = Callable[[SendResult], None]


@dataclass(frozen=True)
class WebAddress:
    """A DICOMweb service, as the audit trail names it."""

    url: str
    ae_title: str = ""

    @property
    def host(self) -> str:
        """Where it is."""
        return str(urlsplit(self.url).hostname)


def web_destinations_of(settings: Settings) -> list[Destination]:
    """List the configured DICOMweb services as destinations of deliveries.

    Raises:
        ConfigError: a file of a password, token or certificate can't be used.
    """
    return [
        Destination(
            name=name,
            peer=WebAddress(peer.url),
            associations=peer.connections,
            breaker_after=settings.delivery.breaker_after,
            send=WebSender(
                service_of(name, peer, settings.tls), batch=peer.batch, batch_bytes=peer.batch_mb * 1_000_000
            ),
        )
        for name, peer in settings.web_peers.items()
    ]


@dataclass(frozen=True)
class WebSender:
    """Sends to one service; called as `dimse.scu.send` is, from several threads if need be."""

    service: Service
    batch: int
    """Objects of one request, at most."""
    batch_bytes: int

    def __call__(
        self, files: Sequence[Outgoing], *, on_result: OnResult, may_go_on: Callable[[], bool]
    ) -> None:
        """Send objects; every one gets exactly one result, unless it raises before the first.

        Raises:
            PeerError: the service can't be reached, or takes nothing now, and no result was given.
        """
        left = {item.path: item for item in files}

        def tell(result: SendResult) -> None:
            left.pop(result.outgoing.path, None)
            on_result(result)

        try:
            with DicomWeb(self.service) as pacs:
                for group in self._groups(files):
                    if not may_go_on():
                        break
                    reach("send.storing")
                    for result in _store(pacs, group):
                        tell(result)
            _leave(list(left.values()), "the sending was stopped", on_result, has_broken=False)
        except ConfigError as error:
            raise PeerError(str(error)) from error
        except PeerError as error:
            if len(left) == len(files):
                raise
            _leave(list(left.values()), str(error), on_result, has_broken=True)

    def _groups(self, files: Sequence[Outgoing]) -> Iterator[list[Outgoing]]:
        group: list[Outgoing] = []
        size = 0
        for item in files:
            own = _size_of(item)
            if group and (len(group) >= self.batch or size + own > self.batch_bytes):
                yield group
                group, size = [], 0
            group.append(item)
            size += own
        if group:
            yield group


def _leave(left: Sequence[Outgoing], words: str, on_result: OnResult, *, has_broken: bool) -> None:
    for item in left:
        on_result(SendResult(item, Outcome.RETRY, None, words, was_tried=False, has_broken=has_broken))


def _store(pacs: DicomWeb, group: Sequence[Outgoing]) -> Iterator[SendResult]:
    """Send some objects in one request; where it is refused as a whole, each in one of its own.

    Raises:
        PeerError: the service takes nothing now; of objects that had no result yet, none was judged.
    """
    ready: list[tuple[Outgoing, ToStore]] = []
    for item in group:
        made = _ready(item, item.path, item.transfer_syntax_uid)
        if isinstance(made, SendResult):
            yield made
        else:
            ready.append((item, made))
    if not ready:
        return
    started = time.monotonic()
    try:
        answer = pacs.store([made for _, made in ready])
    except WebStatusError as error:
        if error.is_passing:
            raise
        if len(ready) > 1:
            for item, _ in ready:
                yield from _store(pacs, [item])
            return
        yield _refused(pacs, ready[0][0], error)
        return
    except (PeerGoneError, ProtocolError) as error:
        # The service may hold all, some or none of them; and one of them may be what it broke over.
        for item, _ in ready:
            yield SendResult(item, Outcome.RETRY, None, str(error), has_broken=True)
        return
    seconds = (time.monotonic() - started) / len(ready)
    for item, made in ready:
        result = replace(_judged(item, answer), size_bytes=made.size_bytes, seconds=seconds)
        yield _plain(pacs, result) if result.status == _UNSUPPORTED_SYNTAX else result


def _judged(item: Outgoing, answer: StoreAnswer) -> SendResult:
    said = [one for one in answer.stored if one.SOPInstanceUID == item.SOPInstanceUID]
    if not said and answer.status == 200 and not answer.stored:
        return SendResult(
            item, Outcome.WARNING, statuses.SUCCESS, "stored, though its answer names no objects"
        )
    if not said:
        words = f"HTTP status {answer.status}, and its answer does not name the object"
        return SendResult(
            item, Outcome.RETRY, None, words, answer=f"answered with HTTP status {answer.status}"
        )
    one = min(said, key=lambda entry: entry.failure is None)  # a failure, if there are both
    return _told(item, one)


def _told(item: Outgoing, one: Stored) -> SendResult:
    status = one.failure if one.failure is not None else (one.warning or statuses.SUCCESS)
    outcome = statuses.classify(status)
    if one.failure is None and outcome not in (Outcome.SENT, Outcome.WARNING):
        outcome = Outcome.WARNING  # it is kept there, whatever it finds odd about it
    if one.failure == statuses.SUCCESS:
        outcome, status = Outcome.DEAD, statuses.PROCESSING_FAILURE  # failed, without a reason
    return SendResult(item, outcome, status, statuses.describe(status))


def _refused(pacs: DicomWeb, item: Outgoing, error: WebStatusError) -> SendResult:
    """Judge an object whose own request was refused as a whole."""
    result = SendResult(
        item, Outcome.DEAD, None, str(error), answer=f"answered with HTTP status {error.status}"
    )
    return _plain(pacs, result) if error.status == _UNSUPPORTED_MEDIA else result


def _plain(pacs: DicomWeb, refused: SendResult) -> SendResult:
    """Send an object's uncompressed copy, where there may be one, since its own form is not taken."""
    item = refused.outgoing
    make = item.copies.get(EXPLICIT_LITTLE_ENDIAN)
    if make is None:
        return refused
    with ExitStack() as stack:
        try:
            made = _ready(item, stack.enter_context(make()), EXPLICIT_LITTLE_ENDIAN)
            return made if isinstance(made, SendResult) else _judged(item, pacs.store([made]))
        except InputError as error:
            words = f"its form is not taken, and no copy can be made: {error}"
            return SendResult(item, Outcome.DEAD, refused.status, words, answer=refused.answer)
        except OSError as error:
            words = f"no copy can be written: {error.strerror or type(error).__name__}"
        except (PeerGoneError, ProtocolError) as error:
            return SendResult(item, Outcome.RETRY, None, str(error), has_broken=True)
        except WebStatusError as error:
            if error.is_passing:
                raise
            return refused
        return SendResult(item, Outcome.RETRY, None, words)
    raise RuntimeError("unreachable")  # an ExitStack swallows nothing of ours


def _ready(item: Outgoing, path: Path, transfer_syntax_uid: str) -> ToStore | SendResult:
    """Look at an object's file: what goes out is its data set as it is, behind a meta group of our own."""
    expected = FileMeta(item.SOPClassUID, item.SOPInstanceUID, transfer_syntax_uid)
    try:
        with path.open("rb") as file:
            found, start = part10.read(file), file.tell()
            size = os.fstat(file.fileno()).st_size
    except FileNotFoundError:
        return SendResult(item, Outcome.DEAD, None, f"the file {path.name} is gone")
    except NotDicomError as error:
        return SendResult(item, Outcome.DEAD, None, f"the file {path.name} can't be sent: {error}")
    except OSError as error:
        words = f"the file {path.name} can't be read: {error.strerror}"
        return SendResult(item, Outcome.RETRY, None, words)
    if found != expected:
        words = f"the file {path.name} can't be sent: its meta information names another object than expected"
        return SendResult(item, Outcome.DEAD, None, words)
    head = part10.encode(expected)
    return ToStore(len(head) + size - start, lambda: _pieces(head, path, start))


def _pieces(head: bytes, path: Path, start: int) -> Iterator[bytes]:
    yield head
    with path.open("rb") as file:
        file.seek(start)
        while piece := file.read(_PIECE_BYTES):
            yield piece


def _size_of(item: Outgoing) -> int:
    try:
        return item.path.stat().st_size
    except OSError:
        return 0
