"""What the node tells the audit trail: one message for each study on an association, never one an object.

Where the configuration asks for no trail, every call ends at once.
"""

import threading
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from dae_pacs.audit import events
from dae_pacs.audit.codes import LOGIN, LOGOUT, Code
from dae_pacs.audit.events import Count, Person, Remote, StudyOfPatient, Us
from dae_pacs.audit.messages import Action
from dae_pacs.audit.trail import Trail
from dae_pacs.dimse.contexts import EXPLICIT_LITTLE_ENDIAN
from dae_pacs.dimse.finding import STUDY_ROOT_FIND
from dae_pacs.dimse.identifiers import encode
from dae_pacs.dimse.scp import Incoming
from dae_pacs.dimse.scu import SendResult
from dae_pacs.dimse.statuses import Outcome
from dae_pacs.image.header import Summary
from dae_pacs.node.strangers import Strangers
from dae_pacs.spool.receipt import Receipt

MOST_STUDIES = 1000
"""Studies of one association that are counted at a time; a stranger may make up as many as it likes."""

UNSENT = "not sent, or not answered"

_Key = tuple[Action, str]
"""How a transfer ended: the action, and why it failed; "" where it did not."""


class OfStudy(Protocol):
    """An object that is moved: a delivery, an instance, a file's summary."""

    @property
    def SOPClassUID(self) -> str:
        """What it is."""
        ...

    @property
    def StudyInstanceUID(self) -> str:
        """The study that it is of."""
        ...

    @property
    def PatientID(self) -> str:
        """Whose it is."""
        ...


class Receiver(Protocol):
    """Who gets objects."""

    @property
    def ae_title(self) -> str:
        """Its AE title; empty where it has none."""
        ...

    @property
    def host(self) -> str:
        """Where it is."""
        ...


@dataclass
class _Association:
    """What came over one association so far."""

    sender: Remote
    studies: dict[StudyOfPatient, dict[_Key, Counter[str]]] = field(default_factory=dict)


