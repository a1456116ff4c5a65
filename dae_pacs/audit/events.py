"""The events of a node, each as the message that PS3.15 A.5.3 has for it."""

import getpass
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass

from dae_pacs.audit import codes
from dae_pacs.audit.codes import Code
from dae_pacs.audit.messages import Action, Message, Outcome, Participant, Subject


@dataclass(frozen=True)
class Us:
    """This process, which reports what it does."""

    ae_title: str
    host: str
    pid: int

    def taking_part(self, role: Code | None = None, *, is_requestor: bool = False) -> Participant:
        """Say that this process takes part; its identifier is the process id (A.5.2.1)."""
        return Participant(str(self.pid), is_requestor, role, self.ae_title, self.host)


def this_process(ae_title: str) -> Us:
    """Describe the process that calls."""
    return Us(ae_title, socket.gethostname(), os.getpid())


@dataclass(frozen=True)
class Remote:
    """A DICOM application on the other side of an association."""

    ae_title: str
    address: str

    def taking_part(self, role: Code | None = None, *, is_requestor: bool = False) -> Participant:
        """Say that it takes part; its process is not known, so its AE title identifies it."""
        return Participant(self.ae_title or self.address, is_requestor, role, self.ae_title, self.address)


@dataclass(frozen=True)
class Person:
    """Somebody at the console: the name of an account, and the address it is used from."""

    name: str
    address: str

    def taking_part(self) -> Participant:
        """Say that the person takes part."""
        return Participant(self.name, is_requestor=True, address=self.address)


@dataclass(frozen=True)
class StudyOfPatient:
    """A study, and whose it is; a message is about one patient alone."""

    StudyInstanceUID: str
    PatientID: str

    def subjects(self, sop_classes: Mapping[str, int]) -> tuple[Subject, Subject]:
        """Describe both; of the patient only the identifier, never the name."""
        return (
            Subject(self.StudyInstanceUID, codes.STUDY_INSTANCE_UID, "2", "3", sop_classes=sop_classes),
            Subject(self.PatientID, codes.PATIENT_NUMBER, "1", "1"),
        )


@dataclass(frozen=True)
class Count:
    """How a transfer ended for so many instances of each SOP class of a study."""

    sop_classes: Mapping[str, int]
    action: Action = "C"
    """C where the receiver did not have them, R where it had, or where we can't know (A.5.3.7)."""
    failure: str = ""
    """Why they did not arrive; empty for success."""


def started(us: Us) -> Message:
    """Application Activity, start (A.5.3.1)."""
    return _activity(us, codes.APPLICATION_START)


def stopped(us: Us) -> Message:
    """Application Activity, stop (A.5.3.1)."""
    return _activity(us, codes.APPLICATION_STOP)


def _activity(us: Us, kind: Code) -> Message:
    launcher = Participant(_user(us.host), is_requestor=True, role=codes.APPLICATION_LAUNCHER)
    taking_part = (us.taking_part(codes.APPLICATION), launcher)
    return Message(codes.APPLICATION_ACTIVITY, "E", taking_part, type_code=kind)


def begin_receiving(us: Us, sender: Remote, study: StudyOfPatient) -> Message:
    """Begin Transferring DICOM Instances (A.5.3.3): a study's first object arrives on an association."""
    return Message(codes.BEGIN_TRANSFERRING, "E", _from(sender, us), study.subjects({}))


def received(us: Us, sender: Remote, study: StudyOfPatient, count: Count) -> Message:
    """DICOM Instances Transferred (A.5.3.7): an association that brought objects of a study is over."""
    return _transferred(_from(sender, us), study, count)


def queried(
    us: Us, peer: Remote, *, sop_class_uid: str, transfer_syntax_uid: str, identifier: bytes
) -> Message:
    """Query (A.5.3.10): we ask a peer what it has; the identifier says for what."""
    about = Subject(
        sop_class_uid,
        codes.SOP_CLASS_UID,
        "2",
        "3",
        query=identifier,
        details=(("TransferSyntax", transfer_syntax_uid),),
    )
    return Message(codes.QUERY, "E", _to(us, peer), (about,))


def begin_sending(us: Us, receiver: Remote, study: StudyOfPatient, sop_classes: Mapping[str, int]) -> Message:
    """Begin Transferring DICOM Instances (A.5.3.3): objects of a study are about to be sent."""
    return Message(codes.BEGIN_TRANSFERRING, "E", _to(us, receiver), study.subjects(sop_classes))


