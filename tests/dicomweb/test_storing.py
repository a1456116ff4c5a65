"""The answer to a Store request, written and read."""

import json
import xml.etree.ElementTree as ET

import pytest

from dae_pacs.dicomweb import storing
from dae_pacs.dicomweb.storing import Stored
from dae_pacs.errors import RequestError

KEPT = Stored("1.2", "1.2.3", retrieve_url="http://x/?a&b")
WARNED = Stored("1.2", "1.2.4", warning=0xB000)
REFUSED = Stored("1.2", "1.2.5", failure=storing.CANNOT_UNDERSTAND)
FULL = Stored("1.2", "1.2.6", failure=storing.OUT_OF_RESOURCES)
NAMELESS = Stored("", "", failure=storing.CANNOT_UNDERSTAND)


@pytest.mark.parametrize(
    ("stored", "status"),
    [
        ([KEPT], 200),
        ([KEPT, WARNED], 202),
        ([KEPT, REFUSED], 202),
        ([REFUSED], 409),
        ([REFUSED, FULL], 409),
        ([FULL, FULL], 503),
        ([NAMELESS], 409),
    ],
)
def test_status_tells_whether_all_some_or_none_are_stored(stored: list[Stored], status: int) -> None:
    assert storing.status_of(stored) == status


def test_what_is_written_is_read_again() -> None:
    answer = storing.response([KEPT, WARNED, REFUSED, NAMELESS], study_url="http://x/studies/1")
    found = storing.read_response(json.dumps(answer).encode())
    assert {(one.SOPInstanceUID, one.failure, one.warning) for one in found} == {
        ("1.2.3", None, None),
        ("1.2.4", None, 0xB000),
        ("1.2.5", 0xC000, None),
    }
    assert answer["0008119A"]["Value"] == [{"00081197": {"vr": "US", "Value": [0xC000]}}]


def test_xml_says_the_same() -> None:
    root = ET.fromstring(storing.as_xml(storing.response([KEPT, REFUSED])))
    name = "{http://dicom.nema.org/PS3.19/models/NativeDICOM}"
    values = [found.text for found in root.iter(f"{name}Value")]
    assert {"1.2.3", "1.2.5", str(0xC000), "http://x/?a&b"} <= set(values)


@pytest.mark.parametrize("body", [b"", b"<xml/>", b"3", b'["a"]', b'{"00081199": {"Value": [3]}}', b"\xff"])
def test_what_is_no_answer_is_refused(body: bytes) -> None:
    with pytest.raises(RequestError, match="no data set in JSON"):
        storing.read_response(body)


def test_list_of_one_and_empty_answers_are_read() -> None:
    assert storing.read_response(b"[{}]") == []
    answer = json.dumps([storing.response([REFUSED])]).encode()
    assert storing.read_response(answer)[0].failure == 0xC000
