"""Ask a peer what it has: C-FIND as its user (PS3.4 Annex C), with bounds on all that a peer may answer.

Study Root is asked for; Patient Root where a peer has nothing else.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Literal

from dae_pacs.dimse import commands, identifiers, retrieval_statuses, statuses
from dae_pacs.dimse.addresses import PeerAddress
from dae_pacs.dimse.commands import Reply
from dae_pacs.dimse.contexts import EXPLICIT_LITTLE_ENDIAN, IMPLICIT_LITTLE_ENDIAN
from dae_pacs.dimse.identifiers import UTF_8, Keys
from dae_pacs.dimse.proposal import Context
from dae_pacs.dimse.requestor import Requestor, associate
from dae_pacs.errors import PeerError, ProtocolError

STUDY_ROOT_FIND: Final = "1.2.840.10008.5.1.4.1.2.2.1"  # PS3.4 C.6.2.3
PATIENT_ROOT_FIND: Final = "1.2.840.10008.5.1.4.1.2.1.1"  # PS3.4 C.6.1.3
_SYNTAXES: Final = (EXPLICIT_LITTLE_ENDIAN, IMPLICIT_LITTLE_ENDIAN)
_CONTEXTS: Final[tuple[Context, ...]] = tuple(
    (model, syntax) for model in (STUDY_ROOT_FIND, PATIENT_ROOT_FIND) for syntax in _SYNTAXES
)
_CANCEL_S: Final = 5.0
"""For the next answer to what was cancelled; then the association is aborted."""
_DRAIN_S: Final = 60.0
"""For all answers that C-CANCEL crosses on the wire: a peer may have thousands in line. They are dropped."""
_LONGEST_TEXT: Final = 1024
"""Of one element: a peer must not fill our memory with a name."""
_LOOK_S: Final = 0.5
"""How often we look whether a query is still wanted."""


class FindRefusedError(PeerError):
    """A peer answered a query with a status that is no success."""

    def __init__(self, message: str, *, status: int) -> None:
        """Keep the words and the status."""
        super().__init__(message)
        self.status = status

    @property
    def is_about_query(self) -> bool:
        """Whether the peer objects to what is asked for, and so will another time."""
        return self.status & 0xFF00 == statuses.MISMATCH or self.status & 0xF000 == statuses.CANNOT_UNDERSTAND

    @property
    def may_spare_others(self) -> bool:
        """Whether the peer refuses this query for now, and perhaps no other: a patient is protected, say."""
        return self.status == statuses.NOT_AUTHORIZED or self.status & 0xFF00 == statuses.OUT_OF_RESOURCES


Level = Literal["PATIENT", "STUDY", "SERIES", "IMAGE"]


@dataclass(frozen=True)
class Bounds:
    """What one query may cost us."""

    most: int = 2000
    """Matches that are kept; then the query is cancelled."""
    silence_s: float = 60.0
    """For the next answer."""
    seconds: float = 600.0
    """For all of them."""


@dataclass(frozen=True)
class Matches:
    """What a peer answered."""

    found: tuple[Mapping[str, str], ...]
    """Of each match the elements that were asked for, by keyword; "" for those that it leaves out."""
    is_cut: bool = False
    """Whether the peer had more than we take."""


class Finder:
    """An association over which a peer is asked what it has; for one thread."""

    def __init__(
        self, requestor: Requestor, context: Context, *, character_set: str, may_go_on: Callable[[], bool]
    ) -> None:
        """Wrap an association; `finder` makes it."""
        self._requestor = requestor
        self._context = context
        self._character_set = character_set
        self._may_go_on = may_go_on
        self.is_patient_root = context[0] == PATIENT_ROOT_FIND
        self.sop_class_uid = context[0]
        self.transfer_syntax_uid = context[1]

    def identifier(self, level: Level, keys: Keys) -> bytes:
        """Write the identifier of a query, as `find` does.

        Raises:
            ConfigError: the character set can't hold a value.
        """
        asked = {"QueryRetrieveLevel": level, **keys}
        return identifiers.encode(asked, is_explicit=self._is_explicit, character_set=self._character_set)

    @property
    def _is_explicit(self) -> bool:
        return self._context[1] == EXPLICIT_LITTLE_ENDIAN

    def find(self, level: Level, keys: Keys, bounds: Bounds) -> Matches:
        """Ask for what matches; the peer is told to stop where it answers more than the bounds allow.

        Args:
            level: of the matches.
            keys: by keyword what must match, with * and ? in texts (PS3.4 C.2.2.2.4), "" where it is only
                to be told.
            bounds: what it may cost.

        Raises:
            PeerError: the association broke, the peer refuses, or it does not answer in time.
            ConfigError: the character set can't hold a value.
        """
        requestor, context, field = self._requestor, self._context, commands.C_FIND_RQ
        message_id = requestor.query(field, context, self.identifier(level, keys))
        ends_by = time.monotonic() + bounds.seconds
        silent_until = time.monotonic() + bounds.silence_s
        found: list[Mapping[str, str]] = []
        cut_off_at: float | None = None  # once it is cancelled
        while True:
            now = time.monotonic()
            if cut_off_at is None and (now > ends_by or not self._may_go_on()):
                requestor.cancel(context, message_id)
                cut_off_at, silent_until = now + _DRAIN_S, now + _CANCEL_S
            if not requestor.hears(_LOOK_S) and now < silent_until:
                continue
            within_s = max(_LOOK_S, silent_until - now)
            reply, data = requestor.next_reply(field, context, message_id, within_s=within_s)
            now = time.monotonic()
            if not retrieval_statuses.is_pending(reply.status):
                return self._ended(reply, found, is_cut=cut_off_at is not None)
            if cut_off_at is not None:
                if now > cut_off_at:
                    requestor.is_broken = True
                    raise PeerError(
                        f"{requestor.peer} goes on answering after C-CANCEL: ask for less than it has"
                    )
                silent_until = now + _CANCEL_S
            elif len(found) >= bounds.most:
                requestor.cancel(context, message_id)
                cut_off_at, silent_until = now + _DRAIN_S, now + _CANCEL_S
            else:
                found.append(self._read(data, keys))
                silent_until = now + bounds.silence_s

    def _read(self, data: bytes, keys: Keys) -> Mapping[str, str]:
        try:
            return {
                keyword: text[:_LONGEST_TEXT]
                for keyword, text in identifiers.decode(data, keys, is_explicit=self._is_explicit).items()
            }
        except ProtocolError as error:
            self._requestor.is_broken = True
            raise PeerError(f"{self._requestor.peer}: broke the protocol: {error}") from error

    def _ended(self, reply: Reply, found: list[Mapping[str, str]], *, is_cut: bool) -> Matches:
        if reply.status != statuses.SUCCESS and not (is_cut and reply.status == retrieval_statuses.CANCELLED):
            raise FindRefusedError(
                f"{self._requestor.peer} answered the query with {retrieval_statuses.describe(reply.status)}",
                status=reply.status,
            )
        return Matches(tuple(found), is_cut)


@contextmanager
def finder(
    peer: PeerAddress,
    *,
    calling_ae: str,
    character_set: str = UTF_8,
    may_go_on: Callable[[], bool] = lambda: True,
) -> Iterator[Finder]:
    """Associate with a peer for queries.

    Args:
        peer: whom to ask.
        calling_ae: our AE title.
        character_set: of what is asked, and so of the answers; "" for none (PS3.4 C.2.2.2.2).
        may_go_on: asked twice a second; once it says no, a query is cancelled.

    Raises:
        PeerError: it can't be reached, or does not offer queries.
        ConfigError: the calling AE title is none.
    """
    with associate(peer, calling_ae=calling_ae, contexts=_CONTEXTS) as requestor:
        context = next((one for one in _CONTEXTS if one in requestor.contexts), None)
        if context is None:
            why = requestor.refusals[_CONTEXTS[0]]
            raise PeerError(
                f"{peer} does not offer queries (C-FIND) to {calling_ae}: {why}; have this AE title be "
                "allowed to query there"
            )
        yield Finder(requestor, context, character_set=character_set, may_go_on=may_go_on)
