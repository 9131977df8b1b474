"""SQLite databases of a home: opened read-only, or exclusively with no journal left over."""

import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

from moola_pipeline.errors import BadInput


def open_read_only(database: Path) -> AbstractContextManager[sqlite3.Connection]:
    """A read-only connection, closed at the end of the block; does not create the file.

    Raises:
        sqlite3.Error: If the file does not exist, or cannot be opened.
    """
    return closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True))


JOURNALS = ("-wal", "-shm", "-journal")
"""Suffixes of the files that SQLite keeps beside a database."""
TIMEOUT_SECONDS = 5
"""Enough for a process that is about to end; an open browser page holds its database for hours."""
_HEADER = b"SQLite format 3\0"
_TAKEN = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


@contextmanager
def sqlite_lock(database: Path) -> Iterator[sqlite3.Connection]:
    """Lock a database exclusively: no other process can read or write it in the block.

    First, journals of a killed process are applied: committed transactions are written to the
    database file, others are rolled back. The file may be moved or replaced while it is locked.

    Yields:
        A connection that commits each statement.

    Raises:
        BadInput: If another process uses it. A process that only has a database without a WAL open
            is not detected; SQLite stops its writes once the file has moved.
        sqlite3.DatabaseError: If it is not a database, or cannot be opened.
    """
    with database.open("rb") as stream:
        if stream.read(len(_HEADER)) != _HEADER:  # SQLite would delete the journals beside it
            raise sqlite3.DatabaseError("file is not a database")
    address = f"{database.absolute().as_uri()}?mode=rw"
    opened = sqlite3.connect(address, uri=True, timeout=TIMEOUT_SECONDS, isolation_level=None)
    with closing(opened) as connection:
        try:
            connection.execute("PRAGMA locking_mode=EXCLUSIVE")
            connection.execute("BEGIN EXCLUSIVE")
            connection.execute("COMMIT")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        except sqlite3.OperationalError as fault:
            if fault.sqlite_errorcode & 0xFF not in _TAKEN:
                raise
            raise BadInput(
                f"{database} must not be open in another process, but it is. Stop moola ui and every other "
                "process that uses this home, then try again."
            ) from fault
        yield connection


def journals_of(database: Path) -> list[Path]:
    """The files that SQLite has left beside a database."""
    beside = (database.with_name(database.name + suffix) for suffix in JOURNALS)
    return [path for path in beside if path.is_file()]
