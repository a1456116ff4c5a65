"""Media types as they are really sent, and what an Accept header prefers."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dae_pacs.dicomweb import media
from dae_pacs.errors import RequestError


def test_quotation_marks_are_optional_as_many_leave_them_out() -> None:
    for written in (
        'multipart/related; type="application/dicom"',
        "multipart/related;type=application/dicom",
    ):
        assert media.parse(written).root == "application/dicom"


def test_accept_is_in_the_order_of_its_wishes() -> None:
    found = media.accepted('text/html;q=0.2, multipart/related; type="a,b;c", */*;q=0.1, image/png;q=0')
    assert [one.name for one in found] == ["multipart/related", "text/html", "*/*"]
    assert found[0].get("type") == "a,b;c"


def test_nothing_said_accepts_anything() -> None:
    assert media.offered(media.accepted(""), ["application/dicom+json"]) == "application/dicom+json"
    assert media.offered(media.accepted("application/*"), ["application/json"]) == "application/json"
    assert media.offered(media.accepted("text/html"), ["application/json"]) is None


@pytest.mark.parametrize("value", ["", "rubbish", "a/b; c", 'a/b; c="d', "a/b, c/d", "a/b" + ";" * 9000])
def test_what_is_no_media_type_is_refused(value: str) -> None:
    with pytest.raises(RequestError):
        media.parse(value)


@given(st.text(alphabet='a/b;=", q.0*\\', max_size=40))
def test_rubbish_is_read_or_refused(value: str) -> None:
    with suppress(RequestError):
        media.accepted(value)
