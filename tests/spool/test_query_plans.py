"""Each statement of an object's way finds its rows by an index, however many there are."""

import pytest

from dae_pacs.spool.records import Plan

DENOISE = Plan("denoise", rule="ct", model="m", strength=0.5, destinations=("PACS",), forward_original=True)


@pytest.fixture
def statements(spool):
    """Every statement that runs, its values filled in."""
    found = []
    database = spool.ledger._database
    for connection in (database._writer, database._reader, database._asker):
        connection.set_trace_callback(found.append)
    return found


def test_no_statement_of_an_object_s_way_reads_a_table_from_end_to_end(spool, statements):
    ledger = spool.ledger
    for number in range(3):
        ledger.known_origin(f"1.{number}")
        spool.keep(f"1.{number}", DENOISE)
    spool.keep("1.0", DENOISE)
    spool.keep("1.0", DENOISE, content=b"other")
    ledger.association_ended("a1")
    spool.denoise()
    ledger.release_expired(200.0)
    assert spool.deliver() == 6
    for instance in ledger.removable(1e9):
        ledger.remove(instance.id)
    scans = []
    with ledger._database.reading() as connection:
        connection.set_trace_callback(None)
        for statement in set(statements):
            # An INSERT's plan names the tables that refer to it; they are read only when a key is deferred.
            if statement.split(None, 1)[0] not in {"SELECT", "UPDATE", "DELETE"}:
                continue
            plan = [row["detail"] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}")]
            scans += [(step, statement) for step in plan if step.startswith("SCAN") and "INDEX" not in step]
    assert len(statements) > 100
    # Sources with ready jobs, each found on an index: as many as senders are waiting.
    few = {"SCAN CONSTANT ROW", "SCAN sources", "SCAN firsts"}
    assert [scan for scan in scans if scan[0] not in few] == []