def sent(us: Us, receiver: Remote, study: StudyOfPatient, count: Count) -> Message:
    """DICOM Instances Transferred (A.5.3.7): a peer has answered for objects of a study."""
    return _transferred(_to(us, receiver), study, count)


def _from(sender: Remote, us: Us) -> tuple[Participant, Participant]:
    return sender.taking_part(codes.SOURCE_ROLE, is_requestor=True), us.taking_part(codes.DESTINATION_ROLE)


def _to(us: Us, receiver: Remote) -> tuple[Participant, Participant]:
    return us.taking_part(codes.SOURCE_ROLE, is_requestor=True), receiver.taking_part(codes.DESTINATION_ROLE)


def _transferred(
    taking_part: tuple[Participant, Participant], study: StudyOfPatient, count: Count
) -> Message:
    return Message(
        codes.INSTANCES_TRANSFERRED,
        count.action,
        taking_part,
        study.subjects(count.sop_classes),
        outcome=Outcome.MINOR_FAILURE if count.failure else Outcome.SUCCESS,
        description=count.failure,
    )


def deleted(us: Us, study: StudyOfPatient, sop_classes: Mapping[str, int], *, whole: bool) -> Message:
    """Instances were deleted (A.5.3.6), or with them the last that was held of a study (A.5.3.8)."""
    event = codes.STUDY_DELETED if whole else codes.INSTANCES_ACCESSED
    return Message(event, "D", (us.taking_part(is_requestor=True),), study.subjects(sop_classes))


def viewed(us: Us, person: Person, study: StudyOfPatient, sop_classes: Mapping[str, int]) -> Message:
    """Instances were accessed (A.5.3.6): somebody was given objects of a study over HTTP."""
    taking_part = (person.taking_part(), us.taking_part())
    return Message(codes.INSTANCES_ACCESSED, "R", taking_part, study.subjects(sop_classes))


def refused(us: Us, caller: Remote, why: str) -> Message:
    """Security Alert, node authentication (A.5.3.11): a stranger wanted to associate and may not."""
    about = Subject(caller.address, codes.NODE_ID, "2", "13", details=(("Alert Description", why),))
    return Message(
        codes.SECURITY_ALERT,
        "E",
        (us.taking_part(), caller.taking_part(is_requestor=True)),
        (about,),
        codes.NODE_AUTHENTICATION,
        Outcome.MINOR_FAILURE,
        why,
    )


def administered(us: Us, kind: Code, what: str) -> Message:
    """Security Alert that informs (A.5.3.11): a person used a command that changes what the node does."""
    person = Participant(_user(us.host), is_requestor=True, address=us.host)
    about = Subject(us.host, codes.NODE_ID, "2", "13", details=(("Alert Description", what),))
    return Message(codes.SECURITY_ALERT, "E", (us.taking_part(), person), (about,), kind)


def done_in_console(us: Us, person: Person, kind: Code, what: str) -> Message:
    """Security Alert that informs (A.5.3.11): a person used the console to change what the node does."""
    about = Subject(us.host, codes.NODE_ID, "2", "13", details=(("Alert Description", what),))
    return Message(codes.SECURITY_ALERT, "E", (us.taking_part(), person.taking_part()), (about,), kind)


def authenticated(us: Us, person: Person, kind: Code, failure: str = "") -> Message:
    """User Authentication (A.5.3.12): somebody logged in to the console, out of it, or failed to.

    Args:
        us: who checked.
        person: who it was, or wanted to be.
        kind: log-in or log-out.
        failure: why it failed; empty for success.
    """
    return Message(
        codes.USER_AUTHENTICATION,
        "E",
        (person.taking_part(), us.taking_part()),
        type_code=kind,
        outcome=Outcome.MINOR_FAILURE if failure else Outcome.SUCCESS,
        description=failure,
    )


def lost(us: Us, count: int) -> Message:
    """Security Alert (A.5.3.11): messages were lost, since neither their target nor the queue had room."""
    what = f"{count} audit messages were lost: neither their target nor the queue could take them"
    about = Subject(us.host, codes.NODE_ID, "2", "13", details=(("Alert Description", what),))
    return Message(
        codes.SECURITY_ALERT,
        "E",
        (us.taking_part(),),
        (about,),
        codes.AUDIT_RECORDING_STOPPED,
        Outcome.SERIOUS_FAILURE,
        what,
    )


def _user(host: str) -> str:
    """Name the person or account that runs this process, as login@host (A.5.2.1)."""
    try:
        name = getpass.getuser()
    except (OSError, KeyError):  # an account without a name, as in a container
        name = str(os.getuid())
    return f"{name}@{host}"
