"""SQLite databases of a home, opened by whoever only looks."""

import sqlite3
from contextlib import AbstractContextManager, closing
from pathlib import Path


def reading(database: Path) -> AbstractContextManager[sqlite3.Connection]:
    """A connection that cannot write, nor make the file; closed at the end of the block.

    Raises:
        sqlite3.Error: If there is no such file, or it cannot be opened.
    """
    return closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True))
