"""What is known of callers: bounded, and written where `status` finds it."""

from pathlib import Path

from authority import Authority

from dae_pacs.dimse import certificates
from dae_pacs.dimse.entrance import TurnedAway
from dae_pacs.node import visitors
from dae_pacs.node.visitors import Report, Visitors


def test_ten_thousand_titles_take_the_room_of_a_hundred() -> None:
    known = Visitors()
    for number in range(10_000):
        known.turned_away(TurnedAway("10.0.0.1", f"T{number}", "no"))
    assert known.turned_away_count == 10_000
    assert len(known.refused()) == 100
    assert known.refused()[0].calling_ae == "T9999"


def test_the_same_caller_is_counted_in_one_entry() -> None:
    known = Visitors()
    for _ in range(50):
        known.turned_away(TurnedAway("10.0.0.1", "CT", "no"))
    assert [row.count for row in known.refused()] == [50]


def test_report_is_read_as_it_was_written(tmp_path: Path, authority: Authority) -> None:
    known = Visitors()
    known.turned_away(TurnedAway("10.0.0.1", "CT", "no"))
    (certificate,) = certificates.read(authority.issue("reported").certificate)
    known.certificate_seen("peer pacs", certificate)
    report = Report("peers", 1.5, 1, known.refused(), known.certificates(), ("look here",))
    visitors.write(tmp_path / "doors.json", report)
    assert visitors.read(tmp_path / "doors.json") == report
    assert [path.name for path in tmp_path.iterdir()] == ["doors.json"]


def test_report_that_is_missing_or_broken_is_none(tmp_path: Path) -> None:
    path = tmp_path / "doors.json"
    assert visitors.read(path) is None
    for text in ("", "{}", "[]", '{"accept": "peers"}', '{"refused": 1}'):
        path.write_text(text)
        assert visitors.read(path) is None


def test_disk_that_refuses_costs_the_report_alone(tmp_path: Path) -> None:
    visitors.write(tmp_path / "nowhere" / "doors.json", Report("peers", 0.0, 0))


def test_certificate_too_odd_to_read_is_none() -> None:
    assert certificates.of_der(b"\x30\x03\x02\x01\x00") is None