class Auditor:
    """Counts what is received, and turns what happens into messages; for any thread."""

    def __init__(self, trail: Trail | None, us: Us) -> None:
        self._trail = trail
        self._us = us
        self._lock = threading.Lock()
        self._associations: dict[str, _Association] = {}
        self._has_started = False
        self._strangers = Strangers(self._tell_of_stranger)

    @property
    def is_kept(self) -> bool:
        """Whether there is a trail at all."""
        return self._trail is not None

    def started(self) -> None:
        """The node receives."""
        self._has_started = True
        if self._trail is not None:
            self._trail.record(events.started(self._us))

    def stopped(self) -> None:
        """The node ends; the last message."""
        if self._trail is not None:
            for association in list(self._associations):
                self.association_ended(association)
            self._strangers.close()
            if self._has_started:
                self._trail.record(events.stopped(self._us))
            self._trail.close()

    def refused(self, calling_ae: str, address: str, why: str) -> None:
        """Somebody wanted to associate who may not: an unknown AE title or address, a failed handshake.

        Args:
            calling_ae: the AE title that it gave; empty where it came to none.
            address: where it called from.
            why: in words of ours.
        """
        if self._trail is not None:
            self._strangers.turned_away(calling_ae, address, why)

    def person_did(self, person: Person, kind: Code, what: str) -> None:
        """Tell what a person did in the console.

        Args:
            person: who.
            kind: which kind of alert it is.
            what: in words of ours, without a patient's data.
        """
        if self._trail is not None:
            self._trail.record(events.done_in_console(self._us, person, kind, what))

    def authenticated(self, person: Person, kind: Literal["login", "logout"], failure: str) -> None:
        """Tell that a person logged in to the console, out of it, or failed to."""
        if self._trail is not None:
            code = LOGIN if kind == "login" else LOGOUT
            self._trail.record(events.authenticated(self._us, person, code, failure))

    def viewed(self, person: Person, study: StudyOfPatient, sop_classes: Mapping[str, int]) -> None:
        """Tell that somebody was given objects of a study over HTTP."""
        if self._trail is not None:
            self._trail.record(events.viewed(self._us, person, study, sop_classes))

    def _tell_of_stranger(self, calling_ae: str, address: str, why: str) -> None:
        if self._trail is not None:
            self._trail.record(events.refused(self._us, Remote(calling_ae, address), why))

    def object_received(
        self, incoming: Incoming | Receipt, summary: Summary, action: Action = "C", failure: str = ""
    ) -> None:
        """Count one object of an association; the first of its study is told at once."""
        if self._trail is None:
            return
        study = StudyOfPatient(summary.StudyInstanceUID, summary.PatientID)
        with self._lock:
            association = self._associations.get(incoming.association)
            if association is None:
                sender = Remote(incoming.calling_ae, incoming.address)
                association = self._associations[incoming.association] = _Association(sender)
            counts = association.studies.get(study)
            is_first = counts is None
            if counts is None:
                counts = association.studies[study] = {}
            counts.setdefault((action, failure), Counter())[summary.SOPClassUID] += 1
            is_crowded = len(association.studies) >= MOST_STUDIES
        if is_first:
            self._trail.record(events.begin_receiving(self._us, association.sender, study))
        if is_crowded:
            self.association_ended(incoming.association)

    def association_ended(self, association: str) -> None:
        """Tell what came over an association, for each study."""
        if self._trail is None:
            return
        with self._lock:
            over = self._associations.pop(association, None)
        if over is None:
            return
        for study, counts in over.studies.items():
            for (action, failure), sop_classes in counts.items():
                count = Count(sop_classes, action, failure)
                self._trail.record(events.received(self._us, over.sender, study, count))

    def queried(self, ae_title: str, host: str, keys: Mapping[str, str]) -> None:
        """A peer is asked what it has.

        Args:
            ae_title: the peer's; of a DICOMweb service its name.
            host: where it is.
            keys: what is asked at the level of studies, by keyword.
        """
        if self._trail is not None:
            asked = encode({"QueryRetrieveLevel": "STUDY", **keys}, is_explicit=True)
            message = events.queried(
                self._us,
                Remote(ae_title, host),
                sop_class_uid=STUDY_ROOT_FIND,
                transfer_syntax_uid=EXPLICIT_LITTLE_ENDIAN,
                identifier=asked,
            )
            self._trail.record(message)

    def sending(self, peer: Receiver, owed: Sequence[OfStudy]) -> None:
        """Objects are about to be sent to a peer."""
        if self._trail is None:
            return
        for study, sop_classes in _by_study(owed).items():
            self._trail.record(events.begin_sending(self._us, _remote(peer), study, sop_classes))

    def sent(self, peer: Receiver, answered: Iterable[tuple[OfStudy, str]]) -> None:
        """A peer has answered for objects.

        Args:
            peer: who.
            answered: each object, with the reason why the peer has it not, empty where it has.
        """
        if self._trail is None:
            return
        counts: dict[tuple[StudyOfPatient, str], Counter[str]] = {}
        for delivery, failure in answered:
            counts.setdefault((_study_of(delivery), failure), Counter())[delivery.SOPClassUID] += 1
        for (study, failure), sop_classes in counts.items():
            # R: a sender does not know what its receiver had before (A.5.3.7).
            self._trail.record(events.sent(self._us, _remote(peer), study, Count(sop_classes, "R", failure)))

    def removed(self, instances: Sequence[OfStudy], *, still_held: Iterable[str]) -> None:
        """Retention deleted objects; of the studies named, others are still there."""
        if self._trail is None:
            return
        held = set(still_held)
        for study, sop_classes in _by_study(instances).items():
            whole = study.StudyInstanceUID not in held
            self._trail.record(events.deleted(self._us, study, sop_classes, whole=whole))


def silent() -> Auditor:
    """Give an auditor without a trail."""
    return Auditor(None, Us("", "", 0))


def failure_of(result: SendResult) -> str:
    """Say how a peer failed to take an object, in few different words; empty where it took it."""
    if result.outcome in (Outcome.SENT, Outcome.WARNING):
        return ""
    if result.status is None:
        return result.answer or UNSENT
    return f"answered with status {result.status:04X}"


def _remote(peer: Receiver) -> Remote:
    return Remote(peer.ae_title, peer.host)


def _by_study(objects: Iterable[OfStudy]) -> dict[StudyOfPatient, Counter[str]]:
    found: dict[StudyOfPatient, Counter[str]] = {}
    for entry in objects:
        found.setdefault(_study_of(entry), Counter())[entry.SOPClassUID] += 1
    return found


def _study_of(entry: OfStudy) -> StudyOfPatient:
    return StudyOfPatient(entry.StudyInstanceUID, entry.PatientID)
