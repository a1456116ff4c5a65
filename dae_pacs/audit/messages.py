"""One audit message as XML (PS3.15 A.5.1), on one line whatever its values hold."""

import base64
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Final, Literal
from xml.etree import ElementTree as Xml

from dae_pacs.audit.codes import Code

LONGEST_VALUE: Final = 1024
"""Characters of one value; what a stranger sends must not fill a message, which collectors may cut (A.6)."""
_APPLICATION_SERVER: Final = "4"  # A.5.1.2.1
_MACHINE_NAME, _IP_ADDRESS = "1", "2"  # NetworkAccessPointTypeCode of A.5.1.1

Action = Literal["C", "R", "U", "D", "E"]


class Outcome(StrEnum):
    """EventOutcomeIndicator."""

    SUCCESS = "0"
    MINOR_FAILURE = "4"
    SERIOUS_FAILURE = "8"


@dataclass(frozen=True)
class Participant:
    """A person or process that takes part (ActiveParticipant)."""

    user_id: str
    is_requestor: bool
    role: Code | None = None
    ae_title: str = ""
    address: str = ""
    """A host's name or its IP address."""


@dataclass(frozen=True)
class Subject:
    """What it is about (ParticipantObjectIdentification): a patient, a study, a node."""

    id: str
    id_type: Code
    type_code: str
    """1 a person, 2 a system object."""
    role: str
    """1 a patient, 3 a report (a study is one here), 13 a security resource."""
    name: str = ""
    """The schema asks for a name or a query; without one the identifier stands for it."""
    query: bytes = b""
    """What was asked, where it is a query: an identifier."""
    details: tuple[tuple[str, str], ...] = ()
    sop_classes: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    """How many instances of each SOP class."""


@dataclass(frozen=True)
class Message:
    """One event."""

    event: Code
    action: Action
    participants: tuple[Participant, ...]
    subjects: tuple[Subject, ...] = ()
    type_code: Code | None = None
    outcome: Outcome = Outcome.SUCCESS
    description: str = ""
    """Why, where the outcome is no success."""
    at: datetime = field(default_factory=lambda: datetime.now(UTC))


@dataclass(frozen=True)
class Source:
    """Where messages come from (AuditSourceIdentification)."""

    id: str
    site: str = ""


def encode(message: Message, source: Source) -> bytes:
    """Write a message as UTF-8, without an XML declaration and on one line."""
    root = Xml.Element("AuditMessage")
    _add_event(root, message)
    for participant in message.participants:
        _add_participant(root, participant)
    _add_source(root, source)
    for subject in message.subjects:
        _add_subject(root, subject)
    encoded: bytes = Xml.tostring(root, encoding="utf-8", xml_declaration=False)
    return encoded


def _add_event(root: Xml.Element, message: Message) -> None:
    attributes = {
        "EventActionCode": message.action,
        "EventDateTime": message.at.astimezone(UTC).isoformat(timespec="milliseconds"),
        "EventOutcomeIndicator": message.outcome.value,
    }
    event = Xml.SubElement(root, "EventIdentification", attributes)
    _add_code(event, "EventID", message.event)
    if message.type_code is not None:
        _add_code(event, "EventTypeCode", message.type_code)
    if message.description:
        Xml.SubElement(event, "EventOutcomeDescription").text = _plain(message.description)


def _add_participant(root: Xml.Element, participant: Participant) -> None:
    attributes = {"UserID": _plain(participant.user_id)}
    if participant.ae_title:
        attributes["AlternativeUserID"] = f"AETITLES={_plain(participant.ae_title)}"  # A.5.2.2
    attributes["UserIsRequestor"] = "true" if participant.is_requestor else "false"
    if participant.address:
        attributes["NetworkAccessPointID"] = _plain(participant.address)
        attributes["NetworkAccessPointTypeCode"] = _kind_of_address(participant.address)
    element = Xml.SubElement(root, "ActiveParticipant", attributes)
    if participant.role is not None:
        _add_code(element, "RoleIDCode", participant.role)


def _add_source(root: Xml.Element, source: Source) -> None:
    site = {"AuditEnterpriseSiteID": _plain(source.site)} if source.site else {}
    element = Xml.SubElement(root, "AuditSourceIdentification", site | {"AuditSourceID": _plain(source.id)})
    Xml.SubElement(element, "AuditSourceTypeCode", {"csd-code": _APPLICATION_SERVER})


def _add_subject(root: Xml.Element, subject: Subject) -> None:
    attributes = {
        "ParticipantObjectID": _plain(subject.id),
        "ParticipantObjectTypeCode": subject.type_code,
        "ParticipantObjectTypeCodeRole": subject.role,
    }
    element = Xml.SubElement(root, "ParticipantObjectIdentification", attributes)
    _add_code(element, "ParticipantObjectIDTypeCode", subject.id_type)
    if subject.query:
        asked = base64.b64encode(subject.query[:LONGEST_VALUE]).decode("ascii")
        Xml.SubElement(element, "ParticipantObjectQuery").text = asked
    else:
        Xml.SubElement(element, "ParticipantObjectName").text = _plain(subject.name or subject.id)
    for kind, value in subject.details:
        packed = base64.b64encode(value[:LONGEST_VALUE].encode("utf-8", "backslashreplace")).decode("ascii")
        Xml.SubElement(element, "ParticipantObjectDetail", {"type": kind, "value": packed})
    if subject.sop_classes:
        described = Xml.SubElement(element, "ParticipantObjectDescription")
        for uid, count in sorted(subject.sop_classes.items()):
            numbered = {"UID": _plain(uid), "NumberOfInstances": str(count)}
            Xml.SubElement(described, "SOPClass", numbered)


def _add_code(parent: Xml.Element, name: str, code: Code) -> None:
    attributes = {"csd-code": code.value, "codeSystemName": code.scheme, "originalText": code.meaning}
    Xml.SubElement(parent, name, attributes)


def _kind_of_address(address: str) -> str:
    try:
        ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return _MACHINE_NAME
    return _IP_ADDRESS


def _plain(text: str) -> str:
    r"""Escape what XML can't hold, and what would break the line, as \n or \x00; bound the length."""
    shown = (mark if mark.isprintable() else mark.encode("unicode_escape").decode() for mark in text)
    return "".join(shown)[:LONGEST_VALUE]
