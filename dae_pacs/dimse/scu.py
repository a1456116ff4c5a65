"""The storage and verification SCU: many objects over one association, each result told at once."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack

from dae_pacs.dimse import negotiation, statuses
from dae_pacs.dimse.addresses import PeerAddress, parse_peer
from dae_pacs.dimse.outgoing import Ahead, MakeCopy, Outgoing, Ready, SendResult, outgoing
from dae_pacs.dimse.proposal import Context
from dae_pacs.dimse.requestor import Requestor, associate
from dae_pacs.dimse.statuses import Outcome
from dae_pacs.errors import PeerError
from dae_pacs.failpoints import reach

__all__ = [
    "MakeCopy",
    "Outcome",
    "Outgoing",
    "PeerAddress",
    "SendResult",
    "echo",
    "outgoing",
    "parse_peer",
    "send",
]

_MAX_CONTEXTS = 128  # PS3.8 9.3.2.2: context IDs are the odd numbers from 1 to 255


def send(
    peer: PeerAddress,
    files: Sequence[Outgoing],
    *,
    calling_ae: str,
    on_result: Callable[[SendResult], None],
    may_go_on: Callable[[], bool] = lambda: True,
) -> None:
    """Send objects over one association (over several if they need more than 128 presentation contexts).

    Every object gets exactly one result. When the association breaks, the object under way and those after it
    get the outcome retry; a missing answer counts as a break, since the peer may or may not hold the object.

    Args:
        peer: to whom.
        files: what; each goes out in its own transfer syntax, undecoded, or as a copy that it offers.
        calling_ae: our AE title.
        on_result: called in this thread, before the next object is sent.
        may_go_on: asked before each object; once it says no, the rest is not sent.

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
                _leave(batch, str(error), on_result)
                continue
            _send_batch(requestor, batch, on_result=on_result, may_go_on=may_go_on)


def _batches(files: Sequence[Outgoing]) -> Iterator[list[Outgoing]]:
    """Split files, in their order, so that each part fits into one association's presentation contexts."""
    batch: list[Outgoing] = []
    contexts: set[Context] = set()
    for item in files:
        if len(contexts.union(item.contexts)) > _MAX_CONTEXTS:
            yield batch
            batch, contexts = [], set()
        batch.append(item)
        contexts.update(item.contexts)
    if batch:
        yield batch


def _send_batch(
    requestor: Requestor,
    batch: Sequence[Outgoing],
    *,
    on_result: Callable[[SendResult], None],
    may_go_on: Callable[[], bool],
) -> None:
    ahead = Ahead(requestor, batch)
    try:
        while may_go_on():
            current = ahead.take()
            if current is None:
                return
            if isinstance(current, Ready):
                with current.held:
                    current = _sent(requestor, current, ahead)
            on_result(current)
            if requestor.is_broken:
                _leave(ahead.leave(), current.message, on_result)
                return
        _leave(ahead.leave(), "the sending was stopped", on_result)
    finally:
        ahead.leave()


def _sent(requestor: Requestor, ready: Ready, ahead: Ahead) -> SendResult:
    """Send one object, and have the next one made ready while the peer works on its answer."""
    reach("send.storing")
    started = time.monotonic()
    try:
        response = requestor.store(
            ready.context,
            ready.item.SOPInstanceUID,
            file=ready.file,
            size_bytes=ready.size_bytes,
            meanwhile=ahead.look,
        )
    except PeerError as error:
        return SendResult(ready.item, Outcome.RETRY, None, str(error), has_broken=True)
    comment = f": {response.comment}" if response.comment else ""
    words = f"{statuses.describe(response.status)}{comment}"
    return SendResult(
        ready.item,
        statuses.classify(response.status),
        response.status,
        words,
        size_bytes=ready.size_bytes,
        seconds=time.monotonic() - started,
    )


def _leave(items: Sequence[Outgoing], why: str, on_result: Callable[[SendResult], None]) -> None:
    for item in items:
        on_result(SendResult(item, Outcome.RETRY, None, f"not sent: {why}", was_tried=False))


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
