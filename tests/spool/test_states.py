"""The table of transitions, and the database's own guard of it."""

import sqlite3

import pytest

from dae_pacs.errors import TransitionError
from dae_pacs.spool.states import TRANSITIONS, DeliveryStatus, InstanceStatus, JobStatus, check_transition

TABLES = {"instance": "instances", "image": "job_images", "job": "jobs", "delivery": "deliveries"}


def test_every_status_has_a_row_in_the_table():
    assert set(TRANSITIONS["instance"]) == set(InstanceStatus)
    assert set(TRANSITIONS["job"]) == set(JobStatus)
    assert set(TRANSITIONS["delivery"]) == set(DeliveryStatus)


def test_a_delivered_delivery_never_changes():
    for target in set(DeliveryStatus) - {DeliveryStatus.DELIVERED}:
        with pytest.raises(TransitionError, match="delivery 7 is delivered and can't become"):
            check_transition("delivery", 7, current="delivered", target=target)


def test_staying_is_always_allowed():
    for kind, table in TRANSITIONS.items():
        for status in table:
            check_transition(kind, 1, current=status, target=status)


@pytest.mark.parametrize("kind", sorted(TABLES))
def test_the_database_refuses_exactly_what_the_table_does_not_allow(spool, kind):
    spool.keep()
    spool.denoise()
    statuses = sorted(TRANSITIONS[kind])
    connection = sqlite3.connect(spool.files.ledger_path, isolation_level=None)
    try:
        connection.execute("BEGIN")
        for source in statuses:
            for target in statuses:
                allowed = source == target or target in TRANSITIONS[kind][source]
                assert _is_allowed(connection, kind, source=source, target=target) == allowed, (
                    source,
                    target,
                )
    finally:
        connection.close()


def _is_allowed(connection, kind, *, source, target):
    connection.execute("SAVEPOINT trial")
    try:
        trigger = connection.execute(
            "SELECT sql FROM sqlite_master WHERE name = ?", (f"{kind}_transition",)
        ).fetchone()[0]
        connection.execute(f"DROP TRIGGER {kind}_transition")
        connection.execute(f"UPDATE {TABLES[kind]} SET status = ?", (source,))
        connection.execute(trigger)
        connection.execute(f"UPDATE {TABLES[kind]} SET status = ?", (target,))
    except sqlite3.IntegrityError as error:
        if "illegal transition" not in str(error):
            raise
        return False
    else:
        return True
    finally:
        connection.execute("ROLLBACK TO trial")
