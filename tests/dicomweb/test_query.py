"""What a Search request asks for, and what matches it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dae_pacs.dicomweb import query
from dae_pacs.dicomweb.json_model import Json
from dae_pacs.errors import RequestError

ITEM: Json = {
    "00080020": {"vr": "DA", "Value": ["20260105"]},
    "00080030": {"vr": "TM", "Value": ["093059.5"]},
    "00080061": {"vr": "CS", "Value": ["CT", "SR"]},
    "00100010": {"vr": "PN", "Value": [{"Alphabetic": "Müller^Jürgen^^Dr"}]},
    "00100020": {"vr": "LO", "Value": ["A-1"]},
    "00200013": {"vr": "IS", "Value": [3]},
    "0020000D": {"vr": "UI", "Value": ["1.2.3"]},
    "00400275": {"vr": "SQ", "Value": [{"00400007": {"vr": "LO", "Value": ["Skull"]}}]},
    "00081030": {"vr": "LO"},
}


@pytest.mark.parametrize(
    ("attribute", "value", "is_match"),
    [
        ("PatientName", "müller*", True),
        ("PatientName", "Müller^Jürgen^^Dr", True),
        ("PatientName", "M?ller^*", True),
        ("PatientName", "Mueller*", False),
        ("PatientID", "A-1", True),
        ("PatientID", "a-1", False),
        ("PatientID", "A.1", False),
        ("PatientID", "*", True),
        ("StudyDate", "20260105", True),
        ("StudyDate", "20260101-20260131", True),
        ("StudyDate", "-20260104", False),
        ("StudyDate", "20260106-", False),
        ("StudyTime", "0930-0930", True),
        ("StudyTime", "0931-", False),
        ("InstanceNumber", "3", True),
        ("InstanceNumber", "03", True),
        ("InstanceNumber", "three", False),
        ("StudyInstanceUID", "1.2,1.2.3", True),
        ("StudyInstanceUID", "1.2\\1.4", False),
        ("ModalitiesInStudy", "SR", True),
        ("00400275.00400007", "sk*", False),
        ("RequestAttributesSequence.ScheduledProcedureStepDescription", "Sk*", True),
        ("StudyDescription", "anything", False),
    ],
)
def test_item_matches_by_the_kind_of_its_element(attribute: str, value: str, is_match: bool) -> None:
    asked = query.parse([(attribute, value)])
    assert query.matches(ITEM, asked.match) is is_match


def test_empty_value_asks_for_nothing() -> None:
    assert query.parse([("PatientName", "")]).match == {}


def test_parameters_are_read() -> None:
    asked = query.parse(
        [
            ("00100020", "A"),
            ("includefield", "StudyDescription,00081030"),
            ("includefield", "all"),
            ("limit", "5"),
            ("offset", "10"),
            ("FuzzyMatching", "TRUE"),
        ]
    )
    assert asked.match == {"00100020": "A"}
    assert asked.fields == {"00081030"}
    assert (asked.has_all_fields, asked.limit, asked.offset, asked.wants_fuzzy) == (True, 5, 10, True)


@pytest.mark.parametrize("name", ["Nobody", "0010", "00100010.x", "a.b.c.d.e"])
def test_attribute_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(RequestError, match="attribute"):
        query.parse([(name, "x")])


@pytest.mark.parametrize(
    ("value", "bounds"),
    [
        ("20260105", ("20260105", "20260105")),
        ("20260105-", ("20260105", "")),
        ("-20260105", ("", "20260105")),
        ("2026*", None),
        ("-", None),
        ("a-b", None),
    ],
)
def test_range_of_dates_is_told_from_what_is_none(value: str, bounds: tuple[str, str] | None) -> None:
    assert query.date_range(value) == bounds


@given(st.text(alphabet="ab*?-[]\\^1.", max_size=60), st.sampled_from(sorted(ITEM)))
def test_no_pattern_is_too_hard(value: str, tag: str) -> None:
    query.matches(ITEM, query.parse([(tag, value)]).match)


def test_many_stars_cost_no_more_than_one() -> None:
    item = {"00100020": {"vr": "LO", "Value": ["a" * 64]}}
    assert not query.matches(item, {"00100020": "*" * 2000 + "a*" * 20 + "b"})
