"""Pull rules: days and hours as people write them, and what is refused."""

from datetime import UTC, date, datetime

import pytest

from dae_pacs.config import moments
from dae_pacs.config.load import load
from dae_pacs.errors import ConfigError

PEERS = (
    '[peers.orthanc]\nae_title = "ORTHANC"\nhost = "127.0.0.1"\nport = 4242\n'
    '[web_peers.web]\nurl = "https://pacs/dicom-web"\n'
)
TODAY = date(2026, 3, 1)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("today", "20260301"),
        ("Yesterday", "20260228"),
        ("last 1 day", "20260301-20260301"),
        ("last 3 days", "20260227-20260301"),
        ("2026-01-05", "20260105"),
        ("20260105", "20260105"),
        ("2026-01-05..2026-02-01", "20260105-20260201"),
        ("2026-01-05..", "20260105-"),
        ("..20260105", "-20260105"),
        ("20260105-20260201", "20260105-20260201"),
    ],
)
def test_days_are_read_as_people_write_them(text, expected):
    assert moments.date_range(text, TODAY) == expected


@pytest.mark.parametrize("text", ["", "..", "last week", "2026-13-01", "5.1.2026", "last days"])
def test_what_names_no_day_is_refused(text):
    with pytest.raises(ValueError, match=r"give today|month"):
        moments.date_range(text, TODAY)


@pytest.mark.parametrize(
    ("hours", "hour", "is_in"),
    [("20-06", 23, True), ("20-06", 3, True), ("20-06", 6, False), ("08-17", 12, True), ("08-17", 17, False)],
)
def test_hours_may_go_over_midnight(hours, hour, is_in):
    assert moments.is_within(hours, datetime(2026, 3, 1, hour, 0, tzinfo=UTC)) is is_in


def test_a_time_of_the_day_was_last_today_or_yesterday():
    now = datetime(2026, 3, 1, 2, 0, tzinfo=UTC)
    assert moments.last_time("01:30", now) == datetime(2026, 3, 1, 1, 30, tzinfo=UTC)
    assert moments.last_time("02:30", now) == datetime(2026, 2, 28, 2, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (
            'peer = "ortanc"\ndates = "today"',
            'peer = "ortanc": is not the name of a peer; did you mean orthanc?',
        ),
        ('peer = "orthanc"', "would fetch the whole archive"),
        ('peer = "orthanc"\npriors = true\ndates = "today"', "leave dates, patient and accession out"),
        ('peer = "orthanc"\ndates = "soon"', "names no days"),
        ('peer = "orthanc"\ndates = "today"\nhours = "20"', "are no hours of the day"),
        ('peer = "orthanc"\ndates = "today"\nat = "25:00"', "is no time of the day"),
        ('peer = "orthanc"\ndates = "today"\nby = "wado"', "the peer is none of web_peers"),
        ('peer = "web"\ndates = "today"\nby = "get"', "is not how a DICOMweb service is asked"),
        ('peer = "orthanc"\npriors = true\npriors_same = ["sex"]', "give any of modality, body_part"),
    ],
)
def test_a_rule_that_can_t_work_is_refused_in_words(tmp_path, table, words):
    path = tmp_path / "dae-pacs.toml"
    path.write_text(f'{PEERS}[[pulls]]\nname = "rule"\n{table}\n')
    with pytest.raises(ConfigError) as refused:
        load(path)
    assert words in str(refused.value)


def test_two_rules_of_one_name_are_refused(tmp_path):
    path = tmp_path / "dae-pacs.toml"
    rule = '[[pulls]]\nname = "rule"\npeer = "web"\ndates = "today"\n'
    path.write_text(PEERS + rule + rule)
    with pytest.raises(ConfigError, match=r"is also the name of pulls\[0\]"):
        load(path)
