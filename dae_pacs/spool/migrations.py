"""Bring the ledger of an earlier dae-pacs up to date: columns first, then whatever the schema has more."""

import logging
import sqlite3
from collections.abc import Mapping
from importlib.resources import files
from types import MappingProxyType
from typing import Final

_log = logging.getLogger(__name__)

# By the version that is there. New tables and indexes need no step: the schema makes those that are missing.
_STEPS: Final[Mapping[int, tuple[str, ...]]] = MappingProxyType(
    {
        2: (
            "ALTER TABLE deliveries ADD COLUMN transaction_id INTEGER REFERENCES commitments (id)",
            "ALTER TABLE deliveries ADD COLUMN commit_tries INTEGER NOT NULL DEFAULT 0",
            "ALTER TABLE deliveries ADD COLUMN committed_at REAL",
            "ALTER TABLE destinations ADD COLUMN error TEXT",
            "ALTER TABLE destinations ADD COLUMN failed_at REAL",
        ),
        3: (
            "ALTER TABLE destinations ADD COLUMN worked_at REAL",
            "ALTER TABLE jobs ADD COLUMN source TEXT NOT NULL DEFAULT ''",
            "DROP INDEX IF EXISTS ready_jobs",
        ),
    }
)

# What new tables begin with, once the schema has made them.
_FILLS: Final[Mapping[int, tuple[str, ...]]] = MappingProxyType(
    {
        3: (
            """
            INSERT OR IGNORE INTO studies (StudyInstanceUID, PatientID, AccessionNumber, StudyDate, first_at)
            SELECT StudyInstanceUID, PatientID, max(AccessionNumber), max(StudyDate), min(first_at)
            FROM series GROUP BY StudyInstanceUID, PatientID ORDER BY min(first_at), min(id)""",
            """
            INSERT INTO totals SELECT 'instance', origin, status, count(*), sum(size_bytes)
            FROM instances GROUP BY origin, status""",
            "INSERT INTO totals SELECT 'job', '', status, count(*), 0 FROM jobs GROUP BY status",
            """
            INSERT INTO totals SELECT 'delivery', destination, status, count(*), 0
            FROM deliveries GROUP BY destination, status""",
            """
            INSERT INTO destinations (name, failures, next_try_at, worked_at)
            SELECT destination, 0, 0, max(delivered_at) FROM deliveries WHERE delivered_at IS NOT NULL
            GROUP BY destination ON CONFLICT (name) DO UPDATE SET worked_at = excluded.worked_at""",
        ),
    }
)


def schema() -> str:
    """Give the tables of today, each made only where it is missing."""
    return files("dae_pacs.spool").joinpath("schema.sql").read_text(encoding="utf-8")


def upgrade(connection: sqlite3.Connection, *, application: int, target: int) -> None:
    """Take an older ledger to the target version, whole or not at all; leave any other file as it is."""
    (found,) = connection.execute("PRAGMA user_version").fetchone()
    (owner,) = connection.execute("PRAGMA application_id").fetchone()
    if owner != application or found >= target or found not in _STEPS:
        return
    versions = range(found, target)
    steps = [step for version in versions for step in _STEPS[version]]
    fills = [fill for version in versions for fill in _FILLS.get(version, ())]
    connection.execute("BEGIN IMMEDIATE")
    try:
        (again,) = connection.execute("PRAGMA user_version").fetchone()
        if again == found:  # else another process has done it meanwhile
            for step in steps:
                connection.execute(step)
            for statement in (*_statements(schema()), *fills):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {target}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    _log.info("ledger upgraded", extra={"from": found, "to": target})


def _statements(script: str) -> list[str]:
    """Split a script as SQLite would: `executescript` commits first, and would leave half of it undone."""
    whole: list[str] = []
    part = ""
    for line in script.splitlines(keepends=True):
        part += line
        if sqlite3.complete_statement(part):
            whole.append(part)
            part = ""
    return whole
