"""What is held is found by the ledger's own columns, at a cost that does not grow with the ledger."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from dae_pacs.spool import holdings
from dae_pacs.spool.files import SpoolFiles
from dae_pacs.spool.holdings import Wanted
from dae_pacs.spool.ledger import Ledger
from dae_pacs.spool.records import NewInstance, Plan


class Archive:
    """A ledger with instances whose files are empty."""

    def __init__(self, root: Path) -> None:
        self.files = SpoolFiles(root)
        self.ledger = Ledger(self.files.ledger_path)

    def keep(self, uid: str, **said: object) -> None:
        path = self.files.objects / "00" / f"{uid}.{said.get('digest', 'd')}.dcm"
        path.write_bytes(b"x")
        values: dict[str, object] = {
            "SOPClassUID": "1.2.840.10008.5.1.4.1.1.2",
            "SOPInstanceUID": uid,
            "StudyInstanceUID": "1.1",
            "SeriesInstanceUID": "1.1.1",
            "PatientID": "P1",
            "AccessionNumber": "A1",
            "StudyDate": "20260105",
            "Modality": "CT",
            "SeriesDescription": "thin",
            "SeriesNumber": 2,
            "transfer_syntax_uid": "1.2.840.10008.1.2.1",
            "digest": "d",
            "path": path,
            "size_bytes": 1,
            "calling_ae": "A",
            "called_ae": "B",
            "address": "",
            "association": "a",
            "expected_count": None,
            "received_at": 1.0,
        }
        self.ledger.keep(NewInstance(**(values | said)), Plan("keep"))  # type: ignore[arg-type]

    def studies(self, **texts: str) -> list[str]:
        wanted = Wanted({name: (value,) for name, value in texts.items()})
        return [one.StudyInstanceUID for one in self.ledger.views.held_studies(wanted, limit=10)]


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    made = Archive(tmp_path)
    made.keep("1.1.1.1")
    made.keep("1.1.1.2")
    made.keep("1.1.2.1", SeriesInstanceUID="1.1.2", Modality="SR", SeriesDescription="[thick] *")
    made.keep("2.1.1.1", StudyInstanceUID="2.1", SeriesInstanceUID="2.1.1", PatientID="P2", StudyDate="")
    yield made
    made.ledger.close()


def test_studies_say_what_they_hold(archive: Archive) -> None:
    latest, first = archive.ledger.views.held_studies(Wanted(), limit=10)
    assert (latest.StudyInstanceUID, latest.instances) == ("2.1", 1)
    assert (first.modalities, first.series, first.instances) == (("CT", "SR"), 2, 3)
    assert first.sample.exists()
    assert [
        one.StudyInstanceUID for one in archive.ledger.views.held_studies(Wanted(), limit=1, offset=1)
    ] == ["1.1"]


def test_patterns_match_as_they_stand(archive: Archive) -> None:
    assert archive.studies(PatientID="P?") == ["2.1", "1.1"]
    assert archive.studies(PatientID="P[12]") == []
    assert archive.studies(SeriesDescription="[[]thick*") == []
    assert archive.studies(SeriesDescription="[thick]*") == ["1.1"]
    assert archive.studies(Modality="SR") == ["1.1"]
    assert archive.studies(SOPInstanceUID="2.1.1.1") == ["2.1"]
    assert archive.studies(StudyInstanceUID="1.1' OR '1'='1") == []
    assert archive.studies(SeriesNumber="2") == ["2.1", "1.1"]


def test_patients_are_told_apart_by_case(archive: Archive) -> None:
    archive.keep("1.1.3.1", SeriesInstanceUID="1.1.3", PatientID="p1", AccessionNumber="a1")
    lower, upper = (
        archive.ledger.views.held_studies(Wanted({"PatientID": (patient,)}), limit=10)
        for patient in ("p1", "P1")
    )
    assert [(one.PatientID, one.instances) for one in lower] == [("p1", 1)]
    assert [(one.PatientID, one.instances) for one in upper] == [("P1", 3)]
    of_accession = archive.ledger.views.held_studies(Wanted({"AccessionNumber": ("a1",)}), limit=10)
    assert [one.PatientID for one in of_accession] == ["p1"]


def test_dates_bound_on_either_side(archive: Archive) -> None:
    def found(first: str, last: str) -> list[str]:
        wanted = Wanted(dates=(first, last))
        return [one.StudyInstanceUID for one in archive.ledger.views.held_studies(wanted, limit=10)]

    assert found("20260101", "20260105") == ["1.1"]
    assert found("20260106", "") == []
    assert found("", "20260105") == ["1.1"]


def test_series_and_instances_are_found_within_a_study(archive: Archive) -> None:
    views = archive.ledger.views
    of_study = Wanted({"StudyInstanceUID": ("1.1",)})
    assert [one.instances for one in views.held_series(of_study, limit=10)] == [2, 1]
    assert len(views.held_instances(of_study, limit=10)) == 3
    assert len(views.held_instances(Wanted({"SOPInstanceUID": ("1.1.1.2",)}), limit=10)) == 1
    of_both = Wanted({"SOPInstanceUID": ("1.1.1.2", "2.1.1.1")})
    assert len(views.held_series(of_both, limit=10)) == 2


def test_what_is_gone_or_set_apart_is_not_held(archive: Archive) -> None:
    archive.keep("2.1.1.1", StudyInstanceUID="2.1", PatientID="P2", digest="other")
    assert archive.ledger.counts()["instances"]["received quarantined"] == 1
    (one,) = archive.ledger.views.held_instances(Wanted({"SOPInstanceUID": ("2.1.1.1",)}), limit=10)
    archive.ledger.remove(one.id)
    assert archive.studies(PatientID="P2") == []
    assert archive.ledger.views.held_series(Wanted({"StudyInstanceUID": ("2.1",)}), limit=10) == []


@pytest.mark.parametrize(
    ("find", "texts"),
    [
        (holdings.studies, {"StudyInstanceUID": ("1.1",)}),
        (holdings.studies, {"PatientID": ("P1",)}),
        (holdings.studies, {"AccessionNumber": ("A1",)}),
        (holdings.series, {"StudyInstanceUID": ("1.1",)}),
        (holdings.series, {"SeriesInstanceUID": ("1.1.1",)}),
        (holdings.instances, {"StudyInstanceUID": ("1.1",), "SeriesInstanceUID": ("1.1.1",)}),
        (holdings.instances, {"SeriesInstanceUID": ("1.1.1",)}),
        (holdings.instances, {"SOPInstanceUID": ("1.1.1.1",)}),
    ],
)
def test_no_question_by_a_number_reads_a_whole_table(archive: Archive, find, texts) -> None:
    asked: list[tuple[str, object]] = []

    class Watching:
        def __init__(self, connection: sqlite3.Connection) -> None:
            self._connection = connection

        def execute(self, statement: str, values: object = ()) -> sqlite3.Cursor:
            asked.append((statement, values))
            return self._connection.execute(statement, values)  # type: ignore[arg-type]

    with archive.ledger._database.reading() as connection:
        assert find(Watching(connection), Wanted(texts), limit=10, offset=0, root=archive.files.root)
        for statement, values in asked:
            plan = connection.execute(f"EXPLAIN QUERY PLAN {statement}", values)
            scans = [row["detail"] for row in plan if row["detail"].startswith("SCAN")]
            assert scans == [], statement
