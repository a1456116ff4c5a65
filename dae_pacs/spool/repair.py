"""Rebuild a ledger that is damaged, foreign or gone from the files of its spool; the old one is set aside.

What an object is, who sent it and when stands in its file. What was delivered stands in the ledger alone: as
much of that as SQLite can still read is carried over, and the rest is sent again, which is harmless.
"""

import sqlite3
import tempfile
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dae_pacs.durable import move_into_place
from dae_pacs.errors import SpoolError
from dae_pacs.spool.files import SpoolFiles, spool_error
from dae_pacs.spool.ledger import Ledger
from dae_pacs.spool.reconcile import Adopt

_SUFFIXES: Final = ("", "-wal", "-shm")
_DELIVERED: Final = """
    SELECT i.SOPInstanceUID AS uid, d.destination AS destination, d.delivered_at AS delivered_at
    FROM deliveries AS d JOIN instances AS i ON i.id = d.instance_id
    WHERE d.status = 'delivered' AND i.origin = 'received'"""


@dataclass(frozen=True)
class Repaired:
    """What a repair came to."""

    set_aside: tuple[Path, ...]
    adopted: int
    quarantined: int
    swept: int
    delivered: int
    """Deliveries of originals that the old ledger still knew to be done."""


def finding(files: SpoolFiles) -> str:
    """Say what is wrong with a spool's ledger; "" where nothing is.

    Call it only while holding the spool.
    """
    is_there = files.ledger_path.is_file()
    if not is_there and not any(files.objects.glob("*/*.dcm")):
        return ""  # a new spool, or an empty one: the node makes its ledger
    try:
        Ledger(files.ledger_path).close()
    except SpoolError as error:
        return str(error)
    return ""


def rebuild(files: SpoolFiles, *, adopt_into: Callable[[Ledger], Adopt]) -> Repaired:
    """Set the ledger aside, and make a new one from the files.

    Args:
        files: the spool's, held.
        adopt_into: gives for the new ledger what says how an object is recorded.

    Raises:
        SpoolError: the disk refuses; what was set aside is still there.
    """
    delivered = _salvage(files.ledger_path)
    try:
        aside = _set_aside(files.ledger_path)
        with tempfile.TemporaryDirectory(dir=files.root) as folder:
            fresh = Path(folder) / files.ledger_path.name
            Ledger(fresh).close()
            move_into_place(fresh, files.ledger_path)
    except OSError as error:
        raise spool_error(error, "setting the old ledger aside") from error
    with Ledger(files.ledger_path) as ledger:
        found = ledger.reconcile(files, adopt=adopt_into(ledger), is_rebuilding=True)
        known = ledger.outbox.recall_delivered(delivered)
    return Repaired(aside, found.adopted, len(found.orphans), found.swept, known)


def _set_aside(path: Path) -> tuple[Path, ...]:
    stamp = time.strftime("%Y%m%d-%H%M%S")
    moved = []
    for suffix in _SUFFIXES:
        old = path.with_name(path.name + suffix)
        if old.exists():
            moved.append(old.rename(path.with_name(f"{path.name}.{stamp}.damaged{suffix}")))
    return tuple(moved)


def _salvage(path: Path) -> list[tuple[str, str, float]]:
    """Read what the old ledger says was delivered, up to where it can be read no more."""
    found: list[tuple[str, str, float]] = []
    if not path.is_file():
        return found
    with (
        suppress(sqlite3.Error),
        closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection,
    ):
        for uid, destination, at in connection.execute(_DELIVERED):
            found.append((str(uid), str(destination), float(at or 0.0)))
    return found
