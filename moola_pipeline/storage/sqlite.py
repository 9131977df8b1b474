"""SQLite databases of a home: opened read-only, or exclusively with no journal left over."""

import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

from moola_pipeline.errors import BadInput


def open_read_only(database: Path) -> AbstractContextManager[sqlite3.Connection]:
    """A connection that cannot write, nor make the file; closed at the end of the block.

    Raises:
        sqlite3.Error: If there is no such file, or it cannot be opened.
    """
    return closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True))


JOURNALS = ("-wal", "-shm", "-journal")
"""Follow a database's name in those of the files that SQLite keeps beside it."""
TIMEOUT_SECONDS = 5
"""For one who is about to end; a page that is open in a browser keeps its database for hours."""
_HEADER = b"SQLite format 3\0"
_TAKEN = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


@contextmanager
def sqlite_lock(database: Path) -> Iterator[sqlite3.Connection]:
    """Hold a database: until the end, no other process reads or writes it.

    What a killed process left in journals is settled first: what it had committed is taken into the
    database's own file, what it had not is rolled back. The file may be moved or replaced while it
    is held; SQLite then leaves alone what lies at its name.

    Yields:
        A connection that commits each statement.

    Raises:
        BadInput: If another process is in it. One that merely has a database without a WAL open is
            not seen, nor need it be: SQLite refuses to write for it once the file has moved.
        sqlite3.DatabaseError: If it is no database, or cannot be opened.
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
