"""The coded values of audit messages: events (CID 400), their types (CID 401 to 403), roles, identifiers."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Code:
    """A coded value: its code, the scheme that it is from, and what it means."""

    value: str
    scheme: str
    meaning: str


def _dcm(value: str, meaning: str) -> Code:
    return Code(value, "DCM", meaning)


APPLICATION_ACTIVITY: Final = _dcm("110100", "Application Activity")
BEGIN_TRANSFERRING: Final = _dcm("110102", "Begin Transferring DICOM Instances")
INSTANCES_ACCESSED: Final = _dcm("110103", "DICOM Instances Accessed")
INSTANCES_TRANSFERRED: Final = _dcm("110104", "DICOM Instances Transferred")
STUDY_DELETED: Final = _dcm("110105", "DICOM Study Deleted")
QUERY: Final = _dcm("110112", "Query")
SECURITY_ALERT: Final = _dcm("110113", "Security Alert")
USER_AUTHENTICATION: Final = _dcm("110114", "User Authentication")

APPLICATION_START: Final = _dcm("110120", "Application Start")
APPLICATION_STOP: Final = _dcm("110121", "Application Stop")

LOGIN: Final = _dcm("110122", "Login")
LOGOUT: Final = _dcm("110123", "Logout")

NODE_AUTHENTICATION: Final = _dcm("110126", "Node Authentication")
SOFTWARE_CONFIGURATION: Final = _dcm("110131", "Software Configuration")
USE_OF_RESTRICTED_FUNCTION: Final = _dcm("110132", "Use of Restricted Function")
AUDIT_RECORDING_STOPPED: Final = _dcm("110133", "Audit Recording Stopped")
SECURITY_ROLES_CHANGED: Final = _dcm("110136", "Security Roles Changed")
USER_ATTRIBUTES_CHANGED: Final = _dcm("110137", "User Security Attributes Changed")

APPLICATION: Final = _dcm("110150", "Application")
APPLICATION_LAUNCHER: Final = _dcm("110151", "Application Launcher")
DESTINATION_ROLE: Final = _dcm("110152", "Destination Role ID")
SOURCE_ROLE: Final = _dcm("110153", "Source Role ID")

STUDY_INSTANCE_UID: Final = _dcm("110180", "Study Instance UID")
SOP_CLASS_UID: Final = _dcm("110181", "SOP Class UID")
NODE_ID: Final = _dcm("110182", "Node ID")
PATIENT_NUMBER: Final = Code("2", "RFC-3881", "Patient Number")
