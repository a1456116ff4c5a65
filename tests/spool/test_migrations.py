"""A ledger of yesterday is brought up to date, with all that it holds."""

import sqlite3

from dae_pacs.spool.database import SCHEMA_VERSION
from dae_pacs.spool.records import Plan

_BACK_TO_VERSION_3 = """
    DROP TRIGGER study_of_series;
    DROP TRIGGER count_new_instance;
    DROP TRIGGER count_changed_instance;
    DROP TRIGGER count_deleted_instance;
    DROP TRIGGER count_new_job;
    DROP TRIGGER count_changed_job;
    DROP TRIGGER count_deleted_job;
    DROP TRIGGER count_new_delivery;
    DROP TRIGGER count_changed_delivery;
    DROP TRIGGER count_deleted_delivery;
    DROP TRIGGER note_taken_delivery;
    DROP INDEX missing_instances;
    DROP TABLE studies;
    DROP TABLE acts;
    DROP TABLE totals;
    DROP TABLE activity;
    DROP TABLE pulls;
    DROP TABLE pull_rules;
    DROP TABLE turns;
    DROP INDEX ready_jobs_of_source;
    ALTER TABLE jobs DROP COLUMN source;
    CREATE INDEX ready_jobs ON jobs (priority_rank, created_at) WHERE status = 'ready';
    ALTER TABLE destinations DROP COLUMN worked_at;
    PRAGMA user_version = 3;
"""
_BACK_TO_VERSION_2 = (
    _BACK_TO_VERSION_3
    + """
    DROP INDEX uncommitted_deliveries;
    DROP INDEX deliveries_of_transaction;
    ALTER TABLE deliveries DROP COLUMN transaction_id;
    ALTER TABLE deliveries DROP COLUMN commit_tries;
    ALTER TABLE deliveries DROP COLUMN committed_at;
    DROP TABLE commitments;
    ALTER TABLE destinations DROP COLUMN error;
    ALTER TABLE destinations DROP COLUMN failed_at;
    PRAGMA user_version = 2;
"""
)


def _schema(path):
    connection = sqlite3.connect(path)
    try:
        columns = {
            table: {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}
            for table in (
                "jobs",
                "deliveries",
                "destinations",
                "commitments",
                "studies",
                "acts",
                "totals",
                "activity",
                "pulls",
            )
        }
        names = {row[0] for row in connection.execute("SELECT name FROM sqlite_master")}
        (version,) = connection.execute("PRAGMA user_version").fetchone()
    finally:
        connection.close()
    return columns, names, version


def test_a_ledger_of_version_2_goes_on_with_what_it_holds(spool):
    spool.keep(plan=Plan("forward", destinations=("PACS",)))
    spool.ledger.outbox.failed("PACS", error="x", now=50.0)
    spool.ledger.close()
    new = _schema(spool.files.ledger_path)
    connection = sqlite3.connect(spool.files.ledger_path)
    connection.executescript(_BACK_TO_VERSION_2)
    connection.close()
    assert _schema(spool.files.ledger_path) != new
    spool.reopen()
    assert _schema(spool.files.ledger_path) == new
    assert new[2] == SCHEMA_VERSION
    (delivery,) = spool.ledger.outbox.claim("PACS", now=100.0, limit=9, breaker_after=5)
    assert delivery.SOPInstanceUID == "1.2.3"


def _rows(path, table):
    connection = sqlite3.connect(path)
    try:
        return sorted(connection.execute(f"SELECT * FROM {table}").fetchall())
    finally:
        connection.close()


def test_a_ledger_of_version_3_learns_what_it_has(spool):
    for number in range(3):
        spool.keep(f"1.{number}", StudyInstanceUID=f"1.2.{number}", PatientID=f"P{number}")
    spool.keep("1.0", content=b"other", StudyInstanceUID="1.2.0", PatientID="P0")
    spool.denoise()
    spool.deliver()
    spool.ledger.close()
    path = spool.files.ledger_path
    before = {table: _rows(path, table) for table in ("studies", "totals", "destinations")}
    connection = sqlite3.connect(path)
    connection.executescript(_BACK_TO_VERSION_3)
    connection.close()
    spool.reopen()
    after = {table: _rows(path, table) for table in before}
    after["totals"], before["totals"] = (
        [row for row in totals["totals"] if row[3]] for totals in (after, before)
    )
    assert after == before
    assert [row[1] for row in after["studies"]] == ["1.2.0", "1.2.1", "1.2.2"]
