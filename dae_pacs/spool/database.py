"""One owner of the ledger's connections: opens it, refuses a broken one in words, and runs transactions.

Every write is one short `BEGIN IMMEDIATE` transaction, durable when it returns (WAL, `synchronous=FULL`).
Reads run on connections of their own, so that a report never stands in a sender's way.
"""

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from dae_pacs.durable import flush_folder
from dae_pacs.errors import LedgerError, SpoolError, SpoolFullError, TransitionError
from dae_pacs.failpoints import reach
from dae_pacs.spool import migrations
from dae_pacs.spool.files import spool_error
from dae_pacs.spool.states import TRANSITIONS

SCHEMA_VERSION: Final = 4
_APPLICATION_ID: Final = 0x64616570
""""daep": SQLite's mark in the file header, so that another program's database is told from ours."""
_BUSY_TIMEOUT_S: Final = 30.0
_BUSY_PAUSE_S: Final = 0.02
_ILLEGAL: Final = "illegal transition"
_RESTORE: Final = (
    "It is never started empty, since objects that were acknowledged may be recorded in it alone. "
    "Keep the whole spool folder as it is, and restore the ledger from a backup, or have `dae-pacs spool "
    "repair` rebuild it from the files; the objects themselves are ordinary DICOM files in objects/."
)
_RIGHTS: Final = ("can't be opened or written", "Check the owner and rights of the file and its folder.")
_WORDS: Final = {
    sqlite3.SQLITE_CORRUPT: ("is damaged", _RESTORE),
    sqlite3.SQLITE_NOTADB: ("is damaged, or no ledger", _RESTORE),
    sqlite3.SQLITE_FORMAT: ("is damaged, or no ledger", _RESTORE),
    sqlite3.SQLITE_BUSY: (
        f"has been locked by another process for {_BUSY_TIMEOUT_S:.0f} s",
        "Find what holds it (a backup, a database browser) and end that.",
    ),
    sqlite3.SQLITE_READONLY: _RIGHTS,
    sqlite3.SQLITE_CANTOPEN: _RIGHTS,
    sqlite3.SQLITE_PERM: _RIGHTS,
    sqlite3.SQLITE_IOERR: (
        "can't be read or written",
        "The disk fails or is full: check it. Nothing was changed.",
    ),
}


class Database:
    """The ledger's file, a connection that writes and one that reads, each behind its lock."""

    def __init__(self, path: Path, *, verify: bool = True) -> None:
        self.path = path.absolute()
        self.root = self.path.parent
        try:
            _refuse_lost_ledger(self.path)
        except OSError as error:
            raise spool_error(error, f"looking for the ledger {self.path}") from error
        with _in_words(self.path):
            self._writer = self._connect()
            try:
                if _is_blank(self._writer):
                    self._create()
                migrations.upgrade(self._writer, application=_APPLICATION_ID, target=SCHEMA_VERSION)
                self._refuse_foreign()
                if verify:
                    _refuse_damaged(self._writer, self.path)
                self._load_transitions()
                self._reader = self._connect()
                self._asker = self._connect()
            except BaseException:
                self._writer.close()
                raise
            for connection in (self._reader, self._asker):
                connection.execute("PRAGMA query_only = ON")
        self._writer_lock = threading.Lock()
        self._reader_lock = threading.Lock()
        self._asker_lock = threading.Lock()

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.path,
            timeout=_BUSY_TIMEOUT_S,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=256,
        )
        connection.row_factory = sqlite3.Row
        try:
            _use_journal(connection, self.path)
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA foreign_keys = ON")
        except BaseException:
            connection.close()
            raise
        return connection

    def _create(self) -> None:
        """Make the tables in one transaction: a ledger is whole or blank, whatever kills us."""
        _refuse_blank_over_objects(self.path)
        self._writer.executescript(
            f"BEGIN IMMEDIATE;\n{migrations.schema()}\nPRAGMA application_id = {_APPLICATION_ID};\n"
            f"PRAGMA user_version = {SCHEMA_VERSION};\nCOMMIT;"
        )
        flush_folder(self.root)

    def _refuse_foreign(self) -> None:
        (application,) = self._writer.execute("PRAGMA application_id").fetchone()
        (version,) = self._writer.execute("PRAGMA user_version").fetchone()
        if application != _APPLICATION_ID:
            raise SpoolError(f"{self.path} is a database of another program, not a ledger. {_RESTORE}")
        if version != SCHEMA_VERSION:
            raise SpoolError(
                f"The ledger {self.path} has version {version}; this dae-pacs writes version "
                f"{SCHEMA_VERSION}. Use the dae-pacs that made it, or one whose notes name a way over."
            )

    def _load_transitions(self) -> None:
        """Bring the database's copy of the table of transitions in line with `states.py`."""
        rows = {
            (kind, str(source), str(target))
            for kind, table in TRANSITIONS.items()
            for source, targets in table.items()
            for target in targets
        }
        query = "SELECT kind, source, target FROM transitions"
        if {tuple(row) for row in self._writer.execute(query)} == rows:
            return
        self._writer.execute("BEGIN IMMEDIATE")
        self._writer.execute("DELETE FROM transitions")
        self._writer.executemany("INSERT INTO transitions VALUES (?, ?, ?)", sorted(rows))
        self._writer.execute("COMMIT")

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Run one transaction: durable when the block is left, undone when it raises.

        Raises:
            SpoolFullError: no room; nothing was changed, and the ledger goes on once there is room.
            TransitionError: the block broke the table of transitions.
            SpoolError: the disk or another process stands in the way, or the file is damaged.
        """
        with self._writer_lock, _in_words(self.path):
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                yield self._writer
                reach("journal.writing")
                self._writer.execute("COMMIT")
            except BaseException:
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")
                raise
        reach("journal.committed")

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Read one consistent state; what was committed before is seen."""
        with self._reader_lock, _in_words(self.path):
            self._reader.execute("BEGIN")
            try:
                yield self._reader
            finally:
                if self._reader.in_transaction:
                    self._reader.execute("ROLLBACK")

    @contextmanager
    def asking(self) -> Iterator[sqlite3.Connection]:
        """Ask one question that an index answers at once; no report that takes long stands before it."""
        with self._asker_lock, _in_words(self.path):
            yield self._asker

    def verify(self) -> None:
        """Read the whole ledger and refuse it if SQLite finds it damaged; takes seconds when it is large."""
        with self.reading() as connection:
            _refuse_damaged(connection, self.path)

    def close(self) -> None:
        """Close both connections."""
        with self._writer_lock, self._reader_lock, self._asker_lock, _in_words(self.path):
            self._asker.close()
            self._reader.close()
            self._writer.close()


