"""What PS3.15 A.5 says of audit messages, written down from its schema and tables, not from our code.

`check` refuses a message that the RELAX NG of A.5.1.1 would refuse; `check_event` one that its table in A.5.3
would.
"""

import base64
import re
from dataclasses import dataclass
from xml.etree import ElementTree as Xml

TOKEN = r"\S(.*\S)?|"
BOOLEAN = "true|false|1|0"
DATE_TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)"  # with its zone (A.5.2.5)
BASE64 = r"[A-Za-z0-9+/=]*"
CODE = {"csd-code": (TOKEN, True), "codeSystemName": (TOKEN, True), "originalText": (TOKEN, True),
        "displayName": (TOKEN, False)}  # fmt: skip


@dataclass(frozen=True)
class Element:
    """Attributes (pattern, required), the order of children as a regular expression, the text."""

    attributes: dict[str, tuple[str, bool]]
    children: str = ""
    text: str | None = None


ELEMENTS = {
    "AuditMessage": Element(
        {},
        "EventIdentification (ActiveParticipant )+AuditSourceIdentification "
        "(ParticipantObjectIdentification )*",
    ),
    "EventIdentification": Element(
        {
            "EventActionCode": ("[CRUDE]", False),
            "EventDateTime": (DATE_TIME, True),
            "EventOutcomeIndicator": ("0|4|8|12", True),
        },
        "EventID (EventTypeCode )*(EventOutcomeDescription )?",
    ),
    "EventOutcomeDescription": Element({}, text=".*"),
    "ActiveParticipant": Element(
        {
            "UserID": (".*", True),
            "AlternativeUserID": (".*", False),
            "UserName": (".*", False),
            "UserIsRequestor": (BOOLEAN, True),
            "NetworkAccessPointID": (TOKEN, False),
            "NetworkAccessPointTypeCode": ("[1-5]", False),
        },
        "(RoleIDCode )*(MediaIdentifier )?",
    ),
    "AuditSourceIdentification": Element(
        {"AuditEnterpriseSiteID": (TOKEN, False), "AuditSourceID": (TOKEN, True)}, "(AuditSourceTypeCode )*"
    ),
    "AuditSourceTypeCode": Element({"csd-code": ("[1-9]", True)}),
    "ParticipantObjectIdentification": Element(
        {
            "ParticipantObjectID": (TOKEN, True),
            "ParticipantObjectTypeCode": ("[1-4]", False),
            "ParticipantObjectTypeCodeRole": ("[1-9]|1[0-9]|2[0-6]", False),
            "ParticipantObjectDataLifeCycle": ("[1-9]|1[0-5]", False),
            "ParticipantObjectSensitivity": (TOKEN, False),
        },
        "ParticipantObjectIDTypeCode (ParticipantObjectName |ParticipantObjectQuery )"
        "(ParticipantObjectDetail )*(ParticipantObjectDescription )*",
    ),
    "ParticipantObjectName": Element({}, text=TOKEN),
    "ParticipantObjectQuery": Element({}, text=BASE64),
    "ParticipantObjectDetail": Element({"type": (TOKEN, True), "value": (BASE64, True)}),
    "ParticipantObjectDescription": Element(
        {},
        "(MPPS )*(Accession )*(SOPClass )*(ParticipantObjectContainsStudy )?(Encrypted )?(Anonymized )?",
    ),
    "SOPClass": Element({"UID": (TOKEN, False), "NumberOfInstances": (r"-?\d+", True)}, "(Instance )*"),
} | dict.fromkeys(
    ("EventID", "EventTypeCode", "RoleIDCode", "ParticipantObjectIDTypeCode", "MediaType"), Element(CODE)
)


def check(xml: bytes) -> Xml.Element:
    """Hold a message against the schema; gives its tree."""
    root = Xml.fromstring(xml)
    assert root.tag == "AuditMessage"
    _check(root)
    return root


def _check(element: Xml.Element) -> None:
    rule = ELEMENTS[element.tag]
    for name, value in element.attrib.items():
        pattern, _ = rule.attributes[name]
        assert re.fullmatch(pattern, value), f"{element.tag}/@{name} = {value!r}"
    missing = {name for name, (_, is_required) in rule.attributes.items() if is_required} - set(
        element.attrib
    )
    assert not missing, f"{element.tag} lacks {missing}"
    children = "".join(f"{child.tag} " for child in element)
    assert re.fullmatch(rule.children, children), f"{element.tag} holds {children!r}"
    text = element.text or ""
    assert text == "" if rule.text is None else re.fullmatch(rule.text, text), f"{element.tag}: {text!r}"
    for child in element:
        _check(child)


