import base64
import sys
from pathlib import Path
from xml.etree import ElementTree as Xml

import pytest

from dae_pacs.audit import codes, events
from dae_pacs.audit.events import Count, Remote, StudyOfPatient, Us
from dae_pacs.audit.messages import LONGEST_VALUE, Message, Source, encode

sys.path.insert(0, str(Path(__file__).parent))  # for this folder's own module

from standard import check, check_event

US = Us("DAE_PACS", "node.example.org", 4711)
MODALITY = Remote("GANTRY", "192.0.2.7")
STUDY = StudyOfPatient("1.2.3.4", "P-0815")
CT = "1.2.840.10008.5.1.4.1.1.2"

EVERY_EVENT = {
    "start": events.started(US),
    "stop": events.stopped(US),
    "begin receiving": events.begin_receiving(US, MODALITY, STUDY),
    "received": events.received(US, MODALITY, STUDY, Count({CT: 3})),
    "received again": events.received(US, MODALITY, STUDY, Count({CT: 3}, "R")),
    "received in part": events.received(US, MODALITY, STUDY, Count({CT: 1}, failure="in quarantine")),
    "queried": events.queried(
        US,
        MODALITY,
        sop_class_uid="1.2.840.10008.5.1.4.1.2.2.1",
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        identifier=b"\x10\x00\x20\x00LO\x04\x004711",
    ),
    "begin sending": events.begin_sending(US, MODALITY, STUDY, {CT: 3}),
    "sent": events.sent(US, MODALITY, STUDY, Count({CT: 3}, "R")),
    "deleted in part": events.deleted(US, STUDY, {CT: 3}, whole=False),
    "deleted whole": events.deleted(US, STUDY, {CT: 3}, whole=True),
    "refused": events.refused(US, MODALITY, "its AE title is not known here"),
    "refused in the handshake": events.refused(US, Remote("", "2001:db8::7"), "no TLS"),
    "retry": events.administered(US, codes.USE_OF_RESTRICTED_FUNCTION, "retry"),
    "models": events.administered(US, codes.SOFTWARE_CONFIGURATION, "models add"),
    "lost": events.lost(US, 12),
}


def written(message: Message) -> bytes:
    return encode(message, Source("DAE_PACS", "Hospital"))


@pytest.mark.parametrize("message", EVERY_EVENT.values(), ids=EVERY_EVENT)
def test_every_event_is_what_the_standard_s_schema_and_table_say(message: Message) -> None:
    check_event(written(message))


@pytest.mark.parametrize(
    "damage",
    [
        lambda root: root.remove(root[0]),
        lambda root: root.insert(0, root[1]),
        lambda root: root[0].set("EventActionCode", "X"),
        lambda root: root[0].set("EventDateTime", "2026-11-22T10:00:00"),
        lambda root: root[1].set("UserIsRequestor", "maybe"),
        lambda root: root[1].attrib.pop("UserID"),
        lambda root: root[0][0].attrib.pop("originalText"),
        lambda root: root[-1].remove(root[-1][1]),
        lambda root: root[-1].set("Surprise", "1"),
    ],
)
def test_the_checker_sees_what_is_wrong(damage) -> None:
    root = Xml.fromstring(written(EVERY_EVENT["received"]))
    damage(root)
    with pytest.raises((AssertionError, KeyError)):
        check(Xml.tostring(root))


def test_a_transfer_names_both_sides_the_study_the_patient_and_the_counts() -> None:
    root = check_event(written(EVERY_EVENT["received"]))
    source, destination = root.findall("ActiveParticipant")
    assert source.attrib == {
        "UserID": "GANTRY",
        "AlternativeUserID": "AETITLES=GANTRY",
        "UserIsRequestor": "true",
        "NetworkAccessPointID": "192.0.2.7",
        "NetworkAccessPointTypeCode": "2",
    }
    assert destination.attrib["AlternativeUserID"] == "AETITLES=DAE_PACS"
    assert destination.attrib["NetworkAccessPointTypeCode"] == "1"
    study, patient = root.findall("ParticipantObjectIdentification")
    assert study.attrib["ParticipantObjectID"] == "1.2.3.4"
    assert patient.attrib["ParticipantObjectID"] == "P-0815"
    (sop_class,) = study.findall("ParticipantObjectDescription/SOPClass")
    assert sop_class.attrib == {"UID": CT, "NumberOfInstances": "3"}


def test_what_failed_is_told_apart_from_what_did_not() -> None:
    event = check(written(EVERY_EVENT["received in part"])).find("EventIdentification")
    assert event is not None
    assert event.attrib["EventOutcomeIndicator"] == "4"
    assert event.findtext("EventOutcomeDescription") == "in quarantine"


@pytest.mark.parametrize(
    "hostile",
    [
        'a"><x/>',
        "line\nbreak\r\n",
        "nul\x00 bell\x07 escape\x1b[2J",
        "]]>&lt;&amp;<!--",
        "%s%n{0}",
        "\u2028\u202e\ufeff",
        "\ud800 lone surrogate",
        "Müller^Jürgen=山田",
        "A" * 100_000,
    ],
)
def test_whatever_a_stranger_sends_stays_one_value_on_one_line(hostile: str) -> None:
    sender, study = Remote(hostile, hostile), StudyOfPatient(hostile, hostile)
    for message in (
        events.received(US, sender, study, Count({hostile: 1}, failure=hostile)),
        events.refused(US, sender, hostile),
    ):
        xml = written(message)
        root = check(xml)
        assert len(xml.splitlines()) == 1
        assert len(xml) < 32768  # what a receiver must support (A.6)
        assert {element.tag for element in root.iter()} <= {
            "AuditMessage", "EventIdentification", "EventID", "EventTypeCode", "EventOutcomeDescription",
            "ActiveParticipant", "RoleIDCode", "AuditSourceIdentification", "AuditSourceTypeCode",
            "ParticipantObjectIdentification", "ParticipantObjectIDTypeCode", "ParticipantObjectName",
            "ParticipantObjectDetail", "ParticipantObjectDescription", "SOPClass",
        }  # fmt: skip
        assert len(root.findall("ActiveParticipant")[0].attrib["UserID"]) <= LONGEST_VALUE


def test_a_printable_value_comes_back_as_it_was() -> None:
    study = StudyOfPatient("1.2.3", 'Müller "Ä" <1> & 山')
    root = check(written(events.begin_receiving(US, MODALITY, study)))
    assert root.findall("ParticipantObjectIdentification")[1].attrib["ParticipantObjectID"] == study.PatientID


def test_the_reason_of_an_alert_is_there_in_full() -> None:
    root = check_event(written(EVERY_EVENT["refused"]))
    detail = root.find("ParticipantObjectIdentification/ParticipantObjectDetail")
    assert detail is not None
    assert base64.b64decode(detail.attrib["value"]).decode() == "its AE title is not known here"
