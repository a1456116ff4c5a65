"""What a Store request comes to: the response's data set and its HTTP status (PS3.18 10.5.3, Annex I).

Failure reasons are the statuses that a C-STORE of the same object would have been answered with
(PS3.18 Table I.2-2, PS3.4 B.2.3, PS3.7 Annex C).
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from dae_pacs.dicomweb.json_model import Json, text, values
from dae_pacs.errors import RequestError

OUT_OF_RESOURCES: Final = 0xA700
MISMATCH: Final = 0xA900
OTHER_STUDY: Final = 0xA901
"""Of A9xx: the object is of another study than the one of the request's URL."""
CANNOT_UNDERSTAND: Final = 0xC000
PROCESSING_FAILURE: Final = 0x0110
DUPLICATE_INSTANCE: Final = 0x0111

_RETRIEVE_URL: Final = "00081190"
_FAILED: Final = "00081198"
_REFERENCED: Final = "00081199"
_CLASS: Final = "00081150"
_INSTANCE: Final = "00081155"
_WARNING_REASON: Final = "00081196"
_FAILURE_REASON: Final = "00081197"
_OTHER_FAILURES: Final = "0008119A"


@dataclass(frozen=True)
class Stored:
    """What became of one object of a Store request."""

    SOPClassUID: str
    SOPInstanceUID: str
    """Both "" where the object does not say."""
    failure: int | None = None
    """Failure Reason; None where it is kept."""
    warning: int | None = None
    words: str = ""
    """Of ours, about the failure; they quote nothing."""
    retrieve_url: str = ""

    @property
    def is_out_of_resources(self) -> bool:
        """Whether the same object may be taken later."""
        return self.failure is not None and self.failure & 0xFF00 == OUT_OF_RESOURCES


def status_of(stored: Sequence[Stored]) -> int:
    """Say the HTTP status (PS3.18 Table 10.5.3-1)."""
    failed = [one for one in stored if one.failure is not None]
    if not failed:
        return 200 if not any(one.warning for one in stored) else 202
    if len(failed) < len(stored):
        return 202
    return 503 if all(one.is_out_of_resources for one in failed) else 409


def response(stored: Sequence[Stored], *, study_url: str = "") -> Json:
    """Write the Store Instances Response Module (PS3.18 Table I.2-1)."""
    found: Json = {}
    if study_url:
        found[_RETRIEVE_URL] = {"vr": "UR", "Value": [study_url]}
    named = [one for one in stored if one.SOPInstanceUID]
    failed = [_reference(one) for one in named if one.failure is not None]
    kept = [_reference(one) for one in named if one.failure is None]
    if failed:
        found[_FAILED] = {"vr": "SQ", "Value": failed}
    if kept:
        found[_REFERENCED] = {"vr": "SQ", "Value": kept}
    others = [one.failure for one in stored if not one.SOPInstanceUID and one.failure is not None]
    if others:
        items = [{_FAILURE_REASON: {"vr": "US", "Value": [reason]}} for reason in others]
        found[_OTHER_FAILURES] = {"vr": "SQ", "Value": items}
    return dict(sorted(found.items()))


def _reference(one: Stored) -> Json:
    item: Json = {
        _CLASS: {"vr": "UI", "Value": [one.SOPClassUID]},
        _INSTANCE: {"vr": "UI", "Value": [one.SOPInstanceUID]},
    }
    if one.failure is not None:
        item[_FAILURE_REASON] = {"vr": "US", "Value": [one.failure]}
        return item
    if one.retrieve_url:
        item[_RETRIEVE_URL] = {"vr": "UR", "Value": [one.retrieve_url]}
    if one.warning is not None:
        item[_WARNING_REASON] = {"vr": "US", "Value": [one.warning]}
    return dict(sorted(item.items()))


def as_xml(answer: Json) -> str:
    """Write a response in the Native DICOM Model (PS3.19 A.1), for clients that ask for XML."""
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<NativeDicomModel xmlns="http://dicom.nema.org/PS3.19/models/NativeDICOM">'
        f"{_attributes(answer)}</NativeDicomModel>"
    )


def _attributes(item: Json) -> str:
    # Texts are UIDs, URLs of ours and numbers: nothing in them needs more than these three escapes.
    written = []
    for tag, elem in item.items():
        if elem["vr"] == "SQ":
            inner = "".join(
                f'<Item number="{number}">{_attributes(one)}</Item>'
                for number, one in enumerate(elem.get("Value", ()), start=1)
            )
        else:
            inner = "".join(
                f'<Value number="{number}">{_escaped(str(value))}</Value>'
                for number, value in enumerate(elem.get("Value", ()), start=1)
            )
        written.append(f'<DicomAttribute tag="{tag}" vr="{elem["vr"]}">{inner}</DicomAttribute>')
    return "".join(written)


def _escaped(value: str) -> str:
    return value.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def read_response(body: bytes) -> list[Stored]:
    """Read the JSON of a Store response: one entry for each object that it names.

    Raises:
        RequestError: it is no such response.
    """
    try:
        found = json.loads(body)
        if isinstance(found, list) and len(found) == 1:
            found = found[0]  # some servers answer with a list of one
        if not isinstance(found, dict):
            raise RequestError("the response to a Store request is no data set in JSON")
        failed = [_stored(item, CANNOT_UNDERSTAND) for item in values(found, _FAILED)]
        return failed + [_stored(item, None) for item in values(found, _REFERENCED)]
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise RequestError("the response to a Store request is no data set in JSON") from error


def _stored(item: Json, otherwise: int | None) -> Stored:
    reasons, warnings = values(item, _FAILURE_REASON), values(item, _WARNING_REASON)
    return Stored(
        text(item, _CLASS),
        text(item, _INSTANCE),
        failure=int(reasons[0]) if reasons and otherwise is not None else otherwise,
        warning=int(warnings[0]) if warnings else None,
    )