def code_of(element: Xml.Element | None) -> tuple[str, str]:
    assert element is not None
    return element.attrib["csd-code"], element.attrib["codeSystemName"]


STUDY, PATIENT, NODE = ("110180", "DCM"), ("2", "RFC-3881"), ("110182", "DCM")
SOURCE, DESTINATION = "110153", "110152"
# Event, its actions, its types, the roles of its participants, its objects: (type, role, identifier)
TRANSFER = ([SOURCE, DESTINATION], [("2", "3", STUDY), ("1", "1", PATIENT)])
EVENTS: dict[str, tuple[str, set[str], list[str], list[tuple[str, str, tuple[str, str]]]]] = {
    "110100": ("E", {"110120", "110121"}, ["110150", "110151"], []),  # A.5.3.1
    "110102": ("E", set(), *TRANSFER),  # A.5.3.3
    "110103": ("CRUD", set(), [""], TRANSFER[1]),  # A.5.3.6
    "110104": ("CRU", set(), *TRANSFER),  # A.5.3.7
    "110105": ("D", set(), [""], TRANSFER[1]),  # A.5.3.8
    "110112": ("E", set(), TRANSFER[0], [("2", "3", ("110181", "DCM"))]),  # A.5.3.10
    "110113": (  # A.5.3.11, types of CID 403
        "E",
        {"110126", "110131", "110132", "110133"},
        ["", ""],
        [("2", "13", NODE)],
    ),
}
MEANINGS = {
    "110100": "Application Activity", "110102": "Begin Transferring DICOM Instances",
    "110103": "DICOM Instances Accessed", "110104": "DICOM Instances Transferred",
    "110105": "DICOM Study Deleted", "110112": "Query", "110181": "SOP Class UID",
    "110113": "Security Alert", "110120": "Application Start",
    "110121": "Application Stop", "110126": "Node Authentication", "110131": "Software Configuration",
    "110132": "Use of Restricted Function", "110133": "Audit Recording Stopped", "110150": "Application",
    "110151": "Application Launcher", "110152": "Destination Role ID", "110153": "Source Role ID",
    "110180": "Study Instance UID", "110182": "Node ID", "2": "Patient Number",
}  # fmt: skip
"""PS3.16 annex D (DCM) and RFC 3881."""


def check_event(xml: bytes) -> Xml.Element:
    """Hold a message against the schema and against the table of its event."""
    root = check(xml)
    for element in root.iter():
        if "originalText" in element.attrib:
            assert element.attrib["originalText"] == MEANINGS[element.attrib["csd-code"]]
    event = root.find("EventIdentification")
    assert event is not None
    (code, scheme) = code_of(event.find("EventID"))
    assert scheme == "DCM"
    actions, types, roles, objects = EVENTS[code]
    assert event.attrib["EventActionCode"] in actions
    found_types = {code_of(element)[0] for element in event.findall("EventTypeCode")}
    assert len(found_types) == bool(types)
    assert found_types <= types
    participants = root.findall("ActiveParticipant")
    found_roles = [code_of(p.find("RoleIDCode"))[0] if len(p) else "" for p in participants]
    assert found_roles == roles[: len(participants)]
    assert len(participants) == len(roles) or code == "110113"
    assert sum(p.attrib["UserIsRequestor"] == "true" for p in participants) <= 1  # A.5.2
    found = [
        (
            thing.attrib["ParticipantObjectTypeCode"],
            thing.attrib["ParticipantObjectTypeCodeRole"],
            code_of(thing.find("ParticipantObjectIDTypeCode")),
        )
        for thing in root.findall("ParticipantObjectIdentification")
    ]
    assert found == objects
    if code == "110113":
        detail = root.find("ParticipantObjectIdentification/ParticipantObjectDetail")
        assert detail is not None
        assert detail.attrib["type"] == "Alert Description"
        assert base64.b64decode(detail.attrib["value"], validate=True)
    return root
