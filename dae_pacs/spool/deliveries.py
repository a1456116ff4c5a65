"""Deliveries: one instance on its way to one destination, queued once, with a memory of failures."""

import sqlite3
from collections.abc import Sequence

from dae_pacs.errors import SpoolError
from dae_pacs.spool.backoff import LONGEST_BACKOFF_S, backoff_s
from dae_pacs.spool.states import DeliveryStatus, check_transition


def recover(connection: sqlite3.Connection, now: float) -> int:
    """Let wait again what was being sent when the node went down."""
    latest = now + 2 * LONGEST_BACKOFF_S  # beyond it only if the clock was set back meanwhile
    for statement in (
        "UPDATE deliveries SET next_try_at = ? WHERE status = 'waiting' AND next_try_at > ?",
        "UPDATE destinations SET next_try_at = ? WHERE next_try_at > ?",
    ):
        connection.execute(statement, (now, latest))
    return connection.execute(
        "UPDATE deliveries SET status = 'waiting', next_try_at = ? WHERE status = 'sending'", (now,)
    ).rowcount


def add(connection: sqlite3.Connection, instance_id: int, destinations: Sequence[str], *, now: float) -> None:
    """Owe an instance to destinations; one that is owed or delivered already is not owed twice."""
    connection.executemany(
        "INSERT OR IGNORE INTO deliveries (instance_id, destination, status, next_try_at, created_at)"
        " VALUES (?, ?, 'waiting', ?, ?)",
        [(instance_id, destination, now, now) for destination in destinations],
    )


def revive(connection: sqlite3.Connection, instance_id: int, *, now: float) -> int:
    """Put the dead deliveries of an instance back into the queue."""
    return connection.execute(
        "UPDATE deliveries SET status = 'waiting', attempts = 0, commit_tries = 0, next_try_at = ?,"
        " error = NULL WHERE instance_id = ? AND status = 'dead'",
        (now, instance_id),
    ).rowcount


def destinations_owed(connection: sqlite3.Connection) -> list[str]:
    """List the destinations that something waits for."""
    query = (
        "SELECT destination FROM deliveries WHERE status = 'waiting' UNION"
        " SELECT destination FROM deliveries WHERE status = 'uncommitted' ORDER BY destination"
    )
    return [row["destination"] for row in connection.execute(query)]


def is_failing(connection: sqlite3.Connection, destination: str) -> bool:
    """Tell whether the last try of a destination failed."""
    return _closed_until(connection, destination) > 0


def _closed_until(connection: sqlite3.Connection, destination: str) -> float:
    row = connection.execute("SELECT next_try_at FROM destinations WHERE name = ?", (destination,)).fetchone()
    return 0.0 if row is None else float(row["next_try_at"])


def settle(connection: sqlite3.Connection, delivery_id: int, *, warning: str | None, now: float) -> None:
    """Record that a destination has the instance; a warning status of its answer is kept."""
    if move(connection, delivery_id, DeliveryStatus.DELIVERED):
        connection.execute(
            "UPDATE deliveries SET warning = ?, error = NULL, delivered_at = ? WHERE id = ?",
            (warning, now, delivery_id),
        )


def postpone(connection: sqlite3.Connection, delivery_id: int, *, error: str, next_try_at: float) -> None:
    """Put a delivery back into the queue for later."""
    move(connection, delivery_id, DeliveryStatus.WAITING)
    connection.execute(
        "UPDATE deliveries SET error = ?, next_try_at = ? WHERE id = ?", (error, next_try_at, delivery_id)
    )


def bury(connection: sqlite3.Connection, delivery_id: int, *, error: str) -> None:
    """Give a delivery up until a person retries it; what it carries stays owed."""
    move(connection, delivery_id, DeliveryStatus.DEAD)
    connection.execute("UPDATE deliveries SET error = ? WHERE id = ?", (error, delivery_id))


def move(connection: sqlite3.Connection, delivery_id: int, target: DeliveryStatus) -> bool:
    """Change a delivery's status; False when it is already so."""
    row = connection.execute("SELECT status FROM deliveries WHERE id = ?", (delivery_id,)).fetchone()
    if row is None:
        raise SpoolError(f"The ledger has no delivery {delivery_id}; see `dae-pacs status` for those it has.")
    check_transition("delivery", delivery_id, current=row["status"], target=target)
    connection.execute("UPDATE deliveries SET status = ? WHERE id = ?", (target, delivery_id))
    return bool(row["status"] != target)


def destination_failed(connection: sqlite3.Connection, destination: str, *, now: float) -> float:
    """Open a destination's breaker for longer with every failure in a row; it survives restarts.

    Returns:
        When to try the destination again.
    """
    (failures,) = connection.execute(
        "INSERT INTO destinations (name, failures, next_try_at) VALUES (?, 1, 0)"
        " ON CONFLICT (name) DO UPDATE SET failures = failures + 1 RETURNING failures",
        (destination,),
    ).fetchone()
    next_try_at = now + backoff_s(failures)
    connection.execute("UPDATE destinations SET next_try_at = ? WHERE name = ?", (next_try_at, destination))
    return next_try_at


def destination_ok(connection: sqlite3.Connection, destination: str) -> None:
    """Close a destination's breaker; its last error is kept to be seen."""
    connection.execute("UPDATE destinations SET failures = 0, next_try_at = 0 WHERE name = ?", (destination,))
