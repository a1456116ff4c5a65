"""A ledger of yesterday is brought up to date, with all that it holds."""

import sqlite3

from dae_pacs.spool.database import SCHEMA_VERSION
from dae_pacs.spool.records import Plan

_BACK_TO_VERSION_2 = """
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


def _schema(path):
    connection = sqlite3.connect(path)
    try:
        columns = {
            table: {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}
            for table in ("deliveries", "destinations", "commitments")
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