def _use_journal(connection: sqlite3.Connection, path: Path) -> None:
    (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
    if mode != "wal":
        mode = _switched_to_wal(connection)
    if mode != "wal":
        raise SpoolError(
            f"The ledger {path} can't use a write-ahead log (SQLite answers '{mode}'). "
            "Put the spool on a local disk; network file systems can't hold it safely."
        )


def _switched_to_wal(connection: sqlite3.Connection) -> str:
    """Ask for the write-ahead log, and give the mode; SQLite does not wait while others ask as well."""
    deadline = time.monotonic() + _BUSY_TIMEOUT_S
    while True:
        try:
            (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
            return str(mode)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
        time.sleep(_BUSY_PAUSE_S)


def _is_blank(connection: sqlite3.Connection) -> bool:
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    return bool(tables == 0)


def _refuse_lost_ledger(path: Path) -> None:
    """Refuse before SQLite would make an empty file where a ledger used to be."""
    if not path.parent.is_dir():
        raise SpoolError(f"The spool folder {path.parent} is not there. Create it, or correct node.spool.")
    if path.is_dir():
        raise SpoolError(f"{path} is a folder; the ledger is a file. Move it away, or correct node.spool.")
    if not path.exists() or path.stat().st_size == 0:
        _refuse_blank_over_objects(path)


def _refuse_blank_over_objects(path: Path) -> None:
    journal = path.with_name(path.name + "-wal")
    if not path.exists() and journal.exists() and journal.stat().st_size:
        raise SpoolError(f"The ledger {path} is gone, but its journal {journal.name} is there. {_RESTORE}")
    for folder in ("objects", "derived"):
        if any((path.parent / folder).glob("*/*.dcm")):
            raise SpoolError(
                f"The ledger {path} is missing or empty, but {path.parent / folder} holds objects. {_RESTORE}"
            )


def _refuse_damaged(connection: sqlite3.Connection, path: Path) -> None:
    findings = [str(row[0]) for row in connection.execute("PRAGMA quick_check(3)")]
    if findings != ["ok"]:
        raise SpoolError(f"The ledger {path} is damaged ({'; '.join(findings)}). {_RESTORE}")


@contextmanager
def _in_words(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into ours."""
    try:
        yield
    except sqlite3.Error as error:
        raise _explain(error, path) from error


def _explain(error: sqlite3.Error, path: Path) -> SpoolError:
    code = getattr(error, "sqlite_errorcode", None)
    primary = code & 0xFF if code is not None else -1  # the low byte of SQLite's extended codes
    if _ILLEGAL in str(error):
        return TransitionError(f"The ledger {path}: {error}. See TRANSITIONS in spool/states.py.")
    if primary == sqlite3.SQLITE_FULL:
        return SpoolFullError(
            f"The disk under the ledger {path} is full. Make room; nothing that was acknowledged is lost."
        )
    finding, remedy = _WORDS.get(primary, ("failed", "This is a fault of dae-pacs: please report it."))
    return LedgerError(f"The ledger {path} {finding} ({error}). {remedy}")
