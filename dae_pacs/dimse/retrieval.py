"""What is retrieved from a peer, and what came of it: common to C-MOVE and C-GET (PS3.4 C.4.2 and C.4.3)."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from dae_pacs.dimse import identifiers, retrieval_statuses, statuses
from dae_pacs.dimse.addresses import PeerAddress
from dae_pacs.dimse.commands import Reply, SubOperations
from dae_pacs.dimse.contexts import EXPLICIT_LITTLE_ENDIAN, IMPLICIT_LITTLE_ENDIAN
from dae_pacs.dimse.proposal import Context
from dae_pacs.dimse.requestor import Requestor
from dae_pacs.errors import PeerError

SYNTAXES: Final = (EXPLICIT_LITTLE_ENDIAN, IMPLICIT_LITTLE_ENDIAN)
LOOK_S: Final = 0.5
"""How often we look whether a retrieval is still wanted."""
CANCEL_S: Final = 5.0
"""For the last answer to what was cancelled; then the association is aborted."""

_UNKNOWN: Final = "have the AE title {} be entered there, with this node's address and port"
_WITH_OBJECTS: Final = frozenset(
    {statuses.SUCCESS, retrieval_statuses.SOME_FAILED, retrieval_statuses.CANCELLED}
)
_PASSING: Final = frozenset(
    {
        retrieval_statuses.NO_MATCHES,
        retrieval_statuses.NO_SUB_OPERATIONS,
        statuses.RESOURCE_LIMITATION,
        retrieval_statuses.CANCELLED,
    }
)


@dataclass(frozen=True)
class Target:
    """A series, or some objects of it."""

    StudyInstanceUID: str
    SeriesInstanceUID: str
    SOPInstanceUIDs: tuple[str, ...] = ()
    """The objects that are wanted; without any, the whole series."""
    PatientID: str = ""
    """Needed where a peer offers Patient Root alone."""

    def identifier(self, context: Context, *, is_patient_root: bool) -> bytes:
        """Write the identifier of its retrieval (PS3.4 C.4.2.2.1)."""
        keys = {
            "QueryRetrieveLevel": "IMAGE" if self.SOPInstanceUIDs else "SERIES",
            "StudyInstanceUID": self.StudyInstanceUID,
            "SeriesInstanceUID": self.SeriesInstanceUID,
        }
        if self.SOPInstanceUIDs:
            keys["SOPInstanceUID"] = "\\".join(self.SOPInstanceUIDs)
        if is_patient_root:
            keys["PatientID"] = self.PatientID
        return identifiers.encode(
            keys,
            is_explicit=context[1] == EXPLICIT_LITTLE_ENDIAN,
            character_set="" if self.PatientID.isascii() or not is_patient_root else identifiers.UTF_8,
        )


@dataclass(frozen=True)
class Progress:
    """How far a retrieval got; a number that the peer leaves out counts as 0."""

    completed: int = 0
    failed: int = 0
    warning: int = 0
    remaining: int = 0

    @classmethod
    def of(cls, counts: SubOperations | None) -> "Progress":
        """Read what a peer counts."""
        if counts is None:
            return cls()
        return cls(
            completed=counts.completed or 0,
            failed=counts.failed or 0,
            warning=counts.warning or 0,
            remaining=counts.remaining or 0,
        )


@dataclass(frozen=True)
class Retrieved:
    """What came of a retrieval, in the peer's words."""

    status: int
    progress: Progress
    words: str
    """Why it did not go well; "" where it did."""

    @property
    def is_whole(self) -> bool:
        """Whether the peer says that it has sent all."""
        return self.status == statuses.SUCCESS and not self.progress.failed

    @property
    def is_passing(self) -> bool:
        """Whether the same may succeed later."""
        return self.status in _PASSING or self.status == retrieval_statuses.SOME_FAILED


@dataclass(frozen=True)
class Patience:
    """How long a retrieval may take."""

    silence_s: float = 300.0
    """For the next answer or object: some archives say nothing while they fetch from tape."""
    seconds: float = 4 * 3600.0
    """In all."""


@dataclass(frozen=True)
class Watch:
    """Who looks on while something is retrieved."""

    on_progress: Callable[[Progress], None] = lambda _progress: None
    """Told what the peer counts."""
    may_go_on: Callable[[], bool] = lambda: True
    """Asked now and then; once it says no, the retrieval is cancelled."""
    patience: Patience = field(default_factory=Patience)


def retrieved(reply: Reply, progress: Progress, *, destination: str = "") -> Retrieved:
    """Judge the last answer to a retrieval."""
    counts = Progress.of(reply.counts) if reply.counts is not None else progress
    words = ""
    if reply.status != statuses.SUCCESS or counts.failed:
        words = retrieval_statuses.describe(reply.status)
        if counts.failed:
            words += f"; {counts.failed} objects failed"
        if reply.status == retrieval_statuses.UNKNOWN_DESTINATION:
            words += f"; {_UNKNOWN.format(destination)}"
        elif destination and reply.status not in _WITH_OBJECTS and not counts.completed:
            words += f"; perhaps it does not know the destination: {_UNKNOWN.format(destination)}"
    return Retrieved(reply.status, counts, words)


def chosen(requestor: Requestor, contexts: tuple[Context, ...], *, service: str) -> Context:
    """Give the first of our contexts that the peer takes.

    Raises:
        PeerError: it takes none.
    """
    for context in contexts:
        if context in requestor.contexts:
            return context
    raise PeerError(
        f"{requestor.peer} does not offer {service}: {requestor.refusals[contexts[0]]}; "
        f"{_OTHERWISE.get(service, 'have it be set up there')}"
    )


_OTHERWISE: Final = {
    "C-GET": "fetch by move instead, or over DICOMweb",
    "C-MOVE": "fetch by get instead, or over DICOMweb",
}


def unanswered(peer: PeerAddress, seconds: float) -> PeerError:
    """Say that a peer was silent for too long."""
    return PeerError(f"{peer}: said nothing for {seconds:g} s within a retrieval; what came is kept")
